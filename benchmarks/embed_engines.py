"""Embedding throughput per core: which engine should a CPU use?

One thread, one process, real faces (photos that installed packages ship, augmented), every way in each round,
in alternating order, median over the rounds. Ratios are against the plain script: the shipped file, one crop at
a time. Run: `python benchmarks/embed_engines.py [--rounds 7] [--crops 64]`.
"""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: the figures are per core

import cv2
import numpy as np

from faceloop.vision.align import align_crops
from faceloop.vision.arrays import Float32Array, UInt8Array
from faceloop.vision.contract import Precision
from faceloop.vision.fold import drop_initialiser_inputs, fold_model
from faceloop.vision.models import embedding_contract, open_detector
from faceloop.vision.packs import load_pack
from faceloop.vision.recogniser import Recogniser
from faceloop.vision.sessions import Engine, open_session
from facestore.errors import ConfigError

PHOTOS = (
    ("insightface", "data/images/t1.jpg"),
    ("skimage", "data/astronaut.png"),
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
)
Embed = Callable[[UInt8Array], Float32Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    name: str
    embed: Embed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--crops", type=int, default=64)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    crops = real_crops(options.crops)
    ways = all_ways()
    reference = next(way for way in ways if way.name == "ONNX Runtime, folded f32, batch 1").embed(crops)
    seconds: dict[str, list[float]] = {way.name: [] for way in ways}
    for way in ways:
        way.embed(crops[:9])  # warm
    for turn in range(options.rounds):
        for way in ways if turn % 2 == 0 else ways[::-1]:
            started = time.perf_counter()
            way.embed(crops)
            seconds[way.name].append(time.perf_counter() - started)
    print(f"{len(crops)} crops, {options.rounds} rounds, one thread\n")
    print("| way | faces/s (median) | ratio (median of rounds) | ratio min to max | cosine to f32, mean / min |")
    print("|---|--:|--:|--:|--:|")
    plain = np.array(seconds[ways[0].name])
    for way in ways:
        own = np.array(seconds[way.name])
        ratios = plain / own
        cosines = (way.embed(crops) * reference).sum(axis=1)
        print(
            f"| {way.name} | {len(crops) / np.median(own):.1f} | {np.median(ratios):.2f} | "
            f"{ratios.min():.2f} to {ratios.max():.2f} | {cosines.mean():.5f} / {cosines.min():.5f} |"
        )


def real_crops(count: int) -> UInt8Array:
    """Aligned faces of the photos, then the same faces mirrored, darkened and blurred, seeded."""
    pack = load_pack("builtin", accept_licence=None, insightface_root=None)
    detector = open_detector(pack, engine="onnxruntime", precision="f32", threads=1)
    found = []
    for package, path in PHOTOS:
        photo = np.asarray(cv2.imread(str(files(package) / path)), dtype=np.uint8)
        found.append(align_crops(photo, detector.detect(photo, long_side_px=1280).landmarks_px))
    faces = np.concatenate(found)
    rng = np.random.default_rng(0)
    crops = np.empty((count, *faces.shape[1:]), dtype=np.uint8)
    for row in range(count):
        crop = faces[row % len(faces)].astype(np.float32)
        if row >= len(faces):
            crop = crop[:, ::-1] if rng.random() < 0.5 else crop
            crop = np.asarray(cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.3, 1.5)), dtype=np.float32)
            crop = crop * rng.uniform(0.6, 1.3) + rng.normal(0, 3, crop.shape)
        crops[row] = np.clip(crop, 0, 255)
    return crops


def all_ways() -> list[Way]:
    pack = load_pack("builtin", accept_licence=None, insightface_root=None)
    assert pack.recogniser is not None
    file_bytes = pack.recogniser.model_path.read_bytes()
    shipped, folded = drop_initialiser_inputs(file_bytes), fold_model(file_bytes, free_axes=("N",))

    def embed_by(model_bytes: bytes, engine: Engine, precision: Precision, batch_size: int) -> Embed:
        session = open_session(model_bytes, engine=engine, precision=precision, threads=1)
        contract = embedding_contract(pack, precision=precision)
        recogniser = Recogniser(session, contract=contract, batch_size=batch_size)
        return lambda crops: recogniser.embed(crops).vectors

    ways = [
        Way(name="ONNX Runtime, file as shipped, batch 1", embed=embed_by(shipped, "onnxruntime", "f32", 1)),
        *(
            Way(name=f"ONNX Runtime, folded f32, batch {size}", embed=embed_by(folded, "onnxruntime", "f32", size))
            for size in (1, 8, 32)
        ),
    ]
    precisions: tuple[Precision, ...] = ("f32", "bf16")
    for precision in precisions:
        for size in (1, 4, 8, 32):
            try:
                embed = embed_by(folded, "openvino", precision, size)
            except ConfigError as error:
                print(f"left out: openvino {precision}: {error}")
                break
            ways.append(Way(name=f"OpenVINO, folded {precision}, batch {size}", embed=embed))
    return ways


if __name__ == "__main__":
    main()
