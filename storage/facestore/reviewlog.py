"""The review log: questions, where they were asked, every version of every answer, and what the answers came to."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, delete, func, insert, select, update
from sqlalchemy.orm import Session

from facestore.catalogue import in_transaction, known_ids, open_catalogue, reading, streamed, writing
from facestore.decisionlog import insert_decisions, these_decisions
from facestore.decisions import Decision
from facestore.errors import DataError
from facestore.questions import (
    CLOSED,
    AnnotationVersion,
    Hint,
    Question,
    ReviewProject,
    ReviewTask,
    Settlement,
    TaskState,
)
from facestore.reviewrows import (
    BLOCK,
    OFFERED,
    Value,
    answered_ids,
    asked_ids,
    blocks,
    change,
    columns_of,
    free_task_ids,
    insert_versions,
    plain,
)
from facestore.reviewtables import AnnotationRow, HintRow, ProjectRow, QuestionRow, SettlementRow, TaskRow
from facestore.turns import alone

_READ = "read the review log"


class ReviewLog:
    """Every method raises StoreError when the database cannot be used. Every writing method is one transaction."""

    def __init__(self, url: str) -> None:
        self._engine = open_catalogue(url, "review log")

    def close(self) -> None:
        self._engine.dispose()

    def offer(self, questions: Sequence[Question], *, at: datetime) -> int:
        """Take in questions. A known one that nobody was asked yet becomes what is given; of one that waits for its
        answer rank and gain follow, while what it shows stays as it was asked (see `revise`); an answered one stays.

        Returns how many are new. `needs` and the honeypot answer of a known one never change.
        """
        given = {question.question_id: question for question in questions}
        with writing(self._engine, f"offer {len(given)} questions") as session:
            known = known_ids(session, QuestionRow.question_id, given)
            open_ids = known - answered_ids(session, known)
            asked = asked_ids(session, open_ids)
            change(session, [given[key] for key in sorted(open_ids - asked)], OFFERED)
            change(session, [given[key] for key in sorted(asked)], ("gain", "rank"))
            rows = [{**plain(question), "offered_at": at} for key, question in given.items() if key not in known]
            if rows:
                session.execute(insert(QuestionRow), rows)
        return len(rows)

    def revise(self, questions: Sequence[Question]) -> None:
        """Take over what known questions suggest, unless somebody answered. Faces must keep their places: an answer to
        the task as it was may be on its way. That is the caller's to see to.
        """
        given = {question.question_id: question for question in questions}
        with writing(self._engine, f"revise {len(given)} questions") as session:
            answered = answered_ids(session, given)
            change(session, [given[key] for key in sorted(given.keys() - answered)], OFFERED)

    def questions(self, question_ids: Collection[str] | None = None) -> Iterator[Question]:
        """By rank, then id; all, or those asked for."""
        rows = columns_of(Question, QuestionRow).order_by(QuestionRow.rank, QuestionRow.question_id)
        if question_ids is None:
            return self._values(rows, Question)
        return (
            found
            for some in blocks(question_ids)
            for found in self._values(rows.where(QuestionRow.question_id.in_(some)), Question)
        )

    def offered_at(self) -> dict[str, datetime]:
        """When each question was first offered."""
        with reading(self._engine, _READ) as session:
            rows = session.execute(select(QuestionRow.question_id, QuestionRow.offered_at))
            return {row.question_id: row.offered_at for row in rows}

    def add_project(self, project: ReviewProject) -> None:
        """Raises DataError for a key that is taken."""
        with writing(self._engine, "write a review project") as session:
            if session.get(ProjectRow, project.key) is not None:
                raise DataError(f"review project {project.key} is known already; give another key")
            session.add(ProjectRow(**plain(project)))

    def change_project(self, key: str, *, is_open: bool, model_version: str) -> None:
        with writing(self._engine, "change a review project") as session:
            session.execute(
                update(ProjectRow).where(ProjectRow.key == key).values(is_open=is_open, model_version=model_version)
            )

    def projects(self) -> list[ReviewProject]:
        """Oldest first."""
        return list(
            self._values(
                columns_of(ReviewProject, ProjectRow).order_by(ProjectRow.created_at, ProjectRow.key), ReviewProject
            )
        )

    def plan(self, tasks: Sequence[ReviewTask]) -> list[ReviewTask]:
        """Write askings (question, round, asking) that are new; returns those: only they may be made on the server."""
        with writing(self._engine, f"plan {len(tasks)} tasks") as session:
            asked = {task.question_id for task in tasks}
            known = {
                (row.question_id, row.round, row.asking)
                for some in blocks(asked)
                for row in session.scalars(select(TaskRow).where(TaskRow.question_id.in_(some)))
            }
            new = {(task.question_id, task.round, task.asking): task for task in tasks}
            found = [task for key, task in new.items() if key not in known]
            free_task_ids(session, found)
            if found:
                session.execute(insert(TaskRow), [plain(task) for task in found])
        return found

    def change_tasks(self, tasks: Sequence[ReviewTask]) -> None:
        """Write what else is said of known askings (question, round, asking). Raises DataError for an unknown one."""
        with writing(self._engine, f"change {len(tasks)} tasks") as session:
            free_task_ids(session, tasks)
            for task in tasks:
                row = session.get(TaskRow, (task.question_id, task.round, task.asking))
                if row is None:
                    raise DataError(f"question {task.question_id} was not planned for round {task.round}")
                for name, value in plain(task).items():
                    setattr(row, name, value)

    def tasks(
        self,
        *,
        states: Collection[TaskState] | None = None,
        project_key: str | None = None,
        question_ids: Collection[str] | None = None,
    ) -> list[ReviewTask]:
        """In the order of questions, rounds and askings."""
        rows = columns_of(ReviewTask, TaskRow).order_by(TaskRow.question_id, TaskRow.round, TaskRow.asking)
        if states is not None:
            rows = rows.where(TaskRow.state.in_(sorted(states)))
        if project_key is not None:
            rows = rows.where(TaskRow.project_key == project_key)
        if question_ids is None:
            return list(self._values(rows, ReviewTask))
        return [
            found
            for some in blocks(question_ids)
            for found in self._values(rows.where(TaskRow.question_id.in_(some)), ReviewTask)
        ]

    def waiting(self) -> list[ReviewTask]:
        """Every asking, lost and withdrawn ones too, of the questions that are asked and not closed; in the order of
        questions, rounds and askings."""
        closed = select(SettlementRow.question_id).where(SettlementRow.state.in_(CLOSED))
        rows = columns_of(ReviewTask, TaskRow).where(TaskRow.question_id.not_in(closed))
        return list(self._values(rows.order_by(TaskRow.question_id, TaskRow.round, TaskRow.asking), ReviewTask))

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Nobody else does `what` (a word) on this database meanwhile; waits for who does. Ends with the process."""
        with alone(self._engine, what):
            yield

    def annotations(
        self, *, project_key: str | None = None, question_ids: Collection[str] | None = None
    ) -> list[AnnotationVersion]:
        """The latest version of each annotation: of all, of a project, or of some questions."""
        if question_ids is None:
            return list(self._values(_latest(project_key, None), AnnotationVersion))
        return [
            found
            for some in blocks(question_ids)
            for found in self._values(_latest(project_key, some), AnnotationVersion)
        ]

    def versions(self) -> Iterator[AnnotationVersion]:
        """Every version of every annotation, as they were recorded."""
        return self._values(columns_of(AnnotationVersion, AnnotationRow).order_by(AnnotationRow.seq), AnnotationVersion)

    def settlements(self, question_ids: Collection[str] | None = None) -> dict[str, Settlement]:
        """By question: of all that were ever answered or withdrawn, or of those asked for."""
        rows = select(SettlementRow)
        some_rows = (
            [rows]
            if question_ids is None
            else [rows.where(SettlementRow.question_id.in_(some)) for some in blocks(question_ids)]
        )
        with reading(self._engine, _READ) as session:
            return {row.question_id: _settlement(row) for block in some_rows for row in session.scalars(block)}

    def decisions(self, decision_ids: Collection[str]) -> list[Decision]:
        """Those of the decision log with these ids, in the order of ids."""
        return these_decisions(self._engine, decision_ids)

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

        def write(session: Session) -> int:
            insert_versions(session, versions)
            written = insert_decisions(session, decisions)
            for settlement in settlements:
                session.merge(SettlementRow(**{**plain(settlement), "decision_ids": list(settlement.decision_ids)}))
            return written

        return in_transaction(self._engine, f"record {len(versions)} answers", write)

    def take_hints(self, hints: Sequence[Hint]) -> None:
        with writing(self._engine, f"keep {len(hints)} hints") as session:
            session.execute(insert(HintRow), [{**plain(hint), "hint_id": None} for hint in hints])

    def hints(self) -> list[Hint]:
        """Those that wait, oldest first."""
        return list(self._values(columns_of(Hint, HintRow).order_by(HintRow.hint_id), Hint))

    def drop_hints(self, hint_ids: Collection[int]) -> None:
        with writing(self._engine, f"drop {len(hint_ids)} hints") as session:
            for start in range(0, len(hint_ids), BLOCK):
                some = sorted(hint_ids)[start : start + BLOCK]
                session.execute(delete(HintRow).where(HintRow.hint_id.in_(some)))

    def _values(self, rows: Select[Any], kind: type[Value]) -> Iterator[Value]:
        return (kind(**row) for row in streamed(self._engine, rows, _READ))


def _latest(project_key: str | None, question_ids: Collection[str] | None) -> Select[Any]:
    """The highest version of each annotation; narrowed inside too, so that a project costs what it holds."""
    narrow = [] if project_key is None else [AnnotationRow.project_key == project_key]
    if question_ids is not None:
        narrow.append(AnnotationRow.question_id.in_(question_ids))
    key = (AnnotationRow.project_key, AnnotationRow.unique_id)
    highest = func.max(AnnotationRow.version).label("version")
    latest = select(*key, highest).where(*narrow).group_by(*key).subquery()
    same = (AnnotationRow.project_key == latest.c.project_key, AnnotationRow.unique_id == latest.c.unique_id)
    rows = columns_of(AnnotationVersion, AnnotationRow).where(*narrow)
    rows = rows.join(latest, and_(*same, AnnotationRow.version == latest.c.version))
    return rows.order_by(AnnotationRow.updated_at, AnnotationRow.project_key, AnnotationRow.unique_id)


def _settlement(row: SettlementRow) -> Settlement:
    names = [field.name for field in fields(Settlement)]
    found: Mapping[str, Any] = {name: getattr(row, name) for name in names}
    return Settlement(**{**found, "decision_ids": tuple(row.decision_ids)})
