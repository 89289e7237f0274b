"""Take what production sent back: in = taken + known + rejected. The same file again takes nothing twice."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path

from pydantic import ConfigDict

from faceloop.footage.kinds import kind_of
from faceloop.intake.feedback import FeedbackEvent, read_event
from faceloop.intake.feedback_source import Arrival, path_in_source, put_into_source, source_folder
from faceloop.intake.feedback_tables import FeedbackRow, OpinionRow, read_events, write_take
from faceloop.params import StageParams, section
from faceloop.runner import Workspace, hold
from facestore.errors import DataError, MediaError
from facestore.ids import file_sha256, sha256_hex
from facestore.records import Rejection

LINES = "events.jsonl"
_LONGEST_LINE = 1 << 20  # characters; a longer one is no event


class _IngestNumbers(StageParams):
    model_config = ConfigDict(frozen=True, extra="ignore")

    source_manifest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What one take came to."""

    events_in: int
    taken: int
    known: int  # taken before, with the same content
    rejected: dict[str, int]  # reason code → events
    take: str | None  # folder below ROOT/feedback


@dataclass(slots=True)
class _Take:
    """A take under way."""

    known: dict[str, str]  # event id → digest
    rows: list[FeedbackRow] = field(default_factory=list)
    opinions: list[OpinionRow] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    bad_lines: list[str] = field(default_factory=list)
    again: int = 0

    def reject(self, line: str, item: str, *, reason: str, detail: str) -> None:
        self.rejections.append(Rejection(stage="feedback", item=item, reason=reason, detail=detail))
        self.bad_lines.append(line[:_LONGEST_LINE])


def take_feedback(work: Workspace, given: Path) -> Taken:
    """Take the events of a file of JSON lines, or of `events.jsonl` in a folder; media lie beside or below.

    Raises DataError where there is no such file, ConfigError for a source that cannot be written into, LeaseHeld while
    another takes feedback. A bad line stops nothing: it is put into quarantine with a reason code.
    """
    lines = given / LINES if given.is_dir() else given
    if not lines.is_file():
        raise DataError(f"{lines} is not there; give a file of JSON lines, or a folder with {LINES}")
    manifest = section(work.tree, "ingest", _IngestNumbers).source_manifest
    folder = source_folder(work.external("source"), manifest)
    with hold(work, "feedback"):
        found = _Take(known={row.event_id: row.digest for row in read_events(work.root)})
        events_in = 0
        for line in _lines(lines):
            events_in += 1
            _look_at(found, line, lines.parent)
        put_into_source(folder, manifest, found.arrivals)
        name = write_take(work.root, found.rows, found.opinions, found.rejections, found.bad_lines)
    rejected = Counter(one.reason for one in found.rejections)
    if events_in != len(found.rows) + found.again + rejected.total():
        raise DataError(
            f"{events_in} events in, {len(found.rows)} + {found.again} + {rejected.total()} out: report this"
        )
    return Taken(
        events_in=events_in,
        taken=len(found.rows),
        known=found.again,
        rejected=dict(sorted(rejected.items())),
        take=name,
    )


def _lines(path: Path) -> Iterator[str]:
    """Lines that are not blank. Bytes that are no UTF-8 stay visible, and make a line that is no event."""
    with path.open(encoding="utf-8", errors="backslashreplace") as stream:
        while line := stream.readline(_LONGEST_LINE):
            while not line.endswith("\n") and (rest := stream.readline(_LONGEST_LINE)):
                line = line[:_LONGEST_LINE] + "\n" if rest.endswith("\n") else line
            if line.strip():
                yield line.strip()


def _look_at(found: _Take, line: str, folder: Path) -> None:
    event = read_event(line)
    if isinstance(event, str):
        name = f"line {sha256_hex(line.encode())[:16]}"
        found.reject(line, name, reason="not_json" if _is_no_json(line) else "not_an_event", detail=event)
        return
    digest = event.digest()
    if event.event_id in found.known:
        if found.known[event.event_id] == digest:
            found.again += 1
        else:
            found.reject(line, event.event_id, reason="event_id_reused", detail="the id was taken with other content")
        return
    picture = folder / event.media.path
    if problem := _problem(picture, folder, event):
        found.reject(line, event.event_id, reason=problem.reason, detail=problem.detail)
        return
    found.known[event.event_id] = digest
    path = path_in_source(event.device, event.event_id, event.media.path)
    found.arrivals.append(
        Arrival(picture=picture, path=path, captured_at=event.observed_at, consent_id=event.consent.consent_id)
    )
    found.rows.append(_row(event, digest, path))
    found.opinions += [
        OpinionRow(event_id=event.event_id, rank=rank, identity_id=one.identity_id, score=one.score)
        for rank, one in enumerate(event.candidates)
    ]


def _is_no_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return True
    return False


def _problem(picture: Path, folder: Path, event: FeedbackEvent) -> MediaError | None:
    """Why the picture cannot be taken."""
    if not picture.resolve().is_relative_to(folder.resolve()):
        return MediaError("media_outside", "a link leads out of the folder")
    if not picture.is_file():
        return MediaError("media_missing", "no file at media.path")
    if (sha256 := file_sha256(picture)) != event.media.sha256:
        return MediaError("media_changed", f"sha256 is {sha256}")
    try:
        kind_of(picture)
    except MediaError as error:
        return error
    return None


def _row(event: FeedbackEvent, digest: str, path: str) -> FeedbackRow:
    x1, y1, x2, y2 = event.media.box_px or (None, None, None, None)
    said = event.correction
    return FeedbackRow(
        event_id=event.event_id,
        digest=digest,
        footage_id=event.media.sha256,
        path=path,
        device=event.device,
        observed_at=event.observed_at.astimezone(UTC),
        reason=event.reason,
        gallery=event.gallery,
        contract_id=event.contract_id,
        x1_px=x1,
        y1_px=y1,
        x2_px=x2,
        y2_px=y2,
        consent_basis=event.consent.basis,
        consent_id=event.consent.consent_id,
        claim=said.verdict if said else None,
        claimed_identity_id=said.identity_id if said else None,
        claimed_by=said.said_by if said else None,
        claimed_at=said.said_at.astimezone(UTC) if said else None,
    )
