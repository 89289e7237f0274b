"""What a question's answers come to, as decisions of the log: those that follow and are missing, and retracts of those
that follow no more. Pure: the same answers give the same decisions, whoever asks and however often.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from facereview.answers.claims import MISSED_FACE, Claim, claims_of
from facereview.answers.consensus import Consensus, Trust, Vote, agree
from facereview.kinds import load_answer, subject_of
from facestore.decisions import Decision, decide
from facestore.questions import AnnotationVersion, Question, QuestionState, Settlement

RECONCILER = "faceloop/reconcile"  # takes back what nobody edited: another answer changed what this one came to

_Key = tuple[str | int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What is to be written for one question."""

    settlement: Settlement
    decisions: tuple[Decision, ...]  # that are missing in the log
    retracts: tuple[Decision, ...]
    unknown_faces: tuple[str, ...]  # faces of claims that count but about which nothing can be decided, sorted


def outcome(
    question: Question,
    answers: Sequence[AnnotationVersion],
    *,
    prior: Settlement | None,
    standing: Sequence[Decision],
    trust: Trust,
    is_known_face: Callable[[str], bool],
    at: datetime,
    deciding: Collection[str] = (),
) -> Outcome:
    """What follows from the latest version of each annotation, given what stands already (`standing`, those of
    `prior`). Independent of the order of answers. A honeypot's answers make no decisions. `deciding`: keys of projects
    whose answers decide.

    Raises DataError for an answer that is not one of the question's kind.
    """
    votes = votes_of(question, answers, deciding)
    if question.expected is not None:
        state: QuestionState = "open" if not votes else "unsettled"
        if len({vote.annotator for vote in votes}) >= question.needs:
            state = "settled"
        consensus = Consensus(state=state, settled=())
    else:
        consensus = agree(votes, needs=question.needs, trust=trust)
    state_number = sum(answer.version for answer in answers)  # grows with every change, so no decision id comes twice
    wanted: dict[_Key, Decision] = {}
    unknown: set[str] = set()
    for settled in consensus.settled:
        for vote in settled.votes:
            decision = _decision(question, settled.claim, vote, state_number)
            wanted[_key(decision)] = decision
        unknown.update(face for face in _faces(settled.claim) if not is_known_face(face))
    known = {_key(decision): decision for decision in standing}
    missing = tuple(
        decision
        for key, decision in sorted(wanted.items(), key=lambda item: item[1].decision_id)
        if key not in known and not unknown & {decision.face_id, decision.other_face_id}
    )
    stale = [decision for key, decision in known.items() if key not in wanted]
    kept = [decision.decision_id for key, decision in known.items() if key in wanted]
    state = consensus.state
    if state == "open" and prior is not None and prior.state == "withdrawn":
        state = "withdrawn"
    return Outcome(
        settlement=Settlement(
            question_id=question.question_id,
            state=state,
            decision_ids=tuple(sorted([*kept, *(decision.decision_id for decision in missing)])),
            changed_at=at,
        ),
        decisions=missing,
        retracts=tuple(_retract(decision, answers, at) for decision in sorted(stale, key=lambda one: one.decision_id)),
        unknown_faces=tuple(sorted(unknown)),
    )


def votes_of(
    question: Question, answers: Sequence[AnnotationVersion], deciding: Collection[str] = ()
) -> tuple[Vote, ...]:
    """The claims of each answer that stands; skipped, deleted and unreadable ones say nothing."""
    subject = subject_of(question)
    return tuple(
        Vote(
            annotator=answer.annotator,
            annotation_id=answer.annotation_id,
            version=answer.version,
            answered_at=answer.updated_at,
            claims=claims_of(subject, load_answer(question.kind, answer.answer)),
            unique_id=answer.unique_id,
            decides=answer.project_key in deciding,
        )
        for answer in answers
        if answer.state == "answered" and answer.answer is not None
    )


def _decision(question: Question, claim: Claim, vote: Vote, state_number: int) -> Decision:
    """Cites the annotation by the id that is never reused: a server that was restored counts its own anew."""
    return decide(
        claim.verb,
        annotator=vote.annotator,
        decided_at=vote.answered_at,
        face_id=claim.face_id,
        other_face_id=claim.other_face_id,
        name=claim.name,
        value=claim.value,
        question_id=question.question_id,
        annotation_id=vote.unique_id,
        annotation_version=vote.version,
        note=f"answer state {state_number}",
    )


def _faces(claim: Claim) -> tuple[str, ...]:
    """The faces that must be there: one that the detector missed cannot be."""
    if claim.name == MISSED_FACE:
        return ()
    return tuple(face for face in (claim.face_id, claim.other_face_id) if face is not None)


def _retract(decision: Decision, answers: Sequence[AnnotationVersion], at: datetime) -> Decision:
    now = next((answer for answer in answers if answer.unique_id == decision.annotation_id), None)
    annotator, why = RECONCILER, "its annotation is gone"
    if now is not None and now.state == "deleted":
        why = "its annotation was deleted"
    elif now is not None and now.version == decision.annotation_version:
        why = "with the other answers it counts no more"
    elif now is not None:
        annotator, why = now.annotator, f"its annotation was {'changed' if now.state == 'answered' else now.state}"
    return decide(
        "retract",
        retracts=decision.decision_id,
        annotator=annotator,
        decided_at=at,
        question_id=decision.question_id,
        annotation_id=decision.annotation_id,
        annotation_version=None if now is None else now.version,
        note=why,
    )


def _key(decision: Decision) -> _Key:
    return (
        decision.verb,
        decision.face_id,
        decision.other_face_id,
        decision.name,
        decision.value,
        decision.annotator,
        decision.annotation_id,
        decision.annotation_version,
    )
