"""How often annotators agree: the share of pairs who say the same, and Krippendorff's alpha, which chance cannot raise.

Alpha and not Cohen's or Fleiss' kappa: annotators differ from question to question, and so does their number.
"""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from facereview.quality.topics import Topic
from facestore.questions import QuestionKind

_Z = 1.959964  # 95 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Of one kind of questions, or of all (`kind` None)."""

    kind: QuestionKind | None
    questions: int  # with at least two answers
    pairs: float  # of annotators, weighed so that a question with two answers is one
    share: float  # of them who say the same, [0, 1]
    low: float  # 95 % Wilson 1927
    high: float
    alpha: float | None  # at most 1, 0 as by chance; None: everybody always said the same word


def agreements_of(topics: Sequence[Topic]) -> list[Agreement]:
    """Of all kinds together, then of each that has something to compare; none where nobody shared a question.

    Give it the topics of questions that were drawn beforehand to be asked of two (`checks.drawn`): those that were
    asked again because an answer surprised say little of how people agree.
    """
    shared = sorted(
        (topic for topic in topics if len(topic.sayings) > 1), key=lambda topic: (topic.question_id, topic.name)
    )
    kinds = sorted({topic.kind for topic in shared})
    found = [_agreement(kind, [topic for topic in shared if topic.kind == kind]) for kind in kinds]
    return [_agreement(None, shared), *found] if shared else []


def wilson(hits: float, tries: float) -> tuple[float, float]:
    """95 % interval of a share, inside [0, 1]; (0, 1) without a try. Wilson 1927."""
    if tries <= 0:
        return 0.0, 1.0
    share, square = hits / tries, _Z * _Z / tries
    middle = share + square / 2
    spread = _Z * math.sqrt(share * (1 - share) / tries + square / (4 * tries))
    return max(0.0, (middle - spread) / (1 + square)), min(1.0, (middle + spread) / (1 + square))


def alpha(units: Collection[Sequence[str]]) -> float | None:
    """Krippendorff's alpha for nominal words: each unit holds what its annotators said; fewer than two do not count.

    None where it is undefined: nothing to compare, or only one word in all. (Krippendorff, Computing Krippendorff's
    Alpha-Reliability, 2011, section D.)
    """
    compared = [Counter(unit) for unit in units if len(unit) > 1]
    totals = sum(compared, Counter())
    count = totals.total()
    by_chance = count * count - sum(number * number for number in totals.values())
    if by_chance == 0:
        return None
    observed = sum(
        (unit.total() ** 2 - sum(number * number for number in unit.values())) / (unit.total() - 1) for unit in compared
    )
    return 1 - (count - 1) * observed / by_chance


def _agreement(kind: QuestionKind | None, topics: Sequence[Topic]) -> Agreement:
    pairs = agreed = 0.0
    for topic in topics:
        words = Counter(saying.word for saying in topic.sayings)
        total = math.comb(len(topic.sayings), 2)
        same = sum(math.comb(number, 2) for number in words.values())
        weight = topic.weight * (len(topic.sayings) - 1)
        pairs += weight
        agreed += weight * same / total
    low, high = wilson(agreed, pairs)
    return Agreement(
        kind=kind,
        questions=len({topic.question_id for topic in topics}),
        pairs=pairs,
        share=agreed / pairs,
        low=low,
        high=high,
        alpha=alpha([[saying.word for saying in topic.sayings] for topic in topics]),
    )
