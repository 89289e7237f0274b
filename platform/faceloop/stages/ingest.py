"""ingest: raw files to footage. A file is published, a second location of known bytes, or rejected with a reason."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field

from faceloop.footage.limits import DecoderParams
from faceloop.footage.looking import basis_of, is_unreadable, look_at
from faceloop.footage.probe import CaptureSpec
from faceloop.footage.source_manifest import SCRAPED, UNSTATED, SourceEntry, read_source_manifest
from faceloop.params import StageParams
from faceloop.stage import Context, External, Out, Report
from facestore.consenting import consents_named
from facestore.findings import Finding, Refused, Taken, location_now
from facestore.ids import media_key
from facestore.records import MEDIA_ERASED, Footage, Rejection
from facestore.sources import Location, Source, open_source
from facestore.tables import read_columns, write_table

VERSION = 3
STILL_ARRIVING = "still_arriving"


class Params(StageParams):
    source_manifest: str
    ignore: list[str]
    subset_from: Literal["parent", "source"]
    batches: int = Field(ge=1, le=4096)
    link_media: bool
    min_height_px: int = Field(ge=0)
    min_fps: float = Field(ge=0)
    max_pixels: int = Field(ge=1)
    decoder: DecoderParams


def batch_of(footage_id: str, batches: int) -> str:
    return f"b{int(footage_id[:8], 16) % batches:03d}"


def subset_of(path: str, source_name: str, params: Params) -> str:
    parent = PurePosixPath(path).parent.as_posix()
    return source_name if parent == "." or params.subset_from == "source" else parent


def spec_of(params: Params) -> CaptureSpec:
    return CaptureSpec(
        min_height_px=params.min_height_px,
        min_fps=params.min_fps,
        max_pixels=params.max_pixels,
        decoder=params.decoder.limits(),
    )


def is_ignored(path: str, params: Params) -> bool:
    """Whether a path of the source is no input: the source manifest, or a name that the params pass over."""
    name = PurePosixPath(path).name
    return path == params.source_manifest or any(fnmatch(name, pattern) for pattern in params.ignore)


def run(*, source: External, footage: Out, params: Params, context: Context) -> Report:
    report = Report()
    opened = open_source(source)
    source_name = PurePosixPath(source.rstrip("/")).name
    listed = list(opened.locations())
    entries = _entries(opened, listed, params)
    wanted = [found for found in listed if not is_ignored(found.path, params)]
    report.items_in = len(wanted)
    report.figures["ignored"] = len(listed) - len(wanted)
    report.figures["manifest_rows_without_file"] = len(set(entries) - {found.path for found in listed})
    known: dict[str, Footage] = {}
    rejections: list[Rejection] = []
    scraped = [location for location in wanted if _acquisition(entries, location, context) == SCRAPED]
    refused = {location.path for location in scraped}  # unread: nothing of them comes into the object store
    found = list(_found(opened, [location for location in wanted if location.path not in refused], params, context))
    erased = context.erased({finding.footage_id for _, finding in found if isinstance(finding, Taken)})
    if erased:  # looking at them has put them back
        context.objects.remove([media_key(footage_id) for footage_id in sorted(erased)])
    others = _of_others_too(context, erased)
    for location, finding in found:
        if finding is None:
            report.pending[STILL_ARRIVING] += 1
            continue
        if isinstance(finding, Refused):
            report.rejected[finding.reason] += 1
            rejections.append(
                Rejection(stage="ingest", item=location.path, reason=finding.reason, detail=finding.detail)
            )
            continue
        entry = entries.get(location.path, SourceEntry(subset=None, captured_at=None, consent_id=None, keys=()))
        if finding.footage_id in erased and finding.footage_id not in others:
            report.rejected["erased"] += 1
            said = "its bytes were erased and may not come in again"
            rejections.append(Rejection(stage="ingest", item=location.path, reason="erased", detail=said))
            continue
        twin = known.get(finding.footage_id)
        report.published += 1
        if (acquisition := _acquisition(entries, location, context)) != UNSTATED:
            report.figures[f"acquired_{acquisition}"] += 1
        report.figures["footage" if twin is None else "second_locations"] += 1
        known[finding.footage_id] = (
            _footage(finding, location, entry, source_name, params)
            if twin is None
            else replace(
                twin,
                locations=(*twin.locations, location.path),
                consent_id=_consents_of_both(twin.consent_id, entry.consent_id),
                keys=tuple(sorted({*twin.keys, *entry.keys})),
            )
        )
    for location in scraped:
        report.rejected["untargeted_scraping"] += 1
        row = entries.get(location.path)
        said = "its manifest says so" if row and row.acquisition == SCRAPED else "so were all files of this source"
        rejections.append(Rejection(stage="ingest", item=location.path, reason="untargeted_scraping", detail=said))
    report.figures["footage_under_spec"] = sum(
        "low_resolution" in f.flags or "low_frame_rate" in f.flags for f in known.values()
    )
    report.figures["footage_seconds"] = round(sum(f.duration_s or 0.0 for f in known.values()))
    for footage_id in others & set(known):
        known[footage_id] = replace(known[footage_id], flags=tuple(sorted({*known[footage_id].flags, MEDIA_ERASED})))
        report.figures["footage_without_media"] += 1
    _write(footage, known, rejections)
    return report


def _of_others_too(context: Context, erased: set[str]) -> set[str]:
    """Footage that an erasure left in the table, since it shows others: it stays, without its media."""
    before = context.previous.get("footage")
    if not erased or before is None:
        return set()
    table = read_columns(before, "footage", Footage, ("footage_id", "flags"))
    rows = zip(table["footage_id"].to_pylist(), table["flags"].to_pylist(), strict=True)
    return erased & {footage_id for footage_id, flags in rows if MEDIA_ERASED in flags}


def _acquisition(entries: Mapping[str, SourceEntry], location: Location, context: Context) -> str:
    """How a file was come by: as its row says, unless the whole source was scraped."""
    entry = entries.get(location.path)
    stated = entry.acquisition if entry is not None and context.acquisition != SCRAPED else None
    return stated or context.acquisition


def _consents_of_both(one: str | None, other: str | None) -> str | None:
    """The same bytes in two places need the consents that either names."""
    named = {*consents_named(one), *consents_named(other)}
    return one if named == set(consents_named(one)) else ";".join(sorted(named))


def _entries(source: Source, listed: list[Location], params: Params) -> Mapping[str, SourceEntry]:
    for location in listed:
        if location.path == params.source_manifest:
            with source.local(location) as path:
                return read_source_manifest(path)
    return {}


def _found(
    source: Source, wanted: Sequence[Location], params: Params, context: Context
) -> Iterator[tuple[Location, Finding | None]]:
    """Every location with what it is, remembered or found out now; None while its file changes under our eyes."""
    spec = spec_of(params)
    basis = basis_of(spec)
    seen: dict[str, Taken] = {}
    recalled = context.findings.recall(wanted, basis)
    for location, remembered in zip(context.progress.track(wanted, "ingest"), recalled, strict=True):
        finding: Finding | None = remembered
        if finding is None:
            finding = look_at(source, location, spec, context.objects, known=seen, on=context.stopwatch.on)
            if not is_unreadable(finding):
                finding = finding if location_now(source, location) == location else None
                if finding is not None:
                    context.findings.remember(location, basis, finding)
        if isinstance(finding, Taken):
            seen.setdefault(finding.footage_id, finding)
        yield location, finding


def _footage(finding: Taken, location: Location, entry: SourceEntry, source_name: str, params: Params) -> Footage:
    return Footage(
        footage_id=finding.footage_id,
        batch=batch_of(finding.footage_id, params.batches),
        uri=location.path,
        locations=(location.path,),
        size_bytes=location.size_bytes,
        kind=finding.kind,
        width=finding.width,
        height=finding.height,
        rotation=finding.rotation,
        fps=finding.fps,
        duration_s=finding.duration_s,
        frames=finding.frames,
        codec=finding.codec,
        captured_at=entry.captured_at or finding.captured_at,
        source=source_name,
        subset=entry.subset or subset_of(location.path, source_name, params),
        consent_id=entry.consent_id,
        keys=entry.keys,
        flags=finding.flags,
    )


def _write(footage: Path, known: Mapping[str, Footage], rejections: list[Rejection]) -> None:
    for batch in sorted({record.batch for record in known.values()}):
        records = sorted((r for r in known.values() if r.batch == batch), key=lambda record: record.footage_id)
        write_table(footage / batch / "footage.parquet", Footage, records)
    write_table(footage / "rejections.parquet", Rejection, rejections)
