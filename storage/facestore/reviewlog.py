"""The review log: questions, where they were asked, every version of every answer, and what the answers came to."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Select, and_, delete, func, insert, select, update
from sqlalchemy.orm import Session

from facestore.catalogue import Tables, known_ids, open_catalogue, reading, streamed, writing
from facestore.decisionlog import insert_decisions
from facestore.decisions import Decision
from facestore.errors import DataError
from facestore.ids import digest_of
from facestore.questions import AnnotationVersion, Hint, Question, ReviewProject, ReviewTask, Settlement, TaskState
from facestore.reviewtables import AnnotationRow, HintRow, ProjectRow, QuestionRow, SettlementRow, TaskRow

_READ = "read the review log"
Value = TypeVar("Value", Question, ReviewProject, ReviewTask, AnnotationVersion, Hint)


class ReviewLog:
    """Every method raises StoreError when the database cannot be used. Every writing method is one transaction."""

    def __init__(self, url: str) -> None:
        self._engine = open_catalogue(url, "review log")

    def close(self) -> None:
        self._engine.dispose()

    def offer(self, questions: Sequence[Question], *, at: datetime) -> int:
        """Take in questions; those known already get the new suggestion, gain and rank if nobody has answered them.

        Returns how many are new. `needs` of a known one never falls, and its honeypot answer never changes.
        """
        given = {question.question_id: question for question in questions}
        with writing(self._engine, f"offer {len(given)} questions") as session:
            known = known_ids(session, QuestionRow.question_id, given)
            answered = _answered(session, known)
            for question_id in sorted(known - answered):
                new = _plain(given[question_id])
                kept = {name: new[name] for name in new if name not in ("question_id", "needs", "expected")}
                session.execute(update(QuestionRow).where(QuestionRow.question_id == question_id).values(**kept))
            rows = [{**_plain(question), "offered_at": at} for key, question in given.items() if key not in known]
            if rows:
                session.execute(insert(QuestionRow), rows)
        return len(rows)

    def questions(self, question_ids: Collection[str] | None = None) -> Iterator[Question]:
        """By rank, then id; all, or those asked for."""
        rows = _of(Question, QuestionRow).order_by(QuestionRow.rank, QuestionRow.question_id)
        if question_ids is None:
            return self._values(rows, Question)
        return (
            found
            for some in _blocks(question_ids)
            for found in self._values(rows.where(QuestionRow.question_id.in_(some)), Question)
        )

    def offered_at(self) -> dict[str, datetime]:
        """When each question was first offered."""
        with reading(self._engine, _READ) as session:
            rows = session.execute(select(QuestionRow.question_id, QuestionRow.offered_at))
            return dict(rows.tuples().all())

    def add_project(self, project: ReviewProject) -> None:
        """Raises DataError for a key that is taken."""
        with writing(self._engine, "write a review project") as session:
            if session.get(ProjectRow, project.key) is not None:
                raise DataError(f"review project {project.key} is known already; give another key")
            session.add(ProjectRow(**_plain(project)))

    def change_project(self, key: str, *, is_open: bool, model_version: str) -> None:
        with writing(self._engine, "change a review project") as session:
            session.execute(
                update(ProjectRow).where(ProjectRow.key == key).values(is_open=is_open, model_version=model_version)
            )

    def projects(self) -> list[ReviewProject]:
        """Oldest first."""
        return list(
            self._values(_of(ReviewProject, ProjectRow).order_by(ProjectRow.created_at, ProjectRow.key), ReviewProject)
        )

    def plan(self, tasks: Sequence[ReviewTask]) -> list[ReviewTask]:
        """Write askings that are new (question and round), and return those: only they may be made on the server."""
        with writing(self._engine, f"plan {len(tasks)} tasks") as session:
            asked = {task.question_id for task in tasks}
            known = {
                (row.question_id, row.round)
                for some in _blocks(asked)
                for row in session.scalars(select(TaskRow).where(TaskRow.question_id.in_(some)))
            }
            new = {(task.question_id, task.round): task for task in tasks}
            found = [task for key, task in new.items() if key not in known]
            if found:
                session.execute(insert(TaskRow), [_plain(task) for task in found])
        return found

    def change_tasks(self, tasks: Sequence[ReviewTask]) -> None:
        """Write the project, task id and state of askings that are known. Raises DataError for one that is not."""
        with writing(self._engine, f"change {len(tasks)} tasks") as session:
            for task in tasks:
                row = session.get(TaskRow, (task.question_id, task.round))
                if row is None:
                    raise DataError(f"question {task.question_id} was not planned for round {task.round}")
                row.project_key, row.task_id = task.project_key, task.task_id
                row.state, row.changed_at = task.state, task.changed_at

    def tasks(self, *, states: Collection[TaskState] | None = None, project_key: str | None = None) -> list[ReviewTask]:
        """In the order of questions and rounds."""
        rows = _of(ReviewTask, TaskRow).order_by(TaskRow.question_id, TaskRow.round)
        if states is not None:
            rows = rows.where(TaskRow.state.in_(sorted(states)))
        if project_key is not None:
            rows = rows.where(TaskRow.project_key == project_key)
        return list(self._values(rows, ReviewTask))

    def annotations(
        self, *, project_key: str | None = None, question_ids: Collection[str] | None = None
    ) -> list[AnnotationVersion]:
        """The latest version of each annotation: of all, of a project, or of some questions."""
        latest = (
            select(AnnotationRow.project_key, AnnotationRow.unique_id, func.max(AnnotationRow.version).label("version"))
            .group_by(AnnotationRow.project_key, AnnotationRow.unique_id)
            .subquery()
        )
        rows = (
            _of(AnnotationVersion, AnnotationRow)
            .join(
                latest,
                and_(
                    AnnotationRow.project_key == latest.c.project_key,
                    AnnotationRow.unique_id == latest.c.unique_id,
                    AnnotationRow.version == latest.c.version,
                ),
            )
            .order_by(AnnotationRow.updated_at, AnnotationRow.project_key, AnnotationRow.unique_id)
        )
        if project_key is not None:
            rows = rows.where(AnnotationRow.project_key == project_key)
        if question_ids is None:
            return list(self._values(rows, AnnotationVersion))
        return [
            found
            for some in _blocks(question_ids)
            for found in self._values(rows.where(AnnotationRow.question_id.in_(some)), AnnotationVersion)
        ]

    def versions(self) -> Iterator[AnnotationVersion]:
        """Every version of every annotation, as they were recorded."""
        return self._values(_of(AnnotationVersion, AnnotationRow).order_by(AnnotationRow.seq), AnnotationVersion)

    def settlements(self, question_ids: Collection[str] | None = None) -> dict[str, Settlement]:
        """By question: of all that were ever answered or withdrawn, or of those asked for."""
        rows = select(SettlementRow)
        blocks = (
            [rows]
            if question_ids is None
            else [rows.where(SettlementRow.question_id.in_(some)) for some in _blocks(question_ids)]
        )
        with reading(self._engine, _READ) as session:
            return {row.question_id: _settlement(row) for block in blocks for row in session.scalars(block)}

    def record(
        self,
        versions: Sequence[AnnotationVersion],
        settlements: Sequence[Settlement],
        decisions: Sequence[Decision],
    ) -> int:
        """New versions of annotations, what their questions came to, and the decisions and retracts that follow: all or
        none. A version that is known is not written again. Returns how many decisions are new.

        Raises DataError for a version that skips one or contradicts the one that is known, and what the decision log
        raises.
        """
        with writing(self._engine, f"record {len(versions)} answers") as session:
            _insert_versions(session, versions)
            written = insert_decisions(session, decisions)
            for settlement in settlements:
                session.merge(SettlementRow(**{**_plain(settlement), "decision_ids": list(settlement.decision_ids)}))
        return written

    def take_hints(self, hints: Sequence[Hint]) -> None:
        with writing(self._engine, f"keep {len(hints)} hints") as session:
            session.execute(insert(HintRow), [{**_plain(hint), "hint_id": None} for hint in hints])

    def hints(self) -> list[Hint]:
        """Those that wait, oldest first."""
        return list(self._values(_of(Hint, HintRow).order_by(HintRow.hint_id), Hint))

    def drop_hints(self, hint_ids: Collection[int]) -> None:
        with writing(self._engine, f"drop {len(hint_ids)} hints") as session:
            for start in range(0, len(hint_ids), _BLOCK):
                some = sorted(hint_ids)[start : start + _BLOCK]
                session.execute(delete(HintRow).where(HintRow.hint_id.in_(some)))

    def _values(self, rows: Select[Any], kind: type[Value]) -> Iterator[Value]:
        return (kind(**row) for row in streamed(self._engine, rows, _READ))


_BLOCK = 4_096


def _blocks(ids: Collection[str]) -> Iterator[list[str]]:
    ordered = sorted(ids)
    return (ordered[start : start + _BLOCK] for start in range(0, len(ordered), _BLOCK))


def _of(kind: type[Value], row: type[Tables]) -> Select[Any]:
    return select(*[getattr(row, field.name) for field in fields(kind)])


def _plain(value: Value | Settlement) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _settlement(row: SettlementRow) -> Settlement:
    names = [field.name for field in fields(Settlement)]
    found: Mapping[str, Any] = {name: getattr(row, name) for name in names}
    return Settlement(**{**found, "decision_ids": tuple(row.decision_ids)})


def _answered(session: Session, question_ids: Collection[str]) -> set[str]:
    return {
        question_id
        for some in _blocks(question_ids)
        for question_id in session.scalars(
            select(AnnotationRow.question_id).where(AnnotationRow.question_id.in_(some)).distinct()
        )
    }


def _insert_versions(session: Session, versions: Sequence[AnnotationVersion]) -> None:
    rows = {_version_id(version): version for version in versions}
    known = known_ids(session, AnnotationRow.version_id, rows)
    for version_id in known:
        stored = session.scalars(select(AnnotationRow.digest).where(AnnotationRow.version_id == version_id)).one()
        if stored != rows[version_id].digest:
            raise DataError(
                f"version {rows[version_id].version} of annotation {rows[version_id].unique_id} is known with other "
                "content; nothing was written: pull again"
            )
    new = {key: version for key, version in rows.items() if key not in known}
    before = {_version_id(version, version.version - 1) for version in new.values() if version.version > 1}
    if missing := before - known_ids(session, AnnotationRow.version_id, before) - rows.keys():
        raise DataError(f"{len(missing)} annotations skip a version; nothing was written: pull again")
    if new:
        session.execute(insert(AnnotationRow), [{"version_id": key, **_plain(value)} for key, value in new.items()])


def _version_id(version: AnnotationVersion, number: int | None = None) -> str:
    return digest_of([version.project_key, version.unique_id, number if number is not None else version.version])
