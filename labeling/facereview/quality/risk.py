"""What may still be wrong although it settled: pairs of faces that a second answer is expected to put right."""

from collections.abc import Iterable, Mapping

from facereview.answers.consensus import Trust, agree
from facereview.answers.outcome import votes_of
from facereview.kinds import SamePerson, subject_of
from facereview.quality.topics import latest_answers
from facestore.questions import AnnotationVersion, Question, Settlement

_INSIDE = {
    "two_halves",
    "weak_member",
    "committee_differs",
}  # the machine had the two together: to part them is the gain
_LEAST = 0.02  # chance of a gain: select asks nothing that is surer


def risks_of(
    questions: Iterable[Question],
    annotations: Iterable[AnnotationVersion],
    settlements: Mapping[str, Settlement],
    trust: Trust,
) -> dict[str, float]:
    """Question id → pairs of faces a minute that asking again is worth, of every settled pair: in `select`'s currency.

    The probability that what settled is wrong, times the pairs that hang on it, by the seconds of an answer. Honeypots
    are left out.
    """
    standing = latest_answers(annotations)
    found = {}
    for question in questions:
        settlement = settlements.get(question.question_id)
        if settlement is None or settlement.state != "settled" or question.expected is not None:
            continue
        subject = subject_of(question)
        if not isinstance(subject, SamePerson):
            continue
        consensus = agree(votes_of(question, standing.get(question.question_id, ())), needs=question.needs, trust=trust)
        worth = 1 - subject.chance if question.reason in _INSIDE else subject.chance
        pairs = question.gain / max(worth, _LEAST)
        # What settled once need not settle by what is known of its annotator today: then it may be either.
        wrong = 1 - min((settled.probability for settled in consensus.settled), default=0.5)
        found[question.question_id] = wrong * pairs / question.seconds * 60
    return found
