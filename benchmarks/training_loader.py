"""The training loader against ImageFolder, WebDataset and the bare JPEG decoder, from the same crops.

    python -m benchmarks.training_loader [--split TRAIN_SPLIT] [--samples 40000] [--peers-python PYTHON]

Crops are those of TRAIN_SPLIT (`release/train` of a root), or of the portrait that scikit-image ships, shifted by some
pixels and encoded as `detect` does until there are enough. Each loader runs in a process of its own, in alternating
order, with the same number of workers, after one epoch that is not timed. All hand over uint8 pictures and labels,
shuffled, without augmentation. `ours` decodes in every epoch, `kept` copies what the first epoch decoded; `decode` is
the decoder that both use, alone, on JPEGs in memory. PYTHON is an interpreter with torchvision and webdataset.
"""

import argparse
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import skimage.data

from faceloop.vision.arrays import UInt8Array
from facestore.images import encode_jpeg
from facestore.shards import SampleLabel, ShardReader, write_shards

CONTESTANTS = Path(__file__).with_name("loader_contestants.py")
OURS = ("ours", "kept")
PEERS = ("imagefolder", "webdataset")
IDENTITIES = 1000
SHARD = 4096
PORTRAIT_PX = (slice(20, 244), slice(110, 334))  # the face in the portrait


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    per_wall_s: float
    cpu_us: float  # a sample


def crops_of(split: Path | None) -> list[UInt8Array]:
    if split is None:
        face = np.asarray(skimage.data.astronaut(), np.uint8)[PORTRAIT_PX]  # type: ignore[no-untyped-call]
        return [np.asarray(cv2.resize(face, (112, 112), interpolation=cv2.INTER_AREA), np.uint8)]
    reader = ShardReader(split)
    return [reader[row].image_rgb for row in range(min(len(reader), 2000))]


def jpegs_of(crops: list[UInt8Array], samples: int) -> Iterator[bytes]:
    shifts = np.random.default_rng(0).integers(-4, 5, size=(samples, 2))
    for row, (right, down) in enumerate(shifts.tolist()):
        matrix = np.array([[1.0, 0.0, right], [0.0, 1.0, down]])
        moved = cv2.warpAffine(crops[row % len(crops)], matrix, (112, 112), borderMode=cv2.BORDER_REFLECT)
        yield encode_jpeg(np.asarray(moved, np.uint8), 95)


def write_layouts(folder: Path, crops: list[UInt8Array], samples: int) -> int:
    """The same JPEGs as our shards, as a folder for each identity and as tar files; their mean size in bytes."""
    labelled, total = [], 0
    tar: tarfile.TarFile | None = None
    (folder / "webdataset").mkdir()
    for row, jpeg in enumerate(jpegs_of(crops, samples)):
        name = row % IDENTITIES
        label = SampleLabel(
            face_id=f"{row:032x}", identity_id=f"{name:032x}", class_index=name, confidence=0.9, quality=0.5
        )
        labelled.append((label, jpeg))
        total += len(jpeg)
        place = folder / f"imagefolder/{name:04d}/{row:06d}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(jpeg)
        if tar is None or row % SHARD == 0:
            if tar is not None:
                tar.close()
            tar = tarfile.open(folder / f"webdataset/{row // SHARD:04d}.tar", "w")  # noqa: SIM115  # closed above
        for suffix, payload in (("jpg", jpeg), ("cls", str(name).encode())):
            entry = tarfile.TarInfo(f"{row:06d}.{suffix}")
            entry.size = len(payload)
            tar.addfile(entry, io.BytesIO(payload))
    if tar is not None:
        tar.close()
    write_shards(folder / "release/train", labelled, SHARD)
    return total // samples


def timed(kind: str, python: Path, folder: Path, workers: int, batch: int, epochs: int) -> Timing:
    command = [str(python), str(CONTESTANTS), kind, str(folder), str(workers), str(batch), str(epochs)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = json.loads(said.splitlines()[-1])
    return Timing(per_wall_s=found["samples"] / found["wall_s"], cpu_us=1e6 * found["cpu_s"] / max(1, found["samples"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--split", type=Path, help="a train split whose crops to take")
    parser.add_argument("--samples", type=int, default=40_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--peers-python", type=Path, help="interpreter that has torchvision and webdataset")
    options = parser.parse_args()
    kinds = [*OURS, "decode", *(PEERS if options.peers_python else ())]
    if options.peers_python is None:
        print("Skipped: ImageFolder and WebDataset; name an interpreter that has them with --peers-python.")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        size = write_layouts(folder, crops_of(options.split), options.samples)
        print(f"{options.samples} crops of {size} bytes, {options.workers} workers, batches of {options.batch}\n")
        print("| round | loader | samples a second | cpu µs a sample |\n|--:|---|--:|--:|", flush=True)
        rounds: dict[str, list[Timing]] = {kind: [] for kind in kinds}
        for number in range(options.rounds):
            for kind in kinds if number % 2 == 0 else kinds[::-1]:
                python = options.peers_python if kind in PEERS else Path(sys.executable)
                found = timed(kind, python, folder, options.workers, options.batch, options.epochs)
                rounds[kind].append(found)
                print(f"| {number} | {kind} | {found.per_wall_s:.0f} | {found.cpu_us:.0f} |", flush=True)
    print("\nMedian of rounds (their cpu / our cpu; our speed / their speed):\n")
    for mine in OURS:
        for kind in kinds[len(OURS) :]:
            pairs = list(zip(rounds[mine], rounds[kind], strict=True))
            cpu = median(theirs.cpu_us / own.cpu_us for own, theirs in pairs)
            speed = median(own.per_wall_s / theirs.per_wall_s for own, theirs in pairs)
            print(f"- {mine} against {kind}: cpu {cpu:.2f}×, speed {speed:.2f}×")


if __name__ == "__main__":
    main()
