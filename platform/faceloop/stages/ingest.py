"""ingest: raw files to footage. A file is published, a second location of known bytes, or rejected with a reason."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field

from faceloop.footage.probe import CaptureSpec, probe
from faceloop.footage.source_manifest import SourceEntry, read_source_manifest
from faceloop.params import StageParams
from faceloop.stage import Context, External, Out, Report
from facestore.errors import MediaError
from facestore.ids import file_sha256, media_key
from facestore.records import Footage, Rejection
from facestore.sources import Location, Source, open_source
from facestore.tables import write_table

VERSION = 2


class Params(StageParams):
    source_manifest: str
    ignore: list[str]
    subset_from: Literal["parent", "source"]
    batches: int = Field(ge=1, le=4096)
    link_media: bool
    min_height_px: int = Field(ge=0)
    min_fps: float = Field(ge=0)
    max_pixels: int = Field(ge=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """One published footage and where its bytes were seen first."""

    footage: Footage
    is_new: bool


def batch_of(footage_id: str, batches: int) -> str:
    return f"b{int(footage_id[:8], 16) % batches:03d}"


def subset_of(path: str, source_name: str, params: Params) -> str:
    parent = PurePosixPath(path).parent.as_posix()
    return source_name if parent == "." or params.subset_from == "source" else parent


def run(*, source: External, footage: Out, params: Params, context: Context) -> Report:
    report = Report()
    opened = open_source(source)
    source_name = PurePosixPath(source.rstrip("/")).name
    listed = list(opened.locations())
    entries = _entries(opened, listed, params)
    wanted = [found for found in listed if not _is_ignored(found.path, params)]
    report.items_in = len(wanted)
    report.figures["ignored"] = len(listed) - len(wanted)
    report.figures["manifest_rows_without_file"] = len(set(entries) - {found.path for found in listed})
    known: dict[str, Footage] = {}
    rejections: list[Rejection] = []
    for location in context.progress.track(wanted, "ingest"):
        entry = entries.get(location.path, SourceEntry(subset=None, captured_at=None, consent_id=None, keys=()))
        try:
            with opened.local(location) as path:
                found = _take(location, path, entry, source_name, known, params, context)
        except MediaError as error:
            report.rejected[error.reason] += 1
            rejections.append(Rejection(stage="ingest", item=location.path, reason=error.reason, detail=error.detail))
            continue
        except OSError as error:
            report.rejected["unreadable"] += 1
            rejections.append(
                Rejection(stage="ingest", item=location.path, reason="unreadable", detail=str(error.strerror))
            )
            continue
        known[found.footage.footage_id] = found.footage
        report.published += 1
        report.figures["footage" if found.is_new else "second_locations"] += 1
    report.figures["footage_under_spec"] = sum(
        "low_resolution" in f.flags or "low_frame_rate" in f.flags for f in known.values()
    )
    report.figures["footage_seconds"] = round(sum(f.duration_s or 0.0 for f in known.values()))
    _write(footage, known, rejections)
    return report


def _entries(source: Source, listed: list[Location], params: Params) -> Mapping[str, SourceEntry]:
    for location in listed:
        if location.path == params.source_manifest:
            with source.local(location) as path:
                return read_source_manifest(path)
    return {}


def _is_ignored(path: str, params: Params) -> bool:
    name = PurePosixPath(path).name
    return path == params.source_manifest or any(fnmatch(name, pattern) for pattern in params.ignore)


def _take(
    location: Location,
    path: Path,
    entry: SourceEntry,
    source_name: str,
    known: Mapping[str, Footage],
    params: Params,
    context: Context,
) -> _Found:
    spec = CaptureSpec(min_height_px=params.min_height_px, min_fps=params.min_fps, max_pixels=params.max_pixels)
    if location.size_bytes == 0:
        raise MediaError("empty_file")
    with context.stopwatch.on("hash"):
        footage_id = file_sha256(path)
    if (twin := known.get(footage_id)) is not None:
        keys = tuple(sorted({*twin.keys, *entry.keys}))
        return _Found(footage=replace(twin, locations=(*twin.locations, location.path), keys=keys), is_new=False)
    with context.stopwatch.on("probe"):
        facts = probe(path, spec)
    with context.stopwatch.on("store"):
        context.objects.put(media_key(footage_id), path)
    footage = Footage(
        footage_id=footage_id,
        batch=batch_of(footage_id, params.batches),
        uri=location.path,
        locations=(location.path,),
        size_bytes=location.size_bytes,
        kind=facts.kind,
        width=facts.width,
        height=facts.height,
        rotation=facts.rotation,
        fps=facts.fps,
        duration_s=facts.duration_s,
        frames=facts.frames,
        codec=facts.codec,
        captured_at=entry.captured_at or facts.captured_at,
        source=source_name,
        subset=entry.subset or subset_of(location.path, source_name, params),
        consent_id=entry.consent_id,
        keys=entry.keys,
        flags=facts.flags,
    )
    return _Found(footage=footage, is_new=True)


def _write(footage: Path, known: Mapping[str, Footage], rejections: list[Rejection]) -> None:
    for batch in sorted({record.batch for record in known.values()}):
        records = sorted((r for r in known.values() if r.batch == batch), key=lambda record: record.footage_id)
        write_table(footage / batch / "footage.parquet", Footage, records)
    write_table(footage / "rejections.parquet", Rejection, rejections)
