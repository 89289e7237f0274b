"""A sample of questions that two people answer, whatever the first one said: what agreement is measured on."""

from collections.abc import Iterable

from facestore.errors import ConfigError
from facestore.ids import digest_of
from facestore.questions import Question

_HASHED = 16**12


def drawn(questions: Iterable[Question], *, share: float, seed: int) -> set[str]:
    """Ids of the questions that are asked of two: drawn by their ids, so the same ones in every plan.

    Without such a sample agreement would be that of questions that were hard enough to be asked again. Honeypots are
    not among them. Raises ConfigError for a share outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"overlap_share is {share}; it lies inside [0, 1]")
    return {
        question.question_id
        for question in questions
        if question.expected is None and int(digest_of([seed, question.question_id])[:12], 16) < share * _HASHED
    }
