"""The index of a split and its deltas: which shards there are, and which of their rows do not count any more.

`index.json` of a split as it was packed (version 1): {version, samples, shards: [file, samples, bytes, sha256]}.
After a change (version 2): {version, samples, shards: [… and first_row, rows], deltas: [file, bytes, sha256]}.
A delta says which rows went and which came; it names rows, never a face or a person. Deltas stand in the order in which
they were made, each with the sha256 of the one before, and the index states the sha256 of all: one that is lost,
changed or moved is found before a record is read. The index is replaced by rename, last: it alone says what counts.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

from facestore.errors import ShardCorrupt, StoreError
from facestore.ids import JsonValue, canonical_json, sha256_hex
from facestore.lmdbfile import Stamp

INDEX = "index.json"
PACKED_VERSION, CHANGED_VERSION = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardEntry:
    """A shard: the rows [first_row, first_row + rows) of its split, `samples` of which it still holds."""

    file: str
    first_row: int
    rows: int
    samples: int
    stamp: Stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """One change. `removed`: rows that went, ascending; `added_rows`: how many came behind the last one."""

    sequence: int
    reason: str
    removed: tuple[int, ...]
    added_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitIndex:
    """A split: its shards by first row, its deltas by sequence with the names and stamps of their files."""

    shards: tuple[ShardEntry, ...]
    deltas: tuple[Delta, ...]
    delta_files: tuple[tuple[str, Stamp], ...]

    @property
    def rows(self) -> int:
        """Rows that were ever given out; a row is never given out twice."""
        return self.shards[-1].first_row + self.shards[-1].rows if self.shards else 0

    @property
    def removed(self) -> frozenset[int]:
        return frozenset(row for delta in self.deltas for row in delta.removed)


def read_index(split_dir: Path) -> SplitIndex:
    """Raises ShardCorrupt where the index is missing, contradicts itself, or a delta is not as it says."""
    path = split_dir / INDEX
    if not path.is_file():
        raise ShardCorrupt(f"{split_dir} has no {INDEX}: the split was never finished; run pack again")
    try:
        text = path.read_text(encoding="utf-8")
        body = json.loads(text)
        if canonical_json(body) + "\n" != text:
            raise ShardCorrupt(f"{path} is not as it was written; run pack again")
        version = body["version"]
        if version not in (PACKED_VERSION, CHANGED_VERSION) or isinstance(version, bool):
            raise ShardCorrupt(f"{path}: format {version!r}, this reader knows {CHANGED_VERSION}; run pack again")
        shards = _entries(body["shards"], is_packed=version == PACKED_VERSION)
        files = tuple((e["file"], _stamp(e)) for e in body.get("deltas", []))
        samples = int(body["samples"])
        is_flat = all(
            Path(name).name == name not in ("", "..")
            for name in [*(e.file for e in shards), *(name for name, _ in files)]
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ShardCorrupt(f"{path} is not an index ({error!r}); run pack again") from error
    is_row_on_row = all(one.first_row + one.rows == other.first_row for one, other in pairwise(shards))
    is_sane = is_row_on_row and all(0 <= e.samples <= e.rows for e in shards) and not (shards and shards[0].first_row)
    if not (is_flat and is_sane):
        raise ShardCorrupt(f"{path} contradicts itself: sample counts or file names are wrong; run pack again")
    index = SplitIndex(shards=shards, deltas=_deltas(split_dir, files), delta_files=files)
    if samples != index.rows - len(index.removed) or any(not 0 <= row < index.rows for row in index.removed):
        raise ShardCorrupt(f"{path} contradicts itself: sample counts are wrong; run pack again")
    return index


def _entries(entries: list[dict[str, str]], *, is_packed: bool) -> tuple[ShardEntry, ...]:
    starts = accumulate((int(e["samples"]) for e in entries), initial=0)
    return tuple(
        ShardEntry(
            file=entry["file"],
            first_row=start if is_packed else int(entry["first_row"]),
            rows=int(entry["samples" if is_packed else "rows"]),
            samples=int(entry["samples"]),
            stamp=_stamp(entry),
        )
        for entry, start in zip(entries, starts, strict=False)
    )


def _stamp(entry: dict[str, str]) -> Stamp:
    return Stamp(size_bytes=int(entry["bytes"]), sha256=str(entry["sha256"]))


def _deltas(split_dir: Path, files: Sequence[tuple[str, Stamp]]) -> tuple[Delta, ...]:
    found: list[Delta] = []
    before = ""
    for sequence, (name, stamp) in enumerate(files, start=1):
        path = split_dir / name
        payload = path.read_bytes() if path.is_file() else b""
        if sha256_hex(payload) != stamp.sha256:
            raise ShardCorrupt(f"{path}: missing, or its sha256 differs from the index; take another copy of the split")
        try:
            body = json.loads(payload)
            delta = Delta(
                sequence=int(body["sequence"]),
                reason=str(body["reason"]),
                removed=tuple(int(row) for row in body["removed"]),
                added_rows=int(body["added_rows"]),
            )
            is_next = delta.sequence == sequence and body["before"] == before
        except (ValueError, KeyError, TypeError) as error:
            raise ShardCorrupt(f"{path} is not a delta ({error!r}); take another copy of the split") from error
        if not is_next:
            raise ShardCorrupt(f"{path} is out of order; take another copy of the split")
        found.append(delta)
        before = stamp.sha256
    return tuple(found)


def write_packed(split_dir: Path, shards: Sequence[ShardEntry]) -> None:
    """The index of a split without deltas."""
    entries: list[JsonValue] = [
        {"file": e.file, "samples": e.samples, "bytes": e.stamp.size_bytes, "sha256": e.stamp.sha256} for e in shards
    ]
    samples = sum(e.samples for e in shards)
    _replace(split_dir / INDEX, {"version": PACKED_VERSION, "samples": samples, "shards": entries})


def write_changed(split_dir: Path, index: SplitIndex) -> None:
    """The index of a split with deltas, in place of the one before."""
    shards: list[JsonValue] = [
        {
            "file": e.file,
            "first_row": e.first_row,
            "rows": e.rows,
            "samples": e.samples,
            "bytes": e.stamp.size_bytes,
            "sha256": e.stamp.sha256,
        }
        for e in index.shards
    ]
    deltas: list[JsonValue] = [
        {"file": name, "bytes": stamp.size_bytes, "sha256": stamp.sha256} for name, stamp in index.delta_files
    ]
    samples = index.rows - len(index.removed)
    _replace(split_dir / INDEX, {"version": CHANGED_VERSION, "samples": samples, "shards": shards, "deltas": deltas})


def write_delta(split_dir: Path, index: SplitIndex, delta: Delta, *, is_tombstone: bool) -> tuple[str, Stamp]:
    """The file of the next delta; nothing reads it before an index names it."""
    name = f"{'tombstones' if is_tombstone else 'delta'}-{delta.sequence:04d}.json"
    body: JsonValue = {
        "sequence": delta.sequence,
        "before": index.delta_files[-1][1].sha256 if index.delta_files else "",
        "reason": delta.reason,
        "removed": list[JsonValue](delta.removed),
        "added_rows": delta.added_rows,
    }
    payload = _replace(split_dir / name, body)
    return name, Stamp(size_bytes=len(payload), sha256=sha256_hex(payload))


def _replace(path: Path, body: JsonValue) -> bytes:
    """Write, sync, rename, sync the folder. Raises StoreError; what lay there before stays then."""
    payload = (canonical_json(body) + "\n").encode()
    waiting = path.with_name(f".{path.name}.partial")
    try:
        with waiting.open("wb") as stream:
            stream.write(payload)
            stream.flush()
            os.fsync(stream.fileno())
        waiting.replace(path)
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        waiting.unlink(missing_ok=True)
        raise StoreError(f"cannot write {path.name}: {error}; free disk space and run again") from error
    return payload
