"""Samples of a release that was packed before its root was encrypted: the same release, every record sealed.

In a folder of its own, whose files may be shared with the release before: what changes is written anew. Records that a
delta took away are not carried over.
"""

from dataclasses import replace
from itertools import islice
from pathlib import Path

from facestore.keys import KeyRing
from facestore.lmdbfile import LmdbReader, LmdbWriter
from facestore.records import ReleaseSample
from facestore.releasepapers import TABLE, splits_of, write_papers
from facestore.seal import close_payload, digest_in, is_closed, unseal
from facestore.shardindex import ShardEntry, SplitIndex, read_index, write_changed, write_packed
from facestore.shards import SAMPLE_KIND, ShardReader, stamp_of
from facestore.tables import read_table

_Hashes = dict[int, tuple[str, str]]  # row as it was written → file, sha256


def has_plain_samples(folder: Path) -> bool:
    """Whether a release's files hold samples that are not sealed. One writer wrote a shard: its first record tells."""
    return any(
        not is_closed(unseal(record, entry.file)[0])
        for split in splits_of(folder)
        for entry in read_index(folder / split).shards
        for _, record in islice(LmdbReader(folder / split / entry.file).items(), 1)
    )


def seal_samples(folder: Path, ring: KeyRing) -> int:
    """Seal what is not sealed yet, and let table, papers and version follow; returns how many samples that were.

    The manifest of the folder is left to the caller. Raises ShardCorrupt, StoreError when the disk is full.
    """
    samples = list(read_table(folder, TABLE, ReleaseSample))
    ring.prepare({sample.face_id for sample in samples})
    sealed = 0
    changed: list[ReleaseSample] = []
    for split in splits_of(folder):
        own = [sample for sample in samples if sample.split == split]  # rows as a reader counts them
        reader = ShardReader(folder / split, check="size")
        stored = [reader.stored_row(sample.row) for sample in own]
        found, count = _seal_split(folder / split, ring)
        sealed += count
        for sample, row in zip(own, stored, strict=True):
            file, sha256 = found[row]
            changed.append(replace(sample, shard=f"{split}/{file}", sha256=sha256))
    if sealed:
        write_papers(folder, changed, "encrypted", {})
    return sealed


def _seal_split(split_dir: Path, ring: KeyRing) -> tuple[_Hashes, int]:
    index = read_index(split_dir)
    gone, hashes, sealed = index.removed, dict[int, tuple[str, str]](), 0
    entries: list[ShardEntry] = []
    for entry in index.shards:
        reader = LmdbReader(split_dir / entry.file, entry.stamp)
        path = split_dir / f"{Path(entry.file).stem}.sealed.lmdb"
        with LmdbWriter(path) as writer:
            for key, record in reader.items():
                row = int.from_bytes(key, "big")
                if row in gone:
                    continue
                header, payload = unseal(record, str(row))
                if not is_closed(header):
                    record = close_payload(ring, str(header["face_id"]), SAMPLE_KIND, header, bytes(payload))
                    sealed += 1
                writer.put(key, record)
                hashes[row] = (path.name, digest_in(memoryview(record)).hex())
        reader.close()
        entries.append(replace(entry, file=path.name, samples=writer.records, stamp=stamp_of(path)))
    if index.deltas or any(entry.samples != entry.rows for entry in entries):
        changed = SplitIndex(shards=tuple(entries), deltas=index.deltas, delta_files=index.delta_files)
        write_changed(split_dir, changed)
    else:
        write_packed(split_dir, entries)
    for entry in index.shards:
        (split_dir / entry.file).unlink()
    return hashes, sealed
