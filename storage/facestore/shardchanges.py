"""Changes of one split after it was packed: rows taken away, samples added, dead records removed for good.

Each change writes new files beside the others and then replaces the index: before it the split is the old one, after it
the new one. No file that an index names is ever written to, so folders may share them by hard link. Of a published
release, use `releasechanges`: its table and manifest have to follow.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from facestore.errors import ShardCorrupt
from facestore.keys import keyring_near
from facestore.lmdbfile import LmdbReader, LmdbWriter
from facestore.seal import PayloadCodec, seal, unseal
from facestore.shardindex import (
    INDEX,
    Delta,
    ShardEntry,
    SplitIndex,
    read_index,
    write_changed,
    write_delta,
    write_packed,
)
from facestore.shards import BYTES_PER_SHARD, SampleLabel, Written, key_of, stamp_of, write_shard_files


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardLimits:
    """Where a shard ends and the next begins."""

    samples: int
    size_bytes: int = BYTES_PER_SHARD


def rows_of(split_dir: Path, face_ids: Collection[str]) -> dict[str, int]:
    """Face id to the row it was written as, of those that the split holds now. Reads every record's header."""
    index = read_index(split_dir)
    wanted, gone = set(face_ids), index.removed
    found: dict[str, int] = {}
    for entry in index.shards:
        for key, record in LmdbReader(split_dir / entry.file, entry.stamp).items():
            row = int.from_bytes(key, "big")
            face_id = unseal(record, str(row))[0].get("face_id")
            if row not in gone and face_id in wanted:
                found[str(face_id)] = row
    return found


def change_split(
    split_dir: Path,
    *,
    removed_rows: Collection[int],
    added: Iterable[tuple[SampleLabel, bytes]] = (),
    reason: str,
    limits: ShardLimits,
    payload: PayloadCodec | None = None,
) -> list[Written]:
    """Take rows away (as they were written) and put samples behind the last, in one step; returns where these went.

    `reason` is written down: a word such as `erased`, never a name. Where there is nothing to do, nothing is done.
    Raises ShardCorrupt for rows that the split does not hold, StoreError when the disk is full: it stays as it was.
    """
    index = read_index(split_dir)
    payload = payload or keyring_near(split_dir)
    removed = tuple(sorted(set(removed_rows)))
    if any(row in index.removed or not 0 <= row < index.rows for row in removed):
        raise ShardCorrupt(f"{split_dir} does not hold a row that is to go; read its rows again")
    sequence = len(index.deltas) + 1
    entries, written = write_shard_files(
        split_dir,
        added,
        samples_per_shard=limits.samples,
        bytes_per_shard=limits.size_bytes,
        payload=payload,
        prefix=f"delta-{sequence:04d}-",
        first_row=index.rows,
    )
    if not removed and not written:
        return []
    delta = Delta(sequence=sequence, reason=reason, removed=removed, added_rows=len(written))
    file = write_delta(split_dir, index, delta, is_tombstone=not written)
    changed = SplitIndex(
        shards=(*index.shards, *entries),
        deltas=(*index.deltas, delta),
        delta_files=(*index.delta_files, file),
    )
    write_changed(split_dir, changed)
    return written


def purge_split(split_dir: Path) -> list[str]:
    """Write every shard that holds removed rows anew without them; returns the files that are gone.

    Rows keep their numbers, records their bytes. The old files are unlinked once the index names the new ones; what a
    run that was killed left behind goes with them.
    """
    index = read_index(split_dir)
    _sweep(split_dir, index)
    gone = index.removed
    entries: list[ShardEntry] = []
    old: list[str] = []
    for entry in index.shards:
        dead = sum(entry.first_row <= row < entry.first_row + entry.rows for row in gone)
        if entry.rows - dead == entry.samples:
            entries.append(entry)
            continue
        entries.append(_without(split_dir, entry, gone, len(index.deltas)))
        old.append(entry.file)
    if old:
        write_changed(split_dir, replace(index, shards=tuple(entries)))
        for name in old:
            (split_dir / name).unlink()
    return old


def _sweep(split_dir: Path, index: SplitIndex) -> None:
    """Files of ours that the index does not name: a change that was cut off."""
    named = {INDEX, *(entry.file for entry in index.shards), *(name for name, _ in index.delta_files)}
    for path in [*split_dir.glob("*.lmdb"), *split_dir.glob("*.json"), *split_dir.glob(".*.partial")]:
        if path.name not in named:
            path.unlink()


def _without(split_dir: Path, entry: ShardEntry, gone: Collection[int], sequence: int) -> ShardEntry:
    stem = Path(entry.file).stem.partition(".")[0]
    path = split_dir / f"{stem}.{sequence:04d}.lmdb"
    with LmdbWriter(path) as writer:
        for key, record in LmdbReader(split_dir / entry.file, entry.stamp).items():
            if int.from_bytes(key, "big") not in gone:
                writer.put(key, record)
    return replace(entry, file=path.name, samples=writer.records, stamp=stamp_of(path))


def compact_split(split_dir: Path, class_of: dict[int, int], limits: ShardLimits) -> list[Written]:
    """Write the whole split anew: rows from 0 without holes, no deltas, class indexes through `class_of`.

    Pictures are copied as they lie there, encrypted ones without any key. In a folder of its own: the files of the
    split are replaced one after the other, and the index last.
    """
    index = read_index(split_dir)
    gone = index.removed
    written: list[Written] = []
    entries: list[ShardEntry] = []
    writer: LmdbWriter | None = None
    path = split_dir
    filled_bytes = first_row = 0

    def close() -> None:
        if writer is not None:
            writer.close(commit=True)
            entries.append(
                ShardEntry(
                    file=path.name,
                    first_row=first_row,
                    rows=writer.records,
                    samples=writer.records,
                    stamp=stamp_of(path),
                )
            )

    old = [entry.file for entry in index.shards] + [name for name, _ in index.delta_files]
    for entry in index.shards:
        for key, stored in LmdbReader(split_dir / entry.file, entry.stamp).items():
            if int.from_bytes(key, "big") in gone:
                continue
            header, payload = unseal(stored, str(int.from_bytes(key, "big")))
            header["class_index"] = class_of.get(int(str(header["class_index"])), -1)
            record = seal(header, bytes(payload))
            if writer is None or writer.records >= limits.samples or filled_bytes + len(record) > limits.size_bytes:
                close()
                path = split_dir / f".compact-{len(entries):05d}.lmdb"
                writer, filled_bytes, first_row = LmdbWriter(path), 0, len(written)
            writer.put(key_of(len(written)), record)
            filled_bytes += len(record)
            written.append(Written(shard=f"shard-{len(entries):05d}.lmdb", row=len(written), sha256=record[:32].hex()))
    close()
    for name in (INDEX, *old):
        (split_dir / name).unlink()
    final: list[ShardEntry] = []
    for number, entry in enumerate(entries):
        name = f"shard-{number:05d}.lmdb"
        (split_dir / entry.file).rename(split_dir / name)
        final.append(replace(entry, file=name))
    write_packed(split_dir, final)
    return written
