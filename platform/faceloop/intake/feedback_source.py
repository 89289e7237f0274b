"""Where pictures that came back go: into the source, as subsets of their own, for the ordinary ingest to take."""

import csv
import io
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from faceloop.footage.source_manifest import COLUMNS, read_source_manifest
from facestore.errors import ConfigError
from facestore.publish import sync_path

_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A picture on its way into the source."""

    picture: Path
    path: str  # in the source
    captured_at: datetime
    consent_id: str | None


def path_in_source(device: str, event_id: str, name: str) -> str:
    """Subset `feedback-DEVICE`; the file is named after the event, so that a retry finds it."""
    suffix = PurePosixPath(name).suffix.lower()
    return f"feedback-{device}/{event_id}{suffix if _SUFFIX.fullmatch(suffix) else ''}"


def source_folder(url: str, manifest: str) -> Path:
    """The source as a folder that can be written into. Raises ConfigError for a bucket, or a manifest in YAML: what
    people say of their footage cannot be added to there."""
    if url.startswith("s3://"):
        raise ConfigError(
            f"source {url} is a bucket; take feedback into a folder with -S paths.source=FOLDER, and copy it"
        )
    folder = Path(url.removeprefix("file://"))
    if not folder.is_dir():
        raise ConfigError(f"source {url} is not a folder; make it, or name another with -S paths.source=FOLDER")
    if PurePosixPath(manifest).suffix.lower() != ".csv":
        raise ConfigError(f"ingest.source_manifest is {manifest!r}; consent of feedback is noted in a .csv only")
    return folder


def put_into_source(folder: Path, manifest: str, arrivals: Sequence[Arrival]) -> None:
    """Note time and consent in the source manifest first, then copy the pictures in; what is there stays."""
    _note(folder / manifest, arrivals)
    for arrival in arrivals:
        target = folder / arrival.path
        if target.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        waiting = target.with_name(f".{target.name}.{os.getpid()}")  # hidden: ingest passes over it
        shutil.copyfile(arrival.picture, waiting)
        sync_path(waiting)
        waiting.rename(target)
        sync_path(target.parent)


def _note(path: Path, arrivals: Sequence[Arrival]) -> None:
    """Add rows for paths that the manifest does not name; rows of people stay as they are."""
    known = read_source_manifest(path) if path.is_file() else {}
    new = [arrival for arrival in arrivals if arrival.path not in known]
    if not new:
        return
    before = path.read_text(encoding="utf-8-sig") if path.is_file() else ""
    header = next(csv.reader(io.StringIO(before, newline="")), None) or list(COLUMNS)
    missing = [column for column in ("path", "captured_at", "consent_id") if column not in header]
    if missing:
        raise ConfigError(
            f"{path.name} has no column {missing[0]!r}; add it to the header, then take the feedback again"
        )
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, header, lineterminator="\n")
    if not before:
        writer.writeheader()
    for arrival in sorted(new, key=lambda one: one.path):
        writer.writerow(
            {
                "path": arrival.path,
                "captured_at": arrival.captured_at.isoformat(),
                "consent_id": arrival.consent_id or "",
            }
        )
    waiting = path.with_name(f".{path.name}.{os.getpid()}")
    is_open = before and not before.endswith("\n")
    waiting.write_text(before + ("\n" if is_open else "") + text.getvalue(), encoding="utf-8", newline="")
    sync_path(waiting)
    waiting.replace(path)
    sync_path(path.parent)
