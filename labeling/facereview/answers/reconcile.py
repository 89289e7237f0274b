"""`review pull`: what people answered, from the labelling server's own state into the review and decision logs.

Webhooks are hints about where to look; a sweep finds what they missed. Each project is read, compared and recorded in
one transaction, so a kill loses nothing and doubles nothing, and pulls that run at once take turns.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from facereview.answers.consensus import Trust
from facereview.answers.outcome import Outcome, outcome
from facereview.answers.sweep import Read, Seen, look
from facereview.asking.projects import key_in
from facereview.kinds import Answer
from facereview.schema import AttributeSchema
from facereview.screens import read_answer
from facereview.server import ReviewServer, ServerProject
from facestore.errors import ServerAway, ServerGone
from facestore.ids import JsonValue
from facestore.questions import CLOSED, AnnotationVersion, Hint, Question, ReviewProject, Settlement
from facestore.reviewlog import ReviewLog

_MEANING = {
    "unknown_task": "answers to tasks that we did not make; they were left alone",
    "older_than_known": "answers are not there any more, but the server's tasks are older than they: it was put "
    "back to an earlier state; what was said stays",
    "task_deleted": "tasks were deleted by somebody; their answers are taken back and their questions asked again",
    "unreadable": "answers cannot be read and count for nothing until they are changed; see `detail` of the review log",
    "unknown_face": "claims are about faces that are not known any more; they make no decision",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What one pull did."""

    projects: int  # that were looked at
    tasks: int
    annotations: int
    versions: Mapping[str, int]  # new, by state of the annotation
    decisions: int  # new ones in the log, without retracts
    retracts: int
    closed: tuple[str, ...]  # questions that are over by this pull: their pictures may go
    reopened: tuple[str, ...]  # that were over and are not any more: their pictures are needed again
    remarks: Mapping[str, int]  # reason codes, with counts
    failed: tuple[str, ...]  # keys of projects that could not be read this time; their hints wait
    hints: int  # that were looked into


def pull(
    *,
    log: ReviewLog,
    server: ReviewServer,
    schema: AttributeSchema,
    trust: Trust,
    is_known_face: Callable[[str], bool],
    now: Callable[[], datetime],
    full: bool,
    say: Callable[[str], None],
    only_hinted: bool = False,
    max_rounds: int | None = None,
    read: Read | None = None,
) -> Pulled:
    """Bring the logs to what the server holds. A `full` sweep reads every task and alone finds tasks that somebody
    deleted unannounced; else those changed since the last answer of each project; `only_hinted` skips projects of
    which no hint waits. Again, or after a kill, it does what is left to do. A question is weighed anew only when one of
    its own answers changed.

    Answers of rounds after `max_rounds` decide: that is what their projects ask for.

    A project that is gone, was given away, or lives on another server changes nothing; `say` tells. Raises
    ServerRefused, ServerAway when the server is away, and StoreError; what was recorded until then stays.
    """
    with log.alone("pull"):
        hints = log.hints()
        there = {project.project_id: project for project in server.projects()}
        look_at = _hinted(log.projects(), hints, server.instance) if only_hinted else log.projects()
        tally = _Tally()
        away: ServerAway | None = None
        for project in look_at:
            if (why := _not_ours(project, there, server.instance)) is not None:
                say(f"project {project.key}: {why}")
                tally.remarks["project_gone"] += 1
                continue
            mine = [hint for hint in hints if hint.project_id == project.project_id]
            try:
                seen = look(
                    project, log=log, server=server, read=read or reader(schema), now=now(), full=full,
                    also={hint.task_id for hint in mine if hint.task_id is not None},
                    also_annotations={hint.annotation_id for hint in mine if hint.annotation_id is not None},
                )  # fmt: skip
            except ServerGone as error:
                say(f"project {project.key}: it went away while it was read ({error}); what was said stays")
                tally.remarks["project_gone"] += 1
                continue
            except ServerAway as error:
                say(f"project {project.key}: {error}")
                tally.failed.append(project.key)
                away = error
                server.check()  # raises when it is not just this project
                continue
            tally.add(seen, _record(seen, log, trust, is_known_face, now(), max_rounds))
        if away is not None and not tally.projects:
            raise away
        failed = {project.project_id for project in look_at if project.key in tally.failed}
        looked_into = [hint.hint_id for hint in hints if hint.hint_id is not None and hint.project_id not in failed]
        log.drop_hints(looked_into)
        for reason, count in sorted(tally.remarks.items()):
            if reason in _MEANING and count:
                say(f"{count} {_MEANING[reason]}")
        return tally.pulled(hints=len(looked_into))


def reader(schema: AttributeSchema) -> Read:
    """How results are read: as the screens of their kinds say."""

    def read(question: Question, result: Sequence[JsonValue]) -> Answer:
        return read_answer(question, result, schema)

    return read


def _record(
    seen: Seen, log: ReviewLog, trust: Trust, is_known_face: Callable[[str], bool], at: datetime, max_rounds: int | None
) -> list[tuple[Settlement | None, Outcome]]:
    """Write what was seen and what follows; returns it, each outcome with the settlement that it replaces."""
    ids = {version.question_id for version in seen.versions}
    latest = {(known.project_key, known.unique_id): known for known in log.annotations(question_ids=ids)}
    latest |= {(new.project_key, new.unique_id): new for new in seen.versions}
    answers: dict[str, list[AnnotationVersion]] = defaultdict(list)
    for version in latest.values():
        answers[version.question_id].append(version)
    deciding = {known.key for known in log.projects() if max_rounds is not None and known.round > max_rounds}
    prior = log.settlements(ids)
    cited = [decision_id for settlement in prior.values() for decision_id in settlement.decision_ids]
    standing = {decision.decision_id: decision for decision in log.decisions(cited)}
    found: list[tuple[Settlement | None, Outcome]] = []
    for question in log.questions(ids):
        before = prior.get(question.question_id)
        follows = outcome(
            question,
            answers[question.question_id],
            prior=before,
            standing=[standing[decision_id] for decision_id in (before.decision_ids if before else ())],
            trust=trust,
            is_known_face=is_known_face,
            at=at,
            deciding=deciding,
        )
        found.append((before, follows))
    if seen.versions:
        said = [decision for _, follows in found for decision in (*follows.decisions, *follows.retracts)]
        log.record(seen.versions, [follows.settlement for _, follows in found], said)
    if seen.lost:
        log.change_tasks(seen.lost)
    return found


def _not_ours(project: ReviewProject, there: Mapping[int, ServerProject], instance: str) -> str | None:
    """Why the server's project of that id is not the one that we made, if so. Its answers stay as they are."""
    if project.instance != instance:
        return f"it was made on {project.instance}, and this is {instance}; what was said stays"
    if (found := there.get(project.project_id)) is None:
        return "it is gone from the server; what was said stays, and the next push asks the rest again"
    if key_in(found.description) != project.key:
        return (
            f"project {project.project_id} of the server does not carry its key: the id was given to another, or "
            "somebody edited the description; nothing of it was read, and what was said stays"
        )
    return None


def _hinted(projects: Iterable[ReviewProject], hints: Iterable[Hint], instance: str) -> list[ReviewProject]:
    named = {hint.project_id for hint in hints}
    return [project for project in projects if project.project_id in named and project.instance == instance]


@dataclass(slots=True, kw_only=True)
class _Tally:
    """Adds up over projects."""

    projects: int = 0
    tasks: int = 0
    annotations: int = 0
    decisions: int = 0
    retracts: int = 0
    versions: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    over: dict[str, bool] = field(default_factory=dict)  # of questions: is it over now
    was_over: dict[str, bool] = field(default_factory=dict)  # and before this pull
    failed: list[str] = field(default_factory=list)

    def add(self, seen: Seen, found: Iterable[tuple[Settlement | None, Outcome]]) -> None:
        self.projects += 1
        self.tasks += seen.tasks
        self.annotations += seen.annotations
        self.versions.update(version.state for version in seen.versions)
        self.remarks.update(seen.remarks)
        self.remarks["unreadable"] += sum(version.state == "unreadable" for version in seen.versions)
        for before, follows in found:
            self.decisions += len(follows.decisions)
            self.retracts += len(follows.retracts)
            self.remarks["unknown_face"] += len(follows.unknown_faces)
            question_id = follows.settlement.question_id
            self.was_over.setdefault(question_id, before is not None and before.state in CLOSED)
            self.over[question_id] = follows.settlement.state in CLOSED

    def pulled(self, *, hints: int) -> Pulled:
        changed = {question: over for question, over in self.over.items() if over != self.was_over[question]}
        return Pulled(
            projects=self.projects,
            tasks=self.tasks,
            annotations=self.annotations,
            versions=dict(self.versions),
            decisions=self.decisions,
            retracts=self.retracts,
            closed=tuple(sorted(question for question, over in changed.items() if over)),
            reopened=tuple(sorted(question for question, over in changed.items() if not over)),
            remarks={reason: count for reason, count in sorted(self.remarks.items()) if count},
            failed=tuple(self.failed),
            hints=hints,
        )
