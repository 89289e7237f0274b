"""Run one stored engine on one batch: what verification needs, on whatever its target is."""

import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceloop.export.engines import EngineRecord
from faceloop.export.gpu_engine import run_on_gpu
from faceloop.vision.arrays import Float32Array
from faceloop.vision.sessions import open_session
from facestore.errors import DataError
from facestore.ids import sha256_hex


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRun:
    """`vectors` float32 (n, d) as the engine gave them."""

    vectors: Float32Array
    engine_sha256: str
    device: str


def run_engine(folder: Path, engine: EngineRecord, inputs: Float32Array) -> EngineRun:
    """Run float32 (n, 3, 112, 112) through an engine of the export in `folder`.

    Raises DataError for a file that is gone, TargetMissing where this machine is not the target, ModelCorrupt where
    the engine is refused by its runtime.
    """
    if engine.file is None or not (folder / engine.file).is_file():
        raise DataError(f"engine {engine.fingerprint}: its file is not in the export; copy the whole folder")
    stored = (folder / engine.file).read_bytes()
    match engine.target:
        case "onnxruntime" | "openvino":
            hint = dict(engine.options)["hint"].strip('"')
            if hint not in ("f32", "bf16"):
                raise DataError(f"engine {engine.fingerprint} asks for precision {hint!r}; run export again")
            session = open_session(
                stored, engine=engine.target, precision="f32" if hint == "f32" else "bf16", threads=1
            )
            return EngineRun(
                vectors=session.run(np.ascontiguousarray(inputs))[0],
                engine_sha256=sha256_hex(stored),
                device=f"{engine.target} on {platform.machine()}",
            )
        case "tensorrt" | "tensorrt-rtx":
            vectors, device = run_on_gpu(engine.target, stored, inputs)
            return EngineRun(vectors=vectors, engine_sha256=sha256_hex(stored), device=device)
