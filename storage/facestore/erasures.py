"""Erasures in the catalogue: who asked for which, how far it came, and keyed references to what must not come back.

No id, name or file of the person stands here: a subject, a face and a file are references (`refs.py`), which only who
holds the pepper can compare with something.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from sqlalchemy import JSON, Integer, String, insert, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from facestore.catalogue import Moment, Tables, known_ids, open_catalogue, reading, writing
from facestore.errors import DataError
from facestore.ids import JsonValue

State = Literal["under_way", "done"]
CERTIFICATE = "certificate.json"  # of an erasure, in a folder that is called by its id
_AT_ONCE = 4_096


class _ErasureRow(Tables):
    __tablename__ = "erasure"

    erasure_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    subject_ref: Mapped[str] = mapped_column(String(64), index=True)
    asked_by: Mapped[str] = mapped_column(String(200))
    reason: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16), index=True)
    asked_at: Mapped[datetime] = mapped_column(Moment())


class _StepRow(Tables):
    __tablename__ = "erasure_step"

    erasure_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    step: Mapped[str] = mapped_column(String(32), primary_key=True)
    number: Mapped[int] = mapped_column(Integer)  # in the order of their ends, from 0
    what: Mapped[JsonValue] = mapped_column(JSON)  # counts
    done_at: Mapped[datetime] = mapped_column(Moment())


class _FootageRow(Tables):
    __tablename__ = "erased_footage"

    ref: Mapped[str] = mapped_column(String(64), primary_key=True)


class _FaceRow(Tables):
    __tablename__ = "erased_face"

    ref: Mapped[str] = mapped_column(String(64), primary_key=True)


ERASURE_TABLES = frozenset({"erasure", "erasure_step", "erased_footage", "erased_face"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """One erasure as the journal knows it. `steps`: what each step that is done came to, in their order."""

    erasure_id: str
    subject_ref: str
    asked_by: str
    reason: str  # a code
    state: State
    asked_at: datetime
    steps: dict[str, JsonValue]


class Erasures:
    """The journal of erasures. Every method raises StoreError when the database cannot be used."""

    def __init__(self, url: str) -> None:
        self._engine = open_catalogue(url, "journal of erasures")

    def begin(self, *, erasure_id: str, subject_ref: str, asked_by: str, reason: str, at: datetime) -> Erasure:
        """Write an erasure down, once: one that is there stays as it is."""
        with writing(self._engine, "begin an erasure") as session:
            if session.get(_ErasureRow, erasure_id) is None:
                row = _ErasureRow(
                    erasure_id=erasure_id,
                    subject_ref=subject_ref,
                    asked_by=asked_by,
                    reason=reason,
                    state="under_way",
                    asked_at=at,
                )
                session.add(row)
        return self.find(erasure_id)

    def find(self, erasure_id: str) -> Erasure:
        """Raises DataError for an unknown one."""
        found = [one for one in self.all() if one.erasure_id == erasure_id]
        if not found:
            raise DataError(f"no erasure {erasure_id}; `faceloop erase status` lists them")
        return found[0]

    def all(self) -> list[Erasure]:
        """Every erasure, the earliest first."""
        with reading(self._engine, "read the erasures") as session:
            steps: dict[str, dict[str, JsonValue]] = {}
            for step in session.scalars(select(_StepRow).order_by(_StepRow.erasure_id, _StepRow.number)):
                steps.setdefault(step.erasure_id, {})[step.step] = step.what
            rows = session.scalars(select(_ErasureRow).order_by(_ErasureRow.asked_at, _ErasureRow.erasure_id))
            return [
                Erasure(
                    erasure_id=row.erasure_id,
                    subject_ref=row.subject_ref,
                    asked_by=row.asked_by,
                    reason=row.reason,
                    state="done" if row.state == "done" else "under_way",
                    asked_at=row.asked_at,
                    steps=steps.get(row.erasure_id, {}),
                )
                for row in rows
            ]

    def note_step(self, erasure_id: str, step: str, what: JsonValue, *, at: datetime) -> None:
        """A step is done; said again, what was said first stays."""
        with writing(self._engine, "note a step of an erasure") as session:
            done = list(session.scalars(select(_StepRow.step).where(_StepRow.erasure_id == erasure_id)))
            if step not in done:
                row = _StepRow(erasure_id=erasure_id, step=step, number=len(done), what=what, done_at=at)
                session.add(row)

    def forget_steps(self, erasure_id: str) -> None:
        """Have every step done once more: something of the person was found after they were done."""
        with writing(self._engine, "begin an erasure again") as session:
            for row in session.scalars(select(_StepRow).where(_StepRow.erasure_id == erasure_id)):
                session.delete(row)

    def end(self, erasure_id: str) -> None:
        with writing(self._engine, "end an erasure") as session:
            row = session.get(_ErasureRow, erasure_id)
            if row is not None:
                row.state = "done"

    def bury(self, *, footage_refs: Iterable[str], face_refs: Iterable[str]) -> None:
        """Keep references of what is erased; those that are there stay."""
        with writing(self._engine, "keep references of what is erased") as session:
            _bury(session, footage_refs, face_refs)

    def remember(self, ended: Erasure, *, footage_refs: Iterable[str], face_refs: Iterable[str]) -> bool:
        """Take in an erasure that was done before this catalogue's rows were restored; whether it was unknown.

        Its steps, which a certificate has in no order, come by name.
        """
        with writing(self._engine, "take an earlier erasure in") as session:
            _bury(session, footage_refs, face_refs)
            if session.get(_ErasureRow, ended.erasure_id) is not None:
                return False
            said = {name: getattr(ended, name) for name in ("erasure_id", "subject_ref", "asked_by", "reason")}
            session.add(_ErasureRow(**said, state="done", asked_at=ended.asked_at))
            for number, (step, what) in enumerate(sorted(ended.steps.items())):
                row = _StepRow(erasure_id=ended.erasure_id, step=step, number=number, what=what, done_at=ended.asked_at)
                session.add(row)
            return True

    def erased_faces(self, refs: Collection[str]) -> set[str]:
        """Those of the references that are of erased faces."""
        with reading(self._engine, "look for erased faces") as session:
            return known_ids(session, _FaceRow.ref, refs)

    def erased_footage(self, refs: Collection[str]) -> set[str]:
        """Those of the references that are of erased files."""
        with reading(self._engine, "look for erased footage") as session:
            return known_ids(session, _FootageRow.ref, refs)

    def has_footage(self) -> bool:
        """Whether any file was ever erased."""
        with reading(self._engine, "look for erased footage") as session:
            return session.scalars(select(_FootageRow.ref).limit(1)).first() is not None

    def close(self) -> None:
        self._engine.dispose()


def _bury(session: Session, footage_refs: Iterable[str], face_refs: Iterable[str]) -> None:
    for table, refs in ((_FootageRow, set(footage_refs)), (_FaceRow, set(face_refs))):
        fresh = sorted(refs - known_ids(session, table.ref, refs))
        for start in range(0, len(fresh), _AT_ONCE):
            session.execute(insert(table), [{"ref": ref} for ref in fresh[start : start + _AT_ONCE]])


def is_erased(url: str, refs: Collection[str]) -> set[str]:
    """Those of `refs` (`subject_ref(pepper, footage_id)`) that were erased and must not come in again.

    Raises StoreError when the catalogue at `url` cannot be used.
    """
    erasures = Erasures(url)
    try:
        return erasures.erased_footage(refs)
    finally:
        erasures.close()


def has_erased(url: str) -> bool:
    """Whether any file was ever erased from the catalogue at `url`. Raises StoreError."""
    erasures = Erasures(url)
    try:
        return erasures.has_footage()
    finally:
        erasures.close()


def forgotten(url: str, folder: Path) -> set[str]:
    """Erasures that have a certificate in `folder` and no row in the catalogue at `url`: it is older than they are.

    Raises StoreError when that catalogue cannot be used.
    """
    told = {path.parent.name for path in folder.glob(f"*/{CERTIFICATE}")}
    if not told:
        return set()
    erasures = Erasures(url)
    try:
        return told - {one.erasure_id for one in erasures.all()}
    finally:
        erasures.close()
