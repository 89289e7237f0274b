"""The intake: findings about files of a source, in the catalogue. It holds digests of paths, never a path."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime

from sqlalchemy import String, Text, delete, insert, select
from sqlalchemy.orm import Mapped, mapped_column

from facestore.catalogue import Tables, open_catalogue, reading, writing
from facestore.findings import Finding, Refused, Taken
from facestore.ids import sha256_hex
from facestore.sources import Location

RACY_NS = 2_000_000_000  # coarser than the clock of any file system: a later change has another modification time
_ROWS_AT_ONCE = 4_096
_WAITING_FINDINGS = 256  # that are written together …
_WAITING_BYTES = 64 << 20  # … or sooner, when so much footage would have to be looked at again after a crash
_PLACE_HEX = 32


class _FindingRow(Tables):
    __tablename__ = "finding"

    place: Mapped[str] = mapped_column(String(_PLACE_HEX), primary_key=True)  # of source, store, basis and path
    state: Mapped[str] = mapped_column(String(200))  # size and version of the file that was looked at
    footage_id: Mapped[str | None] = mapped_column(String(64), index=True)
    body: Mapped[str] = mapped_column(Text)  # JSON in ASCII: a decoder's message may hold what no database takes


class Intake:
    """Findings by place. Every method raises StoreError when the database cannot be used."""

    def __init__(self, url: str) -> None:
        self._engine = open_catalogue(url, "intake")

    def known(self, places: Sequence[str]) -> dict[str, tuple[str, Finding]]:
        """State and finding of those places that have one; a few thousand are asked for at once."""
        found: dict[str, tuple[str, Finding]] = {}
        for start in range(0, len(places), _ROWS_AT_ONCE):
            some = select(_FindingRow).where(_FindingRow.place.in_(places[start : start + _ROWS_AT_ONCE]))
            with reading(self._engine, "read the intake") as session:
                found |= {row.place: (row.state, _finding(row)) for row in session.scalars(some)}
        return found

    def record(self, findings: Mapping[str, tuple[str, Finding]]) -> None:
        """Write findings by place, over what was known of it."""
        rows = [_row(place, state, finding) for place, (state, finding) in sorted(findings.items())]
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[start : start + _ROWS_AT_ONCE]
            with writing(self._engine, "write the intake") as session:
                session.execute(delete(_FindingRow).where(_FindingRow.place.in_([row["place"] for row in some])))
                session.execute(insert(_FindingRow), some)

    def forget(self, footage_ids: Collection[str]) -> None:
        """Drop what is known of this footage: its files will be looked at, and stored, anew."""
        with writing(self._engine, "forget footage") as session:
            session.execute(delete(_FindingRow).where(_FindingRow.footage_id.in_(sorted(footage_ids))))

    def close(self) -> None:
        self._engine.dispose()


@dataclass(slots=True, kw_only=True)
class KnownFindings:
    """The findings of one source and one object store: a finding says that the bytes are in that store."""

    intake: Intake
    source: str  # URLs
    objects: str
    is_trusted: bool  # False: nothing is recalled, all is remembered anew
    as_of_ns: int  # since 1970, not after the source was listed
    _waiting: dict[str, tuple[str, Finding]] = field(default_factory=dict)
    _waiting_bytes: int = 0

    def recall(self, locations: Sequence[Location], basis: str) -> Iterator[Finding | None]:
        for start in range(0, len(locations), _ROWS_AT_ONCE):
            some = locations[start : start + _ROWS_AT_ONCE]
            places = [self._place(location, basis) for location in some]
            known = self.intake.known(places) if self.is_trusted else {}
            for place, location in zip(places, some, strict=True):
                state, finding = known.get(place, ("", None))
                yield finding if state == _state(location) else None

    def remember(self, location: Location, basis: str, finding: Finding) -> None:
        if not self._is_racy(location):
            self._waiting[self._place(location, basis)] = (_state(location), finding)
            self._waiting_bytes += location.size_bytes
            if len(self._waiting) >= _WAITING_FINDINGS or self._waiting_bytes >= _WAITING_BYTES:
                self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            self.intake.record(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0

    def _place(self, location: Location, basis: str) -> str:
        return sha256_hex("\x1f".join((self.source, self.objects, basis, location.path)).encode())[:_PLACE_HEX]

    def _is_racy(self, location: Location) -> bool:
        """A folder's version is the modification time; an ETag follows the bytes."""
        return not self.source.startswith("s3://") and int(location.version) + RACY_NS > self.as_of_ns


@contextmanager
def known_findings(
    url: str, *, source: str, objects: str, as_of_ns: int, is_trusted: bool = True
) -> Iterator[KnownFindings]:
    """The findings of a source in the catalogue at `url`; what was remembered is written at the end, also after an
    error. Raises StoreError when the database cannot be used."""
    intake = Intake(url)
    found = KnownFindings(intake=intake, source=source, objects=objects, is_trusted=is_trusted, as_of_ns=as_of_ns)
    try:
        try:
            yield found
        finally:
            found.flush()
    finally:
        intake.close()


def _state(location: Location) -> str:
    return f"{location.size_bytes}:{location.version}"


def _row(place: str, state: str, finding: Finding) -> dict[str, str | None]:
    body = {name: value for name, value in asdict(finding).items() if name != "footage_id"}
    if isinstance(finding, Taken) and finding.captured_at is not None:
        body["captured_at"] = finding.captured_at.isoformat()
    footage_id = finding.footage_id if isinstance(finding, Taken) else None
    return {"place": place, "state": state, "footage_id": footage_id, "body": json.dumps(body)}


def _finding(row: _FindingRow) -> Finding:
    body = json.loads(row.body)
    if row.footage_id is None:
        return Refused(**body)
    captured_at = datetime.fromisoformat(body.pop("captured_at")) if body["captured_at"] else body.pop("captured_at")
    return Taken(footage_id=row.footage_id, captured_at=captured_at, flags=tuple(body.pop("flags")), **body)
