"""One look at a project: which annotations changed since they were recorded. The server's state is the truth; what it
tells of its own past is not: a server that was restored, or a project whose id was given away, takes nothing back.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from facereview.answers.claims import claims_of
from facereview.kinds import Answer, dump_answer, subject_of
from facereview.server import ReviewServer, ServerAnnotation, ServerTask
from facestore.errors import DataError, ServerGone
from facestore.ids import JsonValue, digest_of, sha256_hex
from facestore.questions import AnnotationState, AnnotationVersion, Question, ReviewProject, ReviewTask
from facestore.reviewlog import ReviewLog

OVERLAP = timedelta(minutes=10)  # looked at again: longer than it takes to read a project, or the server to commit
_CLOCKS = timedelta(minutes=1)  # by which times of one server may disagree

Read = Callable[[Question, Sequence[JsonValue]], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What changed in a project. Nothing is written yet."""

    tasks: int  # looked at
    annotations: int
    versions: tuple[AnnotationVersion, ...]  # new
    lost: tuple[ReviewTask, ...]  # deleted by somebody else, in their new state
    remarks: Mapping[str, int]  # reason codes of what was left out or held back, with counts


@dataclass(slots=True, kw_only=True)
class _Changes:
    """Fills up while tasks are read."""

    annotations: int = 0
    read: list[tuple[ReviewTask, ServerTask, ServerAnnotation, AnnotationVersion | None]] = field(default_factory=list)
    deleted: list[tuple[AnnotationVersion, datetime]] = field(default_factory=list)
    remarks: Counter[str] = field(default_factory=Counter)


def look(
    project: ReviewProject, *, log: ReviewLog, server: ReviewServer, read: Read, now: datetime, full: bool,
    also: Collection[int] = (), also_annotations: Collection[int] = (),
) -> Seen:  # fmt: skip
    """Compare the server's tasks with the log: all of them, or those changed since the newest answer that is recorded,
    and in any case those of `also` (task ids) and of `also_annotations` (annotation ids), which hints named.

    A task that a list leaves out is asked for by its id before it counts as deleted: lists are read page by page while
    others delete. Raises what the server and the log raise; ServerGone when the project is not there.
    """
    asked = {  # read before the server is: what was pushed in between is no loss
        task.task_id: task for task in log.tasks(project_key=project.key) if task.task_id is not None
    }
    by_unique_id = {known.unique_id: known for known in log.annotations(project_key=project.key)}
    by_task: dict[int, list[AnnotationVersion]] = defaultdict(list)
    for known in by_unique_id.values():
        by_task[known.task_id].append(known)
    newest = max((known.updated_at for known in by_unique_id.values()), default=None)
    since = None if full or newest is None else newest - OVERLAP
    changes = _Changes()
    found: set[int] = set()
    for task in server.tasks(project.project_id, updated_after=since):
        if task.task_id not in found:
            found.add(task.task_id)
            _compare(task, asked.get(task.task_id), by_task[task.task_id], by_unique_id, server.instance, changes)
    doubtful = {*also, *(known.task_id for known in by_unique_id.values() if known.annotation_id in also_annotations)}
    if since is None:
        doubtful |= {task_id for task_id, task in asked.items() if task.state == "pushed"}
    gone = []
    for task_id in sorted((doubtful & asked.keys()) - found):
        try:
            task = server.task(task_id)
        except ServerGone:
            gone.append(task_id)
            continue
        if task.project_id != project.project_id:
            gone.append(task_id)
            continue
        found.add(task_id)
        _compare(task, asked[task_id], by_task[task_id], by_unique_id, server.instance, changes)
    lost = _lost(gone, asked, by_task, changes, now)
    return Seen(
        tasks=len(found),
        annotations=changes.annotations,
        versions=tuple(_versions(project, changes, log, read, server.instance, now)),
        lost=tuple(lost),
        remarks=dict(changes.remarks),
    )


def _compare(
    task: ServerTask,
    asked: ReviewTask | None,
    known: Sequence[AnnotationVersion],
    by_unique_id: Mapping[str, AnnotationVersion],
    instance: str,
    changes: _Changes,
) -> None:
    changes.annotations += len(task.annotations)
    if asked is None:
        changes.remarks["unknown_task"] += len(task.annotations)
        return
    for annotation in task.annotations:
        last = by_unique_id.get(annotation.unique_id)
        if last is not None and last.state != "deleted" and annotation.updated_at < last.updated_at - _CLOCKS:
            changes.remarks["older_than_known"] += 1  # editing moves the time, never back
        elif last is None or last.digest != _digest(annotation, last, instance) or last.state == "unreadable":
            changes.read.append((asked, task, annotation, last))
    held = {annotation.unique_id for annotation in task.annotations}
    for last in known:
        if last.unique_id in held or last.state == "deleted" or asked.state == "lost":
            continue
        if task.updated_at < last.updated_at - _CLOCKS:  # deleting would have moved the task's time
            changes.remarks["older_than_known"] += 1
        else:
            changes.deleted.append((last, max(task.updated_at, last.updated_at)))


def _lost(
    gone: Iterable[int],
    asked: Mapping[int, ReviewTask],
    by_task: Mapping[int, Sequence[AnnotationVersion]],
    changes: _Changes,
    now: datetime,
) -> list[ReviewTask]:
    """Tasks that somebody deleted, with their annotations. Where others show that the server was put back to an earlier
    state, it may never have had them: their answers stay."""
    is_restored = changes.remarks["older_than_known"] > 0
    lost = []
    for task_id in gone:
        task = asked[task_id]
        standing = [known for known in by_task.get(task_id, ()) if known.state != "deleted"]
        if task.state != "lost" and is_restored:
            changes.remarks["older_than_known"] += len(standing)
        elif task.state != "lost":
            changes.deleted += [(known, known.updated_at) for known in standing]
        if task.state == "pushed":
            changes.remarks["task_deleted"] += 1
            lost.append(replace(task, state="lost", changed_at=now))
    return lost


def _versions(
    project: ReviewProject, changes: _Changes, log: ReviewLog, read: Read, instance: str, now: datetime
) -> Iterable[AnnotationVersion]:
    ids = {asked.question_id for asked, *_ in changes.read}
    questions = {question.question_id: question for question in log.questions(ids)}
    for asked, task, annotation, last in sorted(changes.read, key=lambda change: change[2].unique_id):
        state, answer, detail = _said(questions[asked.question_id], asked, task, annotation, last, read)
        digest = _digest(annotation, last, instance)
        if last is not None and last.digest == digest and state == last.state:
            continue  # unreadable, as before
        yield AnnotationVersion(
            project_key=project.key,
            unique_id=annotation.unique_id,
            version=1 if last is None else last.version + 1,
            annotation_id=annotation.annotation_id,
            task_id=annotation.task_id,
            question_id=asked.question_id if last is None else last.question_id,
            annotator=_annotator(annotation, last, instance),
            state=state,
            answer=answer,
            detail=detail,
            updated_at=annotation.updated_at,
            lead_time_s=annotation.lead_time_s,
            digest=digest,
            seen_at=now,
        )
    for last, at in changes.deleted:
        yield replace(
            last, version=last.version + 1, state="deleted", answer=None, detail="", updated_at=at,
            digest=digest_of(["deleted", last.digest]), seen_at=now,
        )  # fmt: skip


def _said(
    question: Question,
    asked: ReviewTask,
    task: ServerTask,
    annotation: ServerAnnotation,
    last: AnnotationVersion | None,
    read: Read,
) -> tuple[AnnotationState, str | None, str]:
    if annotation.is_skipped:
        return "skipped", None, ""
    if last is not None and last.question_id != asked.question_id:
        return "unreadable", None, "it was moved to the task of another question"
    if task.question_id != asked.question_id:
        return "unreadable", None, "the task's data no longer name its question: what was shown cannot be told"
    try:
        answer = read(question, annotation.result)
        claims_of(subject_of(question), answer)  # raises for faces that the question does not show
    except DataError as error:
        return "unreadable", None, str(error)
    return "answered", dump_answer(answer), ""


def _annotator(annotation: ServerAnnotation, last: AnnotationVersion | None, instance: str) -> str:
    """Opaque. An account that was removed keeps its words."""
    if annotation.user_id is None:
        return f"{instance}/removed" if last is None else last.annotator
    return f"{instance}/{annotation.user_id}"


def _digest(annotation: ServerAnnotation, last: AnnotationVersion | None, instance: str) -> str:
    """Of what was said by whom to what, and when, to the second: of one annotator's answers the latest counts."""
    said: list[JsonValue] = [
        annotation.updated_at.replace(microsecond=0).isoformat(),
        annotation.task_id,
        _annotator(annotation, last, instance),
        annotation.is_skipped,
        [] if annotation.is_skipped else list(annotation.result),
    ]
    try:
        return digest_of(said)
    except ValueError:  # NaN, which JSON has not
        return sha256_hex(repr(said).encode())
