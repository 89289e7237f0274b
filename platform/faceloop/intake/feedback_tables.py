"""What came back, as tables: `ROOT/feedback/TAKE/`, one folder a take, put once. Mining reads all of them as one."""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from facestore.errors import DataError
from facestore.ids import JsonValue, canonical_json, digest_of
from facestore.publish import read_manifest, seal, sync_path
from facestore.records import Rejection, schema_of
from facestore.tables import table_files, write_table

FEEDBACK = "feedback"
EVENTS, OPINIONS, REJECTIONS, QUARANTINE = "events", "opinions", "rejections", "quarantine.jsonl"
_TAKE_HEX = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackRow:
    """One event that was taken. What a person claimed at the device is a claim until an annotator says so."""

    event_id: str
    digest: str  # of the event's content
    footage_id: str  # sha256 of the picture: its id once it is ingested
    path: str  # in the source
    device: str
    observed_at: datetime  # UTC
    reason: str
    gallery: str
    contract_id: str
    x1_px: float | None  # the face that is meant, where the event says so
    y1_px: float | None
    x2_px: float | None
    y2_px: float | None
    consent_basis: str
    consent_id: str | None
    claim: str | None  # is, is_not, unknown_person
    claimed_identity_id: str | None
    claimed_by: str | None  # opaque, not authenticated
    claimed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpinionRow:
    """Whom production thought of: a machine's opinion, never a label."""

    event_id: str
    rank: int  # from 0
    identity_id: str
    score: float  # cosine under the event's contract


def read_events(root: Path) -> list[FeedbackRow]:
    """All events that were ever taken, by id. Raises DataError for a table that cannot be read."""
    return sorted((FeedbackRow(**row) for row in _rows(root, EVENTS, FeedbackRow)), key=lambda row: row.event_id)


def read_opinions(root: Path) -> list[OpinionRow]:
    """All opinions, by event and rank. Raises DataError for a table that cannot be read."""
    found = (OpinionRow(**row) for row in _rows(root, OPINIONS, OpinionRow))
    return sorted(found, key=lambda row: (row.event_id, row.rank))


def write_take(
    root: Path,
    events: Sequence[FeedbackRow],
    opinions: Sequence[OpinionRow],
    rejections: Sequence[Rejection],
    bad_lines: Sequence[str],
) -> str | None:
    """Put one take in place, whole; returns its name. None where there is nothing to put; one of the same content
    stays as it is."""
    if not events and not rejections:
        return None
    content: JsonValue = {
        "events": [*sorted(row.digest for row in events)],
        "rejections": [[one.item, one.reason, one.detail] for one in rejections],
        "lines": list(bad_lines),
    }
    name = digest_of(content)[:_TAKE_HEX]
    place = root / FEEDBACK / name
    if read_manifest(place) is not None:
        return name
    waiting = place.with_name(f".{name}.{os.getpid()}")
    shutil.rmtree(waiting, ignore_errors=True)
    waiting.mkdir(parents=True)
    _write(waiting / f"{EVENTS}.parquet", FeedbackRow, sorted(events, key=lambda row: row.event_id))
    _write(waiting / f"{OPINIONS}.parquet", OpinionRow, sorted(opinions, key=lambda row: (row.event_id, row.rank)))
    write_table(waiting / f"{REJECTIONS}.parquet", Rejection, rejections)
    text = "".join(canonical_json({"line": line}) + "\n" for line in bad_lines)
    (waiting / QUARANTINE).write_text(text, encoding="utf-8")
    counts: dict[str, JsonValue] = {"taken": len(events), "rejected": len(rejections)}
    seal(waiting, stage=FEEDBACK, run_key=digest_of(content), counts=counts, inputs={})
    waiting.rename(place)
    sync_path(place.parent)
    return name


def _write(path: Path, record: type, rows: Sequence[FeedbackRow] | Sequence[OpinionRow]) -> None:
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=schema_of(record))
    pq.write_table(table, path, compression="zstd", write_page_checksum=True)


def _rows(root: Path, name: str, record: type) -> Iterator[dict[str, Any]]:
    names = [field.name for field in fields(record)]
    for path in table_files(root / FEEDBACK, name):
        if path.parent.name.startswith("."):
            continue  # of a take that was cut short
        try:
            yield from pq.read_table(path, columns=names, partitioning=None).to_pylist()
        except (pa.ArrowException, OSError, KeyError) as error:
            raise DataError(f"{path} cannot be read ({error}); restore the folder from a backup") from error
