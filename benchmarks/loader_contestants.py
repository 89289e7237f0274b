"""One loader, timed over whole epochs; prints JSON. `training_loader.py` starts each loader in its own process.

    python loader_contestants.py KIND FOLDER WORKERS BATCH EPOCHS

Peers import nothing of ours, so that they run in an environment of their own. CPU is this process's and its workers',
start-up left out.
"""

import atexit
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")


def ours(folder: Path, workers: int, batch: int, *, is_decoded_kept: bool = False) -> Callable[[], Iterator[int]]:
    from faceloop.training.reading.batches import KeepDecoded, TrainReader
    from faceloop.training.reading.order import Shuffled

    reader = TrainReader(
        folder / "release/train",
        batch_size=batch,
        sampler=Shuffled(),
        augmentation=None,
        workers=workers,
        seed=1,
        keep_decoded=KeepDecoded(folder=folder, room_bytes=1 << 40) if is_decoded_kept else None,
    )
    epochs = iter(range(1_000_000))
    return lambda: (len(found.labels) for found in reader.batches(next(epochs)))


def imagefolder(folder: Path, workers: int, batch: int) -> Callable[[], Iterator[int]]:
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder  # type: ignore[import-not-found]  # of the peers' environment
    from torchvision.transforms import PILToTensor  # type: ignore[import-not-found]

    pictures = ImageFolder(str(folder / "imagefolder"), transform=PILToTensor())
    loader: Any = DataLoader(
        pictures, batch_size=batch, shuffle=True, num_workers=workers, persistent_workers=True, drop_last=True
    )
    return lambda: (len(labels) for _, labels in loader)


def webdataset(folder: Path, workers: int, batch: int) -> Callable[[], Iterator[int]]:
    import webdataset as wds  # type: ignore[import-not-found]
    from torch.utils.data import DataLoader

    urls = sorted(str(file) for file in (folder / "webdataset").glob("*.tar"))
    samples = wds.WebDataset(urls, shardshuffle=len(urls), workersplitter=wds.split_by_worker)
    stream = samples.shuffle(1000).decode("rgb8").to_tuple("jpg", "cls").batched(batch)
    loader: Any = DataLoader(stream, batch_size=None, num_workers=workers, persistent_workers=True)
    return lambda: (len(labels) for _, labels in loader)


def decode(folder: Path, workers: int, batch: int) -> Callable[[], Iterator[int]]:
    """OpenCV's decoder alone, on JPEGs that lie in memory: `workers` processes, nothing handed over."""
    import numpy as np

    files = sorted((folder / "imagefolder").rglob("*.jpg"))
    jpegs = [np.fromfile(file, np.uint8) for file in files]
    pool = multiprocessing.get_context("fork").Pool(workers, _keep, (jpegs,))
    atexit.register(pool.terminate)
    parts = [(start, min(start + batch, len(jpegs))) for start in range(0, len(jpegs), batch)]
    return lambda: pool.imap(_decode, parts)


_jpegs: list[Any] = []


def _keep(jpegs: list[Any]) -> None:
    _jpegs[:] = jpegs


def _decode(part: tuple[int, int]) -> int:
    import cv2

    for jpeg in _jpegs[slice(*part)]:
        cv2.imdecode(jpeg, cv2.IMREAD_COLOR_RGB)
    return part[1] - part[0]


CONTESTANTS: dict[str, Callable[[Path, int, int], Callable[[], Iterator[int]]]] = {
    "ours": ours,
    "kept": partial(ours, is_decoded_kept=True),
    "imagefolder": imagefolder,
    "webdataset": webdataset,
    "decode": decode,
}


def cpu_s(pids: list[int]) -> float:
    """CPU seconds of this process and of workers."""
    total = time.process_time()
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def main() -> None:
    kind, folder, workers, batch, epochs = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])
    epoch = CONTESTANTS[kind](folder, workers, batch)
    for _ in epoch():  # workers start, files come into memory
        pass
    pids = [child.pid for child in multiprocessing.active_children() if child.pid is not None]
    wall, cpu, samples = time.perf_counter(), cpu_s(pids), 0
    for _ in range(epochs):
        samples += sum(epoch())
    print(json.dumps({"samples": samples, "wall_s": time.perf_counter() - wall, "cpu_s": cpu_s(pids) - cpu}))


if __name__ == "__main__":
    main()
