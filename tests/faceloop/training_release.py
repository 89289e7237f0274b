"""A root with a small published release to train on: people are patterns of colours, each sample a little different."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from faceloop.params import read_params
from faceloop.progress import SilentProgress
from faceloop.runner import Workspace, open_workspace
from facestore.images import encode_jpeg
from facestore.publish import fresh_partial, publish
from facestore.records import ReleaseSample, Split
from facestore.shards import SampleLabel, write_shards
from facestore.tables import write_table

from .training_world import ROOT

PEOPLE = ("person-a", "person-b")


def released_to_train(root: Path, *overrides: str, people: tuple[str, ...] = PEOPLE, samples: int = 6) -> Workspace:
    """`samples` crops of each of `people` in train, of one other person in val; the test split is empty."""
    tree = read_params(ROOT / "params.yaml", [f"paths.source={root / 'source'}", *overrides])
    work = open_workspace(root, tree, threads=1, progress=SilentProgress())
    staging = fresh_partial(work.path("release"), keep=False)
    rows: list[ReleaseSample] = []
    splits: dict[Split, tuple[str, ...]] = {"train": people, "val": ("person-x",), "test": ()}
    for split, names in splits.items():
        labels = [
            SampleLabel(
                face_id=f"{who}-{number}", identity_id=who, class_index=place if split == "train" else -1,
                confidence=0.5 + 0.05 * number, quality=0.9,
            )
            for place, who in enumerate(names) for number in range(samples)
        ]  # fmt: skip
        jpegs = [encode_jpeg(_crop(label.identity_id, label.face_id), 95) for label in labels]
        written = write_shards(staging / split, zip(labels, jpegs, strict=True), samples_per_shard=4)
        rows += [
            ReleaseSample(
                split=split, shard=f"{split}/{place.shard}", row=place.row, face_id=label.face_id, footage_id="f",
                identity_id=label.identity_id, class_index=label.class_index, confidence=label.confidence,
                quality=label.quality, sha256=place.sha256,
            )
            for label, place in zip(labels, written, strict=True)
        ]  # fmt: skip
    write_table(staging / "samples.parquet", ReleaseSample, rows)
    (staging / "manifest.json").write_text('{"release": "abc123", "lineage": {"footage": []}}', encoding="utf-8")
    publish(work.path("release"), stage="release", run_key="run", counts={}, inputs={})
    return work


def _crop(who: str, sample: str) -> npt.NDArray[np.uint8]:
    ground = np.random.default_rng(list(who.encode())).integers(0, 200, (7, 7, 3))
    change = np.random.default_rng(list(sample.encode())).integers(0, 56, (7, 7, 3))
    return (ground + change).astype(np.uint8).repeat(16, axis=0).repeat(16, axis=1)
