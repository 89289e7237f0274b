"""What people found of the detector: boxes on frames, and the ±2 px rule for its five points."""

from collections.abc import Iterable
from dataclasses import dataclass

from facereview.kinds import Boxes, BoxesAnswer, Landmarks, LandmarksAnswer, load_answer, subject_of
from facereview.quality.audit_points import AuditSummary, PointAudit, audit, summarise
from facereview.quality.topics import latest_answers
from facestore.questions import AnnotationVersion, Question


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorAudit:
    """Of frames and faces that people looked at; of several answers to one the latest counts."""

    frames: int
    boxes: int  # that the detector drew on them
    wrong: int  # of those: no face
    moved: int  # of those: badly placed
    missed: int  # faces without a box
    points: AuditSummary


def detector_audit(questions: Iterable[Question], annotations: Iterable[AnnotationVersion]) -> DetectorAudit:
    """Faces that people called unusable are no part of it. Raises DataError for an answer that does not fit."""
    standing = latest_answers(annotations)
    frames: list[tuple[Boxes, BoxesAnswer]] = []
    points: list[PointAudit] = []
    for question in questions:
        versions = [version for version in standing.get(question.question_id, ()) if version.answer is not None]
        if question.kind not in ("boxes", "landmarks") or not versions:
            continue
        latest = max(versions, key=lambda version: (version.updated_at, version.unique_id))
        subject, answer = subject_of(question), load_answer(question.kind, str(latest.answer))
        if isinstance(subject, Boxes) and isinstance(answer, BoxesAnswer):
            frames.append((subject, answer))
        elif isinstance(subject, Landmarks) and isinstance(answer, LandmarksAnswer) and answer.verdict == "placed":
            points.append(audit(subject.points, answer.points))
    return DetectorAudit(
        frames=len(frames),
        boxes=sum(len(subject.boxes) for subject, _ in frames),
        wrong=sum(len(answer.wrong) for _, answer in frames),
        moved=sum(len(answer.moved) for _, answer in frames),
        missed=sum(len(answer.missed) for _, answer in frames),
        points=summarise(points),
    )
