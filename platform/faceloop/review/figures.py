"""Where review stands, in figures: what waits, how people answer and agree, what their minutes buy."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from faceloop.review.access import review_params, with_review_log
from faceloop.review.quality import Quality, pace_params, quality_now, shared_questions, trust_from
from faceloop.runner import Workspace
from facereview.asking.rounds import undecided
from facereview.kinds import SamePerson, SamePersonAnswer, load_answer, subject_of
from facereview.quality.adjudication import Dispute, queue_of
from facereview.quality.agreement import agreements_of
from facereview.quality.detector_audit import detector_audit
from facereview.quality.pace import effort_of, hasty_answers, paces_of
from facestore.questions import CLOSED, AnnotationVersion, QuestionKind, Settlement
from facestore.records import Identity
from facestore.reviewlog import ReviewLog
from facestore.tables import read_columns


@dataclass(frozen=True, slots=True, kw_only=True)
class KindFigures:
    """One kind of questions."""

    kind: QuestionKind
    waiting: int  # in the labelling tool, nobody has answered
    answers: int
    median_s: float | None  # of an answer
    agreement: float | None  # share of pairs of annotators who say the same, of questions drawn to be asked twice


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatorFigures:
    """One annotator, under an opaque name."""

    annotator: str
    answers: int
    honeypots: int
    honeypots_wrong: int
    error_rate: float
    error_low: float  # 5 %
    error_high: float  # 95 %
    agreement: float | None
    hasty: int  # answers that were not looked at
    is_careless: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One annotator's word on a question that did not settle."""

    annotator: str
    answer: str  # canonical JSON
    weight: float  # in log-odds


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """A question that somebody has to decide."""

    question_id: str
    kind: QuestionKind
    state: str  # disputed, or unsettled: too few believe it
    gain: float
    waits_h: float
    said: tuple[Said, ...]  # weightiest first


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFigures:
    """What people found of the detector."""

    frames: int  # that they looked at
    boxes: int  # on those frames
    wrong: int  # boxes without a face
    moved: int  # boxes badly placed
    missed: int  # faces without a box
    faces: int  # whose five points they looked at
    points_within: float | None  # share with all five within 2 px of the aligned crop
    points_median_px: float | None  # error of that of the five points whose median is worst


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewFigures:
    """The whole of it. None where there is nothing to divide by."""

    waiting: int  # questions in the labelling tool without an answer
    oldest_waiting_h: float | None
    states: Mapping[str, int]  # of questions that were answered or withdrawn
    answers: int
    skipped: int
    unreadable: int
    minutes: float  # of people
    agreement: float | None
    agreement_low: float | None  # 95 %
    agreement_high: float | None
    alpha: float | None  # Krippendorff's
    overruled: float | None  # share of answers to settled pairs that differ from what was filled in
    identities: int
    minutes_per_1000_identities: float | None
    gain: float  # pairs of faces that settled questions were expected to put right
    gain_per_answer: float | None
    gain_per_minute: float | None
    hints: int  # webhooks that wait for a pull
    kinds: tuple[KindFigures, ...]
    annotators: tuple[AnnotatorFigures, ...]
    queue: tuple[QueueRow, ...]  # most urgent first
    audit: AuditFigures


def review_figures(work: Workspace, *, now: datetime | None = None) -> ReviewFigures | None:
    """None where nobody was ever asked. `now` defaults to the newest thing that the log has seen, so that a page made
    twice of one state is the same page.
    """
    return with_review_log(work, lambda log: _figures(work, log, now))


def _figures(work: Workspace, log: ReviewLog, now: datetime | None) -> ReviewFigures | None:
    found = quality_now(work, log)
    if not found.questions:
        return None
    params = review_params(work)
    settlements = log.settlements()
    answered = [version for version in found.annotations if version.state == "answered"]
    at = now or _newest(found.annotations, log)
    asked = {task.question_id: task.changed_at for task in log.tasks(states={"pushed"})}
    touched = {version.question_id for version in found.annotations if version.state in ("answered", "skipped")}
    closed = {key for key, settlement in settlements.items() if settlement.state in CLOSED}
    waiting = {key: moment for key, moment in asked.items() if key not in touched and key not in closed}
    shared = shared_questions(params, found.questions)
    agreements = agreements_of([topic for topic in found.topics if topic.question_id in shared])
    agreement = {row.kind: row for row in agreements}
    total = agreement.get(None)
    identities = _identities(work)
    pace = pace_params(params)
    effort = effort_of(found.questions, found.annotations, settlements, pace, identities=identities)
    by_kind = {row.kind: row for row in paces_of(found.questions, found.annotations, pace) if row.annotator is None}
    kind_of_question = {question.question_id: question.kind for question in found.questions}
    answers_of_kind = Counter(kind_of_question[version.question_id] for version in answered)
    waiting_of_kind = Counter(kind_of_question[key] for key in waiting)
    hasty = Counter(version.annotator for version in hasty_answers(found.annotations, pace))
    queue = queue_of(
        undecided(log, max_rounds=params.max_rounds),
        settlements,
        found.annotations,
        trust=trust_from(params, found.skills),
        at=at,
    )
    return ReviewFigures(
        waiting=len(waiting),
        oldest_waiting_h=_hours(at, min(waiting.values())) if waiting else None,
        states=dict(sorted(Counter(settlement.state for settlement in settlements.values()).items())),
        answers=len(answered),
        skipped=sum(version.state == "skipped" for version in found.annotations),
        unreadable=sum(version.state == "unreadable" for version in found.annotations),
        minutes=effort.minutes,
        agreement=total.share if total else None,
        agreement_low=total.low if total else None,
        agreement_high=total.high if total else None,
        alpha=total.alpha if total else None,
        overruled=_overruled(found, settlements),
        identities=identities,
        minutes_per_1000_identities=effort.minutes_per_1000_identities,
        gain=effort.gain,
        gain_per_answer=effort.gain_per_answer,
        gain_per_minute=effort.gain_per_minute,
        hints=len(log.hints()),
        kinds=tuple(
            KindFigures(
                kind=kind,
                waiting=waiting_of_kind[kind],
                answers=answers_of_kind[kind],
                median_s=by_kind[kind].median_s if kind in by_kind else None,
                agreement=agreement[kind].share if kind in agreement else None,
            )
            for kind in sorted(set(kind_of_question.values()))
        ),
        annotators=tuple(
            AnnotatorFigures(
                annotator=skill.annotator,
                answers=skill.answers,
                honeypots=skill.honeypots,
                honeypots_wrong=skill.honeypots_wrong,
                error_rate=skill.error_rate,
                error_low=skill.error_low,
                error_high=skill.error_high,
                agreement=skill.agreement,
                hasty=hasty[skill.annotator],
                is_careless=skill.is_careless,
            )
            for skill in found.skills
        ),
        queue=tuple(_row(dispute, at) for dispute in queue),
        audit=_audit(found),
    )


def _audit(found: Quality) -> AuditFigures:
    audit = detector_audit(found.questions, found.annotations)
    faces = audit.points.faces
    return AuditFigures(
        frames=audit.frames,
        boxes=audit.boxes,
        wrong=audit.wrong,
        moved=audit.moved,
        missed=audit.missed,
        faces=faces,
        points_within=audit.points.within_share if faces else None,
        points_median_px=max(audit.points.median_px) if faces else None,
    )


def _row(dispute: Dispute, at: datetime) -> QueueRow:
    return QueueRow(
        question_id=dispute.question.question_id,
        kind=dispute.question.kind,
        state=dispute.state,
        gain=dispute.question.gain,
        waits_h=_hours(at, dispute.waits_since),
        said=tuple(Said(annotator=one.annotator, answer=one.answer, weight=one.weight) for one in dispute.testimonies),
    )


def _overruled(found: Quality, settlements: Mapping[str, Settlement]) -> float | None:
    settled = {key for key, settlement in settlements.items() if settlement.state == "settled"}
    asked = {q.question_id: q for q in found.questions if q.expected is None and q.question_id in settled}
    against = []
    for version in found.annotations:
        if version.answer is None or version.question_id not in asked:
            continue
        subject = subject_of(asked[version.question_id])
        answer = load_answer(asked[version.question_id].kind, version.answer)
        if isinstance(subject, SamePerson) and isinstance(answer, SamePersonAnswer):
            against.append(answer.verdict != ("same" if subject.chance >= 0.5 else "different"))
    return sum(against) / len(against) if against else None


def _newest(annotations: Sequence[AnnotationVersion], log: ReviewLog) -> datetime:
    moments = [*(version.seen_at for version in annotations), *log.offered_at().values()]
    return max(moments, default=datetime(1970, 1, 1, tzinfo=UTC))


def _hours(now: datetime, then: datetime) -> float:
    return max(0.0, (now - then).total_seconds() / 3600)


def _identities(work: Workspace) -> int:
    return sum(read_columns(work.path("assignments"), "identities", Identity, ("is_active",))["is_active"].to_pylist())
