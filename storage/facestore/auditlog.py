"""The audit log: who read or changed what for which purpose. Rows are chained by hash and never changed.

Rules of entries, hashes and the check are in `auditchain`; where signed heads are kept elsewhere, in `auditanchors`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from sqlalchemy import BigInteger, Integer, String, Text, insert, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from facestore.auditchain import START, AuditEntry, AuditHead, AuditNote, ChainState, check_chain, entry_hash, said_of
from facestore.catalogue import (
    Moment,
    Tables,
    database_now,
    in_transaction,
    make_append_only,
    open_catalogue,
    reading,
    streamed,
    writing,
)
from facestore.ciphers import Signer
from facestore.ids import JsonValue, canonical_json, digest_of

__all__ = ["AuditEntry", "AuditHead", "AuditLog", "AuditNote", "append_notes"]

_SERIAL = BigInteger().with_variant(Integer, "sqlite")


class _EntryRow(Tables):
    __tablename__ = "audit_entry"

    seq: Mapped[int] = mapped_column(_SERIAL, primary_key=True, autoincrement=False)  # 1, 2, 3 … without a gap
    entry_hash: Mapped[str] = mapped_column(String(64), unique=True)
    previous_hash: Mapped[str] = mapped_column(String(64), unique=True)
    at: Mapped[datetime] = mapped_column(Moment(), index=True)
    who: Mapped[str] = mapped_column(String(80), index=True)
    action: Mapped[str] = mapped_column(String(170), index=True)
    purpose: Mapped[str] = mapped_column(String(170))
    subject_ref: Mapped[str | None] = mapped_column(String(64), index=True)
    what: Mapped[str] = mapped_column(Text)  # canonical JSON, byte for byte as it was hashed


class _HeadRow(Tables):
    __tablename__ = "audit_head"
    __table_args__ = ({"sqlite_autoincrement": True},)

    seq: Mapped[int] = mapped_column(_SERIAL, primary_key=True)
    head_id: Mapped[str] = mapped_column(String(64), unique=True)
    entries: Mapped[int] = mapped_column(BigInteger)
    entry_hash: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(Moment())
    public_key: Mapped[str] = mapped_column(String(64))
    signature: Mapped[str] = mapped_column(String(128))


make_append_only(_EntryRow, "entry_hash")
make_append_only(_HeadRow, "head_id")

_FIELDS = tuple(AuditEntry.__slots__)
_HEAD_FIELDS = tuple(AuditHead.__slots__)


class AuditLog:
    """The audit log of one catalogue. Every method raises StoreError when the database cannot be used."""

    def __init__(self, url: str) -> None:
        self._engine = open_catalogue(url, "audit log")

    def close(self) -> None:
        self._engine.dispose()

    def append(
        self,
        *,
        who: str,
        action: str,
        purpose: str,
        subject_ref: str | None = None,
        what: Mapping[str, JsonValue],
    ) -> AuditEntry:
        """Add one entry; it is kept when this returns. Raises DataError for what an entry must not hold."""
        note = AuditNote(who=who, action=action, purpose=purpose, subject_ref=subject_ref, what=what)
        return self.append_all([note])[0]

    def append_all(self, notes: Sequence[AuditNote]) -> list[AuditEntry]:
        """Add entries in this order, all of them or none; writers take turns."""
        return in_transaction(self._engine, "append to the audit log", lambda session: append_notes(session, notes))

    def entries(self, after: int = 0) -> Iterator[AuditEntry]:
        """Entries behind number `after`, in order; one state of the log, streamed."""
        columns = [getattr(_EntryRow, name) for name in _FIELDS]
        rows = select(*columns).where(_EntryRow.seq > after).order_by(_EntryRow.seq)
        for row in streamed(self._engine, rows, "read the audit log"):
            yield AuditEntry(**{**row, "what": _read(row["what"])})

    def sign_head(self, signer: Signer) -> AuditHead:
        """Sign the state of now and keep it. An unchanged log that this key signed already gives the same head."""
        public = signer.public_key().hex()
        with writing(self._engine, "sign the audit log's head") as session:
            entries, last = _end(session)
            same = (
                select(_HeadRow)
                .where(_HeadRow.entries == entries, _HeadRow.entry_hash == last, _HeadRow.public_key == public)
                .order_by(_HeadRow.seq)
            )
            if (row := session.scalars(same).first()) is not None:
                return _head(row)
            unsigned = AuditHead(
                entries=entries, entry_hash=last, at=database_now(session), public_key=public, signature=""
            )
            values = {name: getattr(unsigned, name) for name in _HEAD_FIELDS}
            head = AuditHead(**{**values, "signature": signer.sign(unsigned.message()).hex()})
            values["signature"] = head.signature
            session.add(_HeadRow(head_id=digest_of([head.signature, public]), **values))
        return head

    def heads(self) -> list[AuditHead]:
        """Heads that were signed here, oldest first."""
        with reading(self._engine, "read the audit log's heads") as session:
            return [_head(row) for row in session.scalars(select(_HeadRow).order_by(_HeadRow.seq))]

    def verify(self, anchors: Iterable[AuditHead] = (), *, public_keys: Sequence[str] = ()) -> ChainState:
        """Check every entry, and the log against the heads kept here and elsewhere. Raises AuditBroken."""
        return check_chain(self.entries(), [*self.heads(), *anchors], public_keys=public_keys)


def append_notes(session: Session, notes: Sequence[AuditNote]) -> list[AuditEntry]:
    """Add entries in a transaction of the caller, which must be one of `catalogue.writing`: the entry stands if and
    only if what it tells of does."""
    seq, last = _end(session)
    at = database_now(session)
    made = []
    for note in notes:
        seq += 1
        what: JsonValue = dict(note.what)
        said = said_of(
            seq=seq,
            at=at,
            who=note.who,
            action=note.action,
            purpose=note.purpose,
            subject_ref=note.subject_ref,
            what=what,
        )
        entry = AuditEntry(
            seq=seq,
            at=at,
            who=note.who,
            action=note.action,
            purpose=note.purpose,
            subject_ref=note.subject_ref,
            what=note.what,
            previous_hash=last,
            entry_hash=entry_hash(last, said),
        )
        last = entry.entry_hash
        made.append(entry)
    rows = [
        {**{name: getattr(entry, name) for name in _FIELDS}, "what": canonical_json(dict(entry.what))} for entry in made
    ]
    if rows:
        session.execute(insert(_EntryRow), rows)
    return made


def _end(session: Session) -> tuple[int, str]:
    row = session.execute(
        select(_EntryRow.seq, _EntryRow.entry_hash).order_by(_EntryRow.seq.desc()).limit(1)
    ).one_or_none()
    return (int(row.seq), str(row.entry_hash)) if row is not None else (0, START)


def _head(row: _HeadRow) -> AuditHead:
    return AuditHead(**{name: getattr(row, name) for name in _HEAD_FIELDS})


def _read(text: str) -> JsonValue:
    """What an entry says; a text that is no JSON any more is a changed entry, which the chain's check names."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) and canonical_json(found) == text else {"unreadable": True}
