"""The source manifest: what people say of their footage (subset, capture time, consent), as CSV or YAML."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

import yaml

from facestore.errors import ConfigError

COLUMNS = ("path", "subset", "captured_at", "consent_id", "keys", "acquisition")
Acquisition = Literal["unstated", "own_recording", "licensed_dataset", "consented_upload", "public_event", "synthetic"]
# Faces scraped without aim are refused whatever paper there is (EU AI Act Art. 5(1)(e)): a file may say so of itself.
SCRAPED = "web_scrape_untargeted"
UNSTATED = "unstated"
_ACQUISITIONS = (*get_args(Acquisition), SCRAPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceEntry:
    """What the manifest says of one path. None: it says nothing."""

    subset: str | None
    captured_at: datetime | None
    consent_id: str | None
    keys: tuple[str, ...]  # `kind=value`, sorted: a badge, a number plate, the owner of an album
    acquisition: str | None = None  # how it was come by: one of Acquisition, or SCRAPED


def read_source_manifest(path: Path) -> dict[str, SourceEntry]:
    """Entries by relative POSIX path; CSV with a header, or a YAML list of mappings, with the keys of `COLUMNS`.

    Raises ConfigError naming the line, the key and the value.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() in {".yaml", ".yml"}:
            rows = yaml.safe_load(text) or []
        else:
            rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except (OSError, UnicodeError, yaml.YAMLError, csv.Error) as error:
        raise ConfigError(f"cannot read the source manifest {path.name}: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise ConfigError(f"{path.name}: expected a list of rows with the keys {', '.join(COLUMNS)}")
    entries: dict[str, SourceEntry] = {}
    for number, row in enumerate(rows, start=1):
        if unknown := [key for key in row if key not in COLUMNS]:
            raise ConfigError(f"{path.name}, row {number}: unknown key {unknown[0]!r}; keys are {', '.join(COLUMNS)}")
        name = str(row.get("path") or "").strip()
        if not name:
            raise ConfigError(f"{path.name}, row {number}: no path")
        name = PurePosixPath(name).as_posix()
        if name in entries:
            raise ConfigError(f"{path.name}, row {number}: {name!r} stands there twice")
        entries[name] = SourceEntry(
            subset=_text(row.get("subset")),
            captured_at=_time(row.get("captured_at"), f"{path.name}, row {number}"),
            consent_id=_text(row.get("consent_id")),
            keys=_keys(row.get("keys"), f"{path.name}, row {number}"),
            acquisition=_acquisition(row.get("acquisition"), f"{path.name}, row {number}"),
        )
    return entries


def _text(value: object) -> str | None:
    return str(value).strip() or None if value is not None else None


def _acquisition(value: object, where: str) -> str | None:
    text = _text(value)
    if text is not None and text not in _ACQUISITIONS:
        raise ConfigError(f"{where}: acquisition = {text!r}: must be one of {', '.join(_ACQUISITIONS)}")
    return text


def _keys(value: object, where: str) -> tuple[str, ...]:
    """`kind=value` pairs, separated by `;` in CSV, a list in YAML. Raises ConfigError for anything else."""
    listed = value if isinstance(value, list) else str(value or "").split(";")
    texts = [text for entry in listed if (text := str(entry).strip())]
    keys = []
    for text in texts:
        kind, found, what = (part.strip() for part in text.partition("="))
        if not (kind and found and what):
            raise ConfigError(f"{where}: keys = {text!r} is not KIND=VALUE; separate several by `;`")
        keys.append(f"{kind}={what}")
    return tuple(sorted(set(keys)))


def _time(value: object, where: str) -> datetime | None:
    if value in (None, ""):
        return None
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{where}: captured_at = {value!r} is not an ISO-8601 time") from error
