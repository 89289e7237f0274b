"""What was found out about the files of a source, so that no file is hashed and probed twice.

A file is trusted to be the same while its size and version are (modification time or ETag), as DVC trusts it.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from facestore.ids import JsonValue, canonical_json
from facestore.records import FootageKind
from facestore.sources import BucketSource, Location, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Bytes that lie in the object store under `footage_id`, and what they are: sizes in px, times in s and UTC."""

    footage_id: str
    kind: FootageKind
    width: int
    height: int
    rotation: int
    fps: float | None
    duration_s: float | None
    frames: int | None
    codec: str
    captured_at: datetime | None
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A file that is no footage, and why."""

    reason: str
    detail: str


Finding = Taken | Refused


class Findings(Protocol):
    """What earlier runs found in one source. `basis` names all that a finding depends on besides the bytes."""

    def recall(self, locations: Sequence[Location], basis: str) -> Iterator[Finding | None]:
        """One for each location, in order; None where nothing is known of these bytes."""
        ...

    def remember(self, location: Location, basis: str, finding: Finding) -> None:
        """Keep it for the next run. A file that changed a moment ago is not remembered: it could change unseen."""
        ...


class NoFindings:
    """Knows nothing and keeps nothing."""

    def recall(self, locations: Sequence[Location], basis: str) -> Iterator[Finding | None]:
        yield from (None for _ in locations)

    def remember(self, location: Location, basis: str, finding: Finding) -> None:
        return


def listing_digest(locations: Iterable[Location]) -> str:
    """Digest of a source's listing: paths, sizes, versions. The bytes themselves are hashed by ingest."""
    digest = hashlib.sha256(b"[")
    for number, found in enumerate(locations):
        row: JsonValue = [found.path, found.size_bytes, found.version]
        digest.update(b"," * bool(number) + canonical_json(row).encode())
    digest.update(b"]")
    return digest.hexdigest()


def location_now(source: Source, location: Location) -> Location | None:
    """How the file of a location stands at this moment; None when it is gone. Raises StoreError for a bucket."""
    if isinstance(source, BucketSource):
        key = source.prefix + location.path
        found = next(source.bucket.list(key), None)  # keys are sorted: the shortest comes first
        if found is None or found[0] != key:
            return None
        return Location(path=location.path, size_bytes=found[1], version=found[2])
    with source.local(location) as path:
        try:
            stat = path.stat()
        except OSError:
            return None
    return Location(path=location.path, size_bytes=stat.st_size, version=str(stat.st_mtime_ns))
