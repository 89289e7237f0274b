"""Questions and answers to them, without a server."""

from datetime import UTC, datetime, timedelta

from facereview.kinds import Answer, SamePerson, SamePersonAnswer, Strip, Subject, ask, dump_answer
from facestore.questions import AnnotationState, AnnotationVersion, Question, QuestionState, Settlement

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def pair(
    number: int,
    *,
    chance: float = 0.5,
    expected: Answer | None = None,
    gain: float = 1.0,
    rank: int = 0,
    needs: int = 1,
) -> Question:
    """Pair `number`."""
    left, right = (Strip(face_ids=(f"{number:06d}{side}",)) for side in "ab")
    subject = SamePerson(left=left, right=right, similarity=0.4, chance=chance)
    return question(subject, expected=expected, gain=gain, chance=chance, rank=rank, needs=needs)


def question(
    subject: Subject,
    *,
    expected: Answer | None = None,
    gain: float = 1.0,
    chance: float = 0.5,
    rank: int = 0,
    needs: int = 1,
) -> Question:
    return ask(
        subject, subset="a", reason="test", model_version="m1", chance=chance, gain=gain, seconds=4.0, needs=needs,
        expected=expected, rank=rank,
    )  # fmt: skip


def answered(
    asked: Question,
    annotator: str,
    answer: Answer | str,
    *,
    minute: float = 0,
    state: AnnotationState = "answered",
    lead_time_s: float | None = 5.0,
) -> AnnotationVersion:
    """`answer` may be the verdict about a pair."""
    if isinstance(answer, str):
        answer = SamePersonAnswer(verdict=answer)  # type: ignore[arg-type]
    return AnnotationVersion(
        project_key="p1",
        unique_id=f"{asked.question_id} {annotator} {minute}",
        version=1,
        annotation_id=1,
        task_id=1,
        question_id=asked.question_id,
        annotator=annotator,
        state=state,
        answer=dump_answer(answer) if state == "answered" else None,
        detail="",
        updated_at=NOON + timedelta(minutes=minute),
        lead_time_s=lead_time_s,
        digest="d",
        seen_at=NOON,
    )


def came_to(asked: Question, state: QuestionState) -> dict[str, Settlement]:
    decisions = (f"decision of {asked.question_id}",) if state == "settled" else ()
    return {
        asked.question_id: Settlement(
            question_id=asked.question_id, state=state, decision_ids=decisions, changed_at=NOON
        )
    }
