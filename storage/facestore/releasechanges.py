"""Changes of a published release without packing it again: corrections, additions, tombstones, removal for good.

The new release is built beside the old one. What stays is linked, not copied; what changes is written anew: the delta,
the indexes, `samples.parquet` and the manifest. Then it takes the old one's place by rename, whole: whoever reads sees
the release before or the one after, and the version says which.
"""

import os
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from facestore.errors import DataError, StageError, StoreError
from facestore.ids import JsonValue
from facestore.publish import MANIFEST, Manifest, put_in_place, read_manifest, recover, seal
from facestore.records import ReleaseSample
from facestore.releasepapers import TABLE, splits_of, version_of, write_papers
from facestore.seal import PayloadCodec
from facestore.shardchanges import ShardLimits, change_split, compact_split, purge_split, rows_of
from facestore.shardindex import INDEX, read_index
from facestore.shards import SampleLabel, ShardReader, Written
from facestore.tables import read_table

Put = Callable[[Path, Path], None]  # the sealed folder into the place of the release


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """A sample that comes to a split: a new one, or one that was there under another label."""

    split: str
    label: SampleLabel
    footage_id: str
    jpeg: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Face ids that go, samples that come. A correction is both. `reason` is a word, never a name."""

    reason: str
    removed: Collection[str] = ()
    added: Sequence[Addition] = ()
    is_purged: bool = False  # removed records leave the files, those of earlier changes in the same split, too


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeFrom:
    """What the changed release counts as made from; without it, from what it was packed from.

    `footage`: of each footage that samples may come from, its line in the manifest's lineage; consents are read there.
    """

    footage: Mapping[str, JsonValue]
    run_key: str
    inputs: Mapping[str, str]
    counts: dict[str, JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What a change did. `shards_rewritten`: relative paths of files that are gone."""

    version: str
    removed: int
    added: int
    shards_rewritten: tuple[str, ...] = field(default=())


def change_release(
    release: Path,
    change: Change,
    *,
    limits: ShardLimits,
    payload: PayloadCodec | None = None,
    made_from: MadeFrom | None = None,
    put: Put = put_in_place,
) -> Changed:
    """Publish `release` with `change` made; face ids that it does not hold count for nothing.

    Safe to call again after a kill. Raises StageError where there is no published release, DataError where a face would
    be there twice or a file is not what its manifest says, StoreError when the disk is full: the release then stays.
    """
    manifest = _published(release)
    samples = list(read_table(release, TABLE, ReleaseSample))
    removed = set(change.removed)
    going = [sample for sample in samples if sample.face_id in removed]
    _refuse_twins(samples, removed, change.added)
    dirty = _with_dead_rows(release, samples) if change.is_purged else set()
    has_changes = bool(going or change.added or dirty)
    if not has_changes and (made_from is None or made_from.run_key == manifest.run_key):
        return Changed(version=version_of(release), removed=0, added=0)
    staged = _linked(release, manifest)
    try:
        rewritten = []
        for split in sorted({s.split for s in going} | {a.split for a in change.added} | dirty):
            reader = ShardReader(release / split, check="size")
            rows = [reader.stored_row(sample.row) for sample in going if sample.split == split]
            own = [addition for addition in change.added if addition.split == split]
            written = change_split(
                staged / split,
                removed_rows=rows,
                added=((addition.label, addition.jpeg) for addition in own),
                reason=change.reason,
                limits=limits,
                payload=payload,
            )
            if change.is_purged:
                rewritten += [f"{split}/{name}" for name in purge_split(staged / split)]
            kept = [sample for sample in samples if sample.split == split and sample.face_id not in removed]
            come = [_sample(addition, place) for addition, place in zip(own, written, strict=True)]
            samples = [s for s in samples if s.split != split] + _renumbered(staged, split, [*kept, *come])
        footage = {} if made_from is None else made_from.footage
        version = write_papers(staged, samples, change.reason, footage) if has_changes else version_of(release)
        shared = {name for name in manifest.files if name.endswith(".lmdb")}
        _seal_and_put(staged, release, manifest, put, shared=shared, made_from=made_from)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return Changed(
        version=version, removed=len(going), added=len(change.added), shards_rewritten=tuple(sorted(rewritten))
    )


def add_tombstones(
    folder: Path, face_ids: Iterable[str], reason: str, *, is_purged: bool = False, put: Put = put_in_place
) -> int:
    """Take faces out of a release, or out of a split that lies by itself; returns how many samples went.

    Readers do not see them any more. Their bytes stay in the shards until `is_purged`, or `rewrite_shard`.
    """
    wanted = set(face_ids)
    limits = ShardLimits(samples=1)  # nothing is added
    if not (folder / INDEX).is_file():
        change = Change(reason=reason, removed=wanted, is_purged=is_purged)
        return change_release(folder, change, limits=limits, put=put).removed
    if (folder.parent / MANIFEST).is_file():
        raise StageError(f"{folder} is part of a release; name the release, whose table and manifest have to follow")
    rows = rows_of(folder, wanted)
    change_split(folder, removed_rows=rows.values(), reason=reason, limits=limits)
    if is_purged:
        purge_split(folder)
    return len(rows)


def rewrite_shard(path: Path, without: Iterable[str], *, reason: str = "erased", put: Put = put_in_place) -> int:
    """Take these faces out of a shard for good, with all that was removed from its split before; returns how many.

    The release (or the split that lies by itself) is changed whole, so that other shards lose the same faces.
    """
    split_dir = path.parent
    folder = split_dir.parent if (split_dir.parent / MANIFEST).is_file() else split_dir
    return add_tombstones(folder, without, reason, is_purged=True, put=put)


def compact_release(release: Path, *, limits: ShardLimits, put: Put = put_in_place) -> Changed:
    """Write every shard anew: no deltas, no holes, class indexes without gaps. Samples stay as they are.

    Raises as `change_release`.
    """
    manifest = _published(release)
    samples = list(read_table(release, TABLE, ReleaseSample))
    classes = sorted({sample.class_index for sample in samples if sample.class_index >= 0})
    class_of = {-1: -1} | {old: new for new, old in enumerate(classes)}
    staged = _linked(release, manifest)
    try:
        compacted: list[ReleaseSample] = []
        for split in splits_of(release):
            own = sorted((s for s in samples if s.split == split), key=lambda sample: sample.row)
            written = compact_split(staged / split, class_of, limits)
            compacted += [
                replace(
                    sample,
                    shard=f"{split}/{place.shard}",
                    row=place.row,
                    class_index=class_of[sample.class_index],
                    sha256=place.sha256,
                )
                for sample, place in zip(own, written, strict=True)
            ]
        version = write_papers(staged, compacted, "compacted", {})
        _seal_and_put(staged, release, manifest, put, shared=set())
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return Changed(version=version, removed=0, added=0)


def _published(release: Path) -> Manifest:
    recover(release)
    shutil.rmtree(_staging(release), ignore_errors=True)  # of a run that was killed
    manifest = read_manifest(release)
    if manifest is None:
        raise StageError(f"{release} is no published release; run pack, or name the folder of a release")
    return manifest


def _staging(release: Path) -> Path:
    return release.with_name(f".{release.name}.changed")


def _refuse_twins(samples: Sequence[ReleaseSample], removed: Collection[str], added: Sequence[Addition]) -> None:
    there = Counter(sample.face_id for sample in samples if sample.face_id not in removed)
    there.update(addition.label.face_id for addition in added)
    if twins := sum(count > 1 for count in there.values()):
        raise DataError(f"{twins} faces would be in the release twice; remove them in the same change")


def _with_dead_rows(release: Path, samples: Sequence[ReleaseSample]) -> set[str]:
    """Splits whose files still hold what was removed from them."""
    live: Counter[str] = Counter(sample.split for sample in samples)
    return {
        split
        for split in splits_of(release)
        if sum(entry.samples for entry in read_index(release / split).shards) != live[split]
    }


def _linked(release: Path, manifest: Manifest) -> Path:
    """The release once more, every file shared with it. Who writes unlinks first."""
    staged = _staging(release)
    try:
        for name in manifest.files:
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(release / name, staged / name)
            except FileNotFoundError as error:
                raise DataError(f"{release / name} is missing; take another copy of the release") from error
            except OSError:  # a file system without links
                shutil.copyfile(release / name, staged / name)
    except OSError as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise StoreError(f"cannot change the release: {error}; make room, then run again") from error
    return staged


def _sample(addition: Addition, place: Written) -> ReleaseSample:
    label = addition.label
    return ReleaseSample(
        split=addition.split,  # type: ignore[arg-type]  # refused by the table where it is none
        shard=f"{addition.split}/{place.shard}",
        row=place.row,
        face_id=label.face_id,
        footage_id=addition.footage_id,
        identity_id=label.identity_id,
        class_index=label.class_index,
        confidence=label.confidence,
        quality=label.quality,
        sha256=place.sha256,
    )


def _renumbered(staged: Path, split: str, samples: Sequence[ReleaseSample]) -> list[ReleaseSample]:
    """Rows as a reader counts them now, and the files that hold them now. `samples` in the order of the split."""
    reader = ShardReader(staged / split, check="size")
    if len(reader) != len(samples):
        raise DataError(f"split {split} holds {len(reader)} samples, its table {len(samples)}; run pack again")
    shards = read_index(staged / split).shards
    found, at = [], 0
    for row, sample in enumerate(samples):
        stored = reader.stored_row(row)
        while stored >= shards[at].first_row + shards[at].rows:
            at += 1
        found.append(replace(sample, shard=f"{split}/{shards[at].file}", row=row))
    return found


def _seal_and_put(
    staged: Path,
    release: Path,
    before: Manifest,
    put: Put,
    *,
    shared: Collection[str],
    made_from: MadeFrom | None = None,
) -> None:
    """`shared`: files that were taken over, where they are still there. Damage is not handed on under a new name."""
    try:
        origin = made_from or MadeFrom(footage={}, run_key=before.run_key, inputs=before.inputs, counts=before.counts)
        sealed = seal(staged, stage=before.stage, run_key=origin.run_key, counts=origin.counts, inputs=origin.inputs)
        if spoiled := [name for name in sealed.files if name in shared and sealed.files[name] != before.files[name]]:
            raise DataError(f"{spoiled[0]} is not what the release's manifest says; take another copy of the release")
        put(staged, release)
    except OSError as error:
        raise StoreError(f"cannot publish the changed release: {error}; make room, then run again") from error
