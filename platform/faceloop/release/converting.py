"""Releases in the formats of other tools, and back. Streams: what is held is one sample and the split's labels."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from faceloop.progress import ProgressReporter
from faceloop.release.imagefolder import read_imagefolder, write_imagefolder
from faceloop.release.plain_samples import PlainSample, checked
from faceloop.release.recordio import read_recordio, write_recordio
from faceloop.release.webdataset import read_webdataset, write_webdataset
from facestore.errors import DataError, StageError, StoreError
from facestore.ids import JsonValue, canonical_json, digest_of, sha256_hex
from facestore.publish import partial_path, seal, sync_tree
from facestore.records import ReleaseSample, Split
from facestore.seal import PayloadCodec
from facestore.shards import SampleLabel, ShardReader, write_shards
from facestore.tables import read_columns, write_table

Format = Literal["recordio", "imagefolder", "webdataset"]
_READ: dict[Format, Callable[[Path], Iterator[PlainSample]]] = {
    "recordio": read_recordio,
    "imagefolder": read_imagefolder,
    "webdataset": read_webdataset,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    samples: int
    classes: int


def convert_to(
    kind: Format,
    release: Path,
    split: Split,
    folder: Path,
    progress: ProgressReporter,
    *,
    payload: PayloadCodec | None = None,
) -> Converted:
    """A split in `folder`, which is new: pictures to the byte, classes from 0 without gaps, sorted by class.

    Classes are those of the release in `train`, and in the order of the identities' ids in other splits. No name and no
    id leaves with them. Raises StageError where `folder` holds something, StoreError when the disk is full, DataError
    for an empty split, ShardCorrupt for a damaged one.
    """
    table = read_columns(release, "samples", ReleaseSample, ("split", "row", "class_index", "identity_id"))
    own = sorted(
        (sample["class_index"], sample["identity_id"], sample["row"])
        for sample in table.to_pylist()
        if sample["split"] == split
    )
    if not own:
        raise DataError(f"split {split} is empty: nothing to convert; name another with --split")
    is_new = np.array([True] + [one[:2] != other[:2] for one, other in pairwise(own)])
    numbers = (np.cumsum(is_new) - 1).tolist()
    reader = ShardReader(release / split, payload=payload)
    places = list(zip(numbers, (row for _, _, row in own), strict=True))

    def samples() -> Iterator[PlainSample]:
        for number, row in progress.track(places, f"to {kind}"):
            yield PlainSample(class_index=number, jpeg=reader.jpeg(row)[1])

    classes = numbers[-1] + 1
    staging = _fresh(folder)
    try:
        match kind:
            case "recordio":
                written = write_recordio(staging, samples(), count=len(own), classes=classes)
            case "imagefolder":
                written = write_imagefolder(staging, samples())
            case "webdataset":
                written = write_webdataset(staging, samples())
        sync_tree(staging)
        _put(staging, folder)
    except OSError as error:
        raise StoreError(f"cannot write the converted split: {error}; make room, then run again") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Converted(samples=written, classes=classes)


def convert_from(
    kind: Format, folder: Path, release: Path, progress: ProgressReporter, *, samples_per_shard: int
) -> Converted:
    """A release in the new folder `release`, whose train split holds what `folder` does; `release pull` takes it.

    Every picture is checked first (see `checked`). Ids come from content: faces from their pictures, identities from
    their class. Nothing is known of footage or consent, and the manifest says so. Raises DataError for anything that is
    no crop, or a picture that is there twice.
    """
    staging = _fresh(release)
    labels: list[SampleLabel] = []

    def labelled() -> Iterator[tuple[SampleLabel, bytes]]:
        for place, found in enumerate(_READ[kind](folder)):
            sample = checked(found, f"sample {place}")
            label = SampleLabel(
                face_id=sha256_hex(sample.jpeg)[:32],
                identity_id=f"class-{sample.class_index:08d}",
                class_index=sample.class_index,
                confidence=1.0,
                quality=1.0,
            )
            labels.append(label)
            yield label, sample.jpeg

    progress.say(f"reading {kind}")
    try:
        written = write_shards(staging / "train", labelled(), samples_per_shard)
        _refuse(labels)
        for empty in ("val", "test"):
            write_shards(staging / empty, (), samples_per_shard)
        rows = [
            ReleaseSample(
                split="train",
                shard=f"train/{place.shard}",
                row=place.row,
                face_id=label.face_id,
                footage_id=f"foreign:{kind}",
                identity_id=label.identity_id,
                class_index=label.class_index,
                confidence=label.confidence,
                quality=label.quality,
                sha256=place.sha256,
            )
            for label, place in zip(labels, written, strict=True)
        ]
        write_table(staging / "samples.parquet", ReleaseSample, rows)
        classes = len({label.class_index for label in labels})
        _write_papers(staging, kind, rows, classes)
        counts: dict[str, JsonValue] = {"in": len(rows), "published": len(rows), "rejected": {}, "pending": {}}
        seal(staging, stage="pack", run_key=f"convert:{kind}", counts=counts, inputs={})
        _put(staging, release)
    except OSError as error:
        raise StoreError(f"cannot write the release: {error}; make room, then run again") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Converted(samples=len(rows), classes=classes)


def _refuse(labels: Sequence[SampleLabel]) -> None:
    if not labels:
        raise DataError("there is no sample in the folder; name one that holds some")
    if twins := len(labels) - len({label.face_id for label in labels}):
        raise DataError(f"{twins} pictures are there more than once; leave the repetitions out")


def _write_papers(staging: Path, kind: Format, rows: Sequence[ReleaseSample], classes: int) -> None:
    version = digest_of([[row.shard, row.row, row.sha256] for row in rows])[:12]
    sizes: dict[str, JsonValue] = {name: {"identities": 0, "samples": 0} for name in ("val", "test")}
    sizes["train"] = {"identities": classes, "samples": len(rows)}
    # One source without consent: where consents are enforced, nothing trains on it.
    foreign: JsonValue = {"footage_id": f"foreign:{kind}", "subset": "foreign", "consent_id": None}
    papers = canonical_json(
        {
            "release": version,
            "embedding_contracts": [],
            "splits": sizes,
            "left_out": {},
            "lineage": {"records": "samples.parquet", "footage": [foreign], "converted_from": kind},
            "tombstones": [],
        }
    )
    (staging / "manifest.json").write_text(papers + "\n", encoding="utf-8")
    card = f"---\nversion: {version}\n---\n\n# Face release {version}\n\nConverted from {kind}: {len(rows)} samples of "
    card += f"{classes} classes. Nothing is known of their footage, nor of consent.\n"
    (staging / "README.md").write_text(card, encoding="utf-8")


def _fresh(folder: Path) -> Path:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StageError(f"{folder} is not empty; name a new folder")
    staging = partial_path(folder)
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    return staging


def _put(staging: Path, folder: Path) -> None:
    if folder.is_dir():
        folder.rmdir()
    staging.rename(folder)
