"""Changes after packing: whatever is added, corrected, taken away and compacted, readers see what a dict would hold."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facestore.errors import DataError, ShardCorrupt, StageError
from facestore.ids import JsonValue
from facestore.images import encode_jpeg
from facestore.publish import fresh_partial, publish, read_manifest, verify
from facestore.records import ReleaseSample, Split
from facestore.releasechanges import (
    Addition,
    Change,
    MadeFrom,
    add_tombstones,
    change_release,
    compact_release,
    rewrite_shard,
)
from facestore.shardchanges import ShardLimits, change_split, purge_split, rows_of
from facestore.shards import INDEX, SampleLabel, ShardReader, write_shards
from facestore.tables import read_table, write_table

LONG = bool(os.environ.get("FACELOOP_LONG"))
LIMITS = ShardLimits(samples=3)
Model = dict[str, tuple[str, SampleLabel, bytes]]  # face id → split, label, picture


def _label(number: int, identity: int, split: str) -> SampleLabel:
    return SampleLabel(
        face_id=f"f{number:04d}",
        identity_id=f"p{identity}",
        class_index=identity if split == "train" else -1,
        confidence=0.5,
        quality=0.25,
    )


def _jpeg(number: int) -> bytes:
    """Of one grey, with its number written behind the picture, so that no two are alike."""
    return encode_jpeg(np.full((112, 112, 3), number % 250, np.uint8), 60) + b"FACE%06d" % number


def make_release(release: Path, train: int = 8, test: int = 3) -> Model:
    staging = fresh_partial(release, keep=False)
    model: Model = {}
    rows: list[ReleaseSample] = []
    number = 0
    counts: dict[Split, int] = {"train": train, "test": test}
    for split, count in counts.items():
        own = []
        for _ in range(count):
            own.append((_label(number, number % 3 + (10 if split == "test" else 0), split), _jpeg(number)))
            number += 1
        for (label, jpeg), place in zip(own, write_shards(staging / split, own, 3), strict=True):
            model[label.face_id] = (split, label, jpeg)
            rows.append(
                ReleaseSample(
                    split=split, shard=f"{split}/{place.shard}", row=place.row, face_id=label.face_id,
                    footage_id=f"m{label.face_id}", identity_id=label.identity_id, class_index=label.class_index,
                    confidence=label.confidence, quality=label.quality, sha256=place.sha256,
                )
            )  # fmt: skip
    write_table(staging / "samples.parquet", ReleaseSample, rows)
    footage = [{"footage_id": f"m{name}"} for name in model]
    papers = {"release": "r1", "splits": {}, "tombstones": [], "lineage": {"footage": footage}}
    (staging / "manifest.json").write_text(json.dumps(papers))
    publish(release, stage="pack", run_key="run", counts={}, inputs={})
    return model


def seen(release: Path) -> Model:
    """By the table and by the records; they must say the same."""
    verify(release)
    found: Model = {}
    counted = 0
    for split in ("train", "test"):
        reader = ShardReader(release / split, verify_files=True)
        counted += len(reader)
        rows = [row for row in read_table(release, "samples", ReleaseSample) if row.split == split]
        assert sorted(row.row for row in rows) == list(range(len(reader)))
        for row in rows:
            label, jpeg = reader.jpeg(row.row)
            assert (label.face_id, label.identity_id, label.class_index) == (
                row.face_id,
                row.identity_id,
                row.class_index,
            )
            assert (release / row.shard).is_file()
            found[label.face_id] = (split, label, jpeg)
    assert len(found) == counted
    return found


@dataclass(frozen=True, slots=True)
class _Step:
    kind: str
    faces: frozenset[int]
    identity: int


STEPS = st.builds(
    _Step,
    st.sampled_from(["add", "correct", "move", "remove", "purge", "compact"]),
    st.frozensets(st.integers(0, 15), max_size=4),
    st.integers(0, 4),
)


def _apply(release: Path, model: Model, step: _Step) -> Model:
    """The step on the release, and on the dict that it must come to."""
    names = {f"f{number:04d}": number for number in step.faces}
    there = {name: number for name, number in names.items() if name in model}
    after = dict(model)
    added: list[Addition] = []
    removed: set[str] = set()
    match step.kind:
        case "compact":
            compact_release(release, limits=LIMITS)
            classes = sorted({label.class_index for _, label, _ in model.values() if label.class_index >= 0})
            return {
                name: (
                    split,
                    replace(label, class_index=classes.index(label.class_index)) if split == "train" else label,
                    jpeg,
                )
                for name, (split, label, jpeg) in model.items()
            }
        case "remove" | "purge":
            removed = set(names)
            for name in there:
                del after[name]
        case "add":
            for name, number in names.items() - there.items():
                after[name] = ("train", _label(number, step.identity, "train"), _jpeg(number))
        case _:
            removed = set(there)
            for name, number in there.items():
                split = "test" if step.kind == "move" else model[name][0]
                after[name] = (split, _label(number, step.identity, split), model[name][2])
    for name in sorted(after):
        if name not in model or (name in removed and name in after):
            split, label, jpeg = after[name]
            added.append(Addition(split=split, label=label, footage_id=f"m{name}", jpeg=jpeg))
    change = Change(reason=step.kind, removed=removed, added=added, is_purged=step.kind == "purge")
    change_release(release, change, limits=LIMITS)
    return after


@given(st.lists(STEPS, max_size=6 if LONG else 4))
@settings(deadline=None, max_examples=300 if LONG else 12)
def test_any_sequence_of_changes_reads_as_a_dict_would(steps: list[_Step]) -> None:
    with TemporaryDirectory() as folder:
        release = Path(folder) / "release"
        model = make_release(release)
        for step in steps:
            model = _apply(release, model, step)
            assert seen(release) == model
        assert add_tombstones(release, [*model, "nobody"], "erased", is_purged=True) == len(model)
        assert seen(release) == {}
        assert not [path for path in release.rglob("*") if path.is_file() and b"FACE0" in path.read_bytes()]


def test_a_change_copies_no_shard_and_the_release_before_stays_readable_to_who_has_it_open(tmp_path: Path) -> None:
    release = tmp_path / "release"
    model = make_release(release)
    inode = (release / "train/shard-00000.lmdb").stat().st_ino
    before = ShardReader(release / "train")
    first = before[0]
    manifest = read_manifest(release)
    assert add_tombstones(release, ["f0000", "nobody"], "erased") == 1
    assert (release / "train/shard-00000.lmdb").stat().st_ino == inode
    assert before[0].label == first.label == model["f0000"][1]
    assert [ShardReader(release / "train")[row].label.face_id for row in (0, 1)] == ["f0001", "f0002"]
    after = read_manifest(release)
    assert manifest is not None and after is not None and manifest.digest != after.digest


def test_purged_records_are_nowhere_in_the_files_and_the_others_keep_their_bytes(tmp_path: Path) -> None:
    release = tmp_path / "release"
    make_release(release)
    sha_of = {row.face_id: row.sha256 for row in read_table(release, "samples", ReleaseSample)}
    assert rewrite_shard(release / "train/shard-00000.lmdb", ["f0001", "f0007", "f0009"]) == 3
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    for number in (1, 7, 9):
        assert not [path for path in files if b"FACE%06d" % number in path.read_bytes()]
        assert not [path for path in files if b"mf%04d" % number in path.read_bytes()]
    left = {row.face_id: row.sha256 for row in read_table(release, "samples", ReleaseSample)}
    assert left == {name: sha for name, sha in sha_of.items() if name not in ("f0001", "f0007", "f0009")}
    assert rewrite_shard(release / "train/shard-00002.0001.lmdb", ["f0001"]) == 0


def test_tombstones_alone_hide_and_leave_the_bytes_where_they_are(tmp_path: Path) -> None:
    """The plain form is no erasure: a byte scan shows why the purge exists."""
    release = tmp_path / "release"
    make_release(release)
    add_tombstones(release, ["f0001"], "withdrawn")
    assert "f0001" not in seen(release)
    assert b"FACE000001" in (release / "train/shard-00000.lmdb").read_bytes()
    add_tombstones(release, [], "erased", is_purged=True)
    assert not [path for path in release.rglob("*.lmdb") if b"FACE000001" in path.read_bytes()]


def test_a_change_that_was_cut_off_anywhere_is_done_by_the_next(tmp_path: Path) -> None:
    """What a kill leaves: a half-made folder beside the release, or the release half put in place."""
    release = tmp_path / "release"
    model = make_release(release)
    before = seen(release)
    for leave in ("half made", "sealed, not in place", "between two renames"):

        def killed(staged: Path, place: Path, leave: str = leave) -> None:
            if leave == "between two renames":
                place.rename(place.with_name("release.old"))
            raise KeyboardInterrupt

        if leave == "half made":
            (tmp_path / ".release.changed/train").mkdir(parents=True)
            (tmp_path / ".release.changed/train/junk.lmdb").write_bytes(b"FACE000001")
        else:
            with pytest.raises(KeyboardInterrupt):
                add_tombstones(release, ["f0001"], "erased", is_purged=True, put=killed)
        assert add_tombstones(release, [], "erased") == 0  # nothing to do, and still cleaned up
        assert seen(release) == before
        assert [path.name for path in tmp_path.iterdir()] == ["release"]
    assert add_tombstones(release, ["f0001"], "erased", is_purged=True) == 1
    del model["f0001"]
    assert seen(release) == model
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"FACE000001" in path.read_bytes()]


def test_damage_is_not_handed_on_to_the_next_version(tmp_path: Path) -> None:
    release = tmp_path / "release"
    make_release(release)
    shard = release / "train/shard-00002.lmdb"
    spoilt = bytearray(shard.read_bytes())
    spoilt[spoilt.index(b"FACE000006")] ^= 1
    shard.write_bytes(spoilt)
    with pytest.raises(DataError, match="shard-00002"):
        add_tombstones(release, ["f0001"], "erased")
    assert shard.read_bytes() == spoilt


def test_the_lineage_names_the_footage_that_samples_come_from_and_no_other(tmp_path: Path) -> None:
    """Consents are looked up by it: a sample of unnamed footage would pass every gate."""
    release = tmp_path / "release"
    make_release(release, train=3, test=0)
    label = replace(_label(40, 1, "train"), identity_id="p1")
    added = Addition(split="train", label=label, footage_id="new", jpeg=_jpeg(40))
    lines: dict[str, JsonValue] = {"new": {"footage_id": "new", "consent_id": "c7"}, "unused": {"footage_id": "unused"}}
    origin = MadeFrom(footage=lines, run_key="next", inputs={}, counts={})
    change = Change(reason="corrected", removed=["f0001"], added=[added])
    change_release(release, change, limits=LIMITS, made_from=origin)
    listed = json.loads((release / "manifest.json").read_text())["lineage"]["footage"]
    assert listed == [{"footage_id": "mf0000"}, {"footage_id": "mf0002"}, lines["new"]]


def test_a_split_that_lies_by_itself_is_changed_in_place(tmp_path: Path) -> None:
    make_release(tmp_path / "release")
    alone = tmp_path / "train"
    (tmp_path / "release/train").rename(alone)
    assert add_tombstones(alone, ["f0002", "f0009"], "erased") == 1
    assert rows_of(alone, ["f0002", "f0003"]) == {"f0003": 3}
    assert len(ShardReader(alone)) == 7
    assert purge_split(alone) == ["shard-00000.lmdb"]
    reader = ShardReader(alone)
    assert [reader[row].label.face_id for row in range(7)] == [f"f{n:04d}" for n in (0, 1, 3, 4, 5, 6, 7)]


def test_a_split_inside_of_a_release_is_not_changed_behind_its_table(tmp_path: Path) -> None:
    make_release(tmp_path / "release")
    with pytest.raises(StageError, match="name the release"):
        add_tombstones(tmp_path / "release/train", ["f0001"], "erased")


def test_a_face_is_never_in_a_release_twice(tmp_path: Path) -> None:
    model = make_release(tmp_path / "release")
    split, label, jpeg = model["f0001"]
    twice = Addition(split=split, label=label, footage_id="m", jpeg=jpeg)
    with pytest.raises(DataError, match="1 faces would be in the release twice"):
        change_release(tmp_path / "release", Change(reason="corrected", added=[twice]), limits=LIMITS)
    assert seen(tmp_path / "release") == model


def _spoilt_deltas(split: Path) -> Iterator[tuple[Path, bytes | None]]:
    first, second = sorted(split.glob("tombstones-*.json"))
    yield first, None
    yield first, first.read_bytes().replace(b"[1]", b"[2]")
    yield second, first.read_bytes()
    yield split / INDEX, (split / INDEX).read_bytes().replace(b'"samples":6', b'"samples":7')


def test_a_delta_that_is_lost_changed_or_moved_is_found_before_anything_is_read(tmp_path: Path) -> None:
    make_release(tmp_path / "release")
    split = tmp_path / "release/train"
    for name in ("f0001", "f0004"):
        add_tombstones(tmp_path / "release", [name], "erased")
    spoils = list(_spoilt_deltas(split))
    assert len(spoils) == 4
    for path, payload in spoils:
        good = path.read_bytes()
        path.unlink() if payload is None else path.write_bytes(payload)
        with pytest.raises(ShardCorrupt):
            ShardReader(split)
        path.write_bytes(good)
    assert len(ShardReader(split)) == 6


def test_a_reader_that_knows_no_deltas_refuses_a_changed_split(tmp_path: Path) -> None:
    """Else it would show what was taken away: the format's version says that there is more to know."""
    make_release(tmp_path / "release")
    assert b'"version":1}' in (tmp_path / "release/train" / INDEX).read_bytes()
    add_tombstones(tmp_path / "release", ["f0001"], "erased")
    assert b'"version":2}' in (tmp_path / "release/train" / INDEX).read_bytes()


def test_a_row_that_is_gone_cannot_go_again(tmp_path: Path) -> None:
    make_release(tmp_path / "release")
    (tmp_path / "release/train").rename(tmp_path / "train")
    change_split(tmp_path / "train", removed_rows=[1], reason="erased", limits=LIMITS)
    for row in (1, -1, 8):
        with pytest.raises(ShardCorrupt):
            change_split(tmp_path / "train", removed_rows=[row], reason="erased", limits=LIMITS)
    assert change_split(tmp_path / "train", removed_rows=[], reason="nothing", limits=LIMITS) == []
