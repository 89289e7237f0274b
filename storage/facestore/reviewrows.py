"""Rows of the review log: how values become them, and the rules that hold among them."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from sqlalchemy import Select, insert, select, update
from sqlalchemy.orm import Session

from facestore.catalogue import Tables, known_ids
from facestore.errors import DataError
from facestore.ids import digest_of
from facestore.questions import AnnotationVersion, Hint, Question, ReviewProject, ReviewTask, Settlement
from facestore.reviewtables import AnnotationRow, QuestionRow, TaskRow

OFFERED = tuple(field.name for field in fields(Question) if field.name not in ("question_id", "needs", "expected"))
Value = TypeVar("Value", Question, ReviewProject, ReviewTask, AnnotationVersion, Hint)
BLOCK = 4_096


def blocks(ids: Collection[str]) -> Iterator[list[str]]:
    ordered = sorted(ids)
    return (ordered[start : start + BLOCK] for start in range(0, len(ordered), BLOCK))


def columns_of(kind: type[Value], row: type[Tables]) -> Select[Any]:
    return select(*[getattr(row, field.name) for field in fields(kind)])


def plain(value: Value | Settlement) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def change(session: Session, questions: Sequence[Question], names: Sequence[str]) -> None:
    for question in questions:
        changed = {name: getattr(question, name) for name in names}
        session.execute(update(QuestionRow).where(QuestionRow.question_id == question.question_id).values(**changed))


def free_task_ids(session: Session, tasks: Sequence[ReviewTask]) -> None:
    """Lost and withdrawn askings give up an id that the tool has given to one of these tasks."""
    for task in tasks:
        if task.task_id is not None:
            session.execute(
                update(TaskRow)
                .where(TaskRow.project_key == task.project_key, TaskRow.task_id == task.task_id)
                .where(TaskRow.state.in_(("lost", "withdrawn")))
                .values(task_id=None)
            )


def asked_ids(session: Session, question_ids: Collection[str]) -> set[str]:
    """Those of which a task is there, or may come back."""
    rows = select(TaskRow.question_id).where(TaskRow.state != "withdrawn").distinct()
    return {
        question_id
        for some in blocks(question_ids)
        for question_id in session.scalars(rows.where(TaskRow.question_id.in_(some)))
    }


def answered_ids(session: Session, question_ids: Collection[str]) -> set[str]:
    return {
        question_id
        for some in blocks(question_ids)
        for question_id in session.scalars(
            select(AnnotationRow.question_id).where(AnnotationRow.question_id.in_(some)).distinct()
        )
    }


def insert_versions(session: Session, versions: Sequence[AnnotationVersion]) -> None:
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
        session.execute(insert(AnnotationRow), [{"version_id": key, **plain(value)} for key, value in new.items()])


def _version_id(version: AnnotationVersion, number: int | None = None) -> str:
    return digest_of([version.project_key, version.unique_id, number if number is not None else version.version])
