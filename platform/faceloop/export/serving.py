"""The Triton repository that goes with an export: the built-in detector and one shipped form, as ONNX or as engine."""

import json
from pathlib import Path

from faceloop.export.engines import EngineRecord, read_engines
from faceloop.export.form_packs import MODEL
from faceloop.export.params import Triton
from faceloop.export.triton import Served, write_repository
from faceloop.export.triton_config import Batching, Instances
from faceloop.export.triton_detect import DetectParams
from faceloop.export.triton_models import ServedRecogniser, TritonParams
from faceloop.vision.models import embedding_contract
from faceloop.vision.packs import load_pack
from faceloop.vision.specs import ModelPack
from facestore.errors import ConfigError

REPOSITORY = "triton"


def write_serving(exported: Path, pack: ModelPack, wanted: Triton) -> Served:
    """Write `exported/triton` for a form whose pack lies in the export; vectors of it are under the form's contract.

    Where GPUs are to serve and the export has a TensorRT engine of the form, that is shipped in place of the ONNX file.
    Raises ConfigError for a detector pack without detector, or numbers that do not go together.
    """
    detector = load_pack(wanted.detector, accept_licence=None, insightface_root=None).detector
    if detector is None:
        raise ConfigError(f"export.triton.detector is {wanted.detector!r}, which has no detector; set it to 'builtin'")
    folder = exported / "packs" / wanted.form
    form = load_pack(str(folder), accept_licence=None, insightface_root=None, is_made_here=True)
    return write_repository(
        exported / REPOSITORY,
        detector=detector,
        recogniser=ServedRecogniser(
            onnx_path=folder / MODEL,
            contract=embedding_contract(form, precision="f32"),
            plan_path=_plan(exported, wanted) if wanted.gpu_instances else None,
        ),
        params=TritonParams(
            detect=DetectParams(
                long_side_px=wanted.long_side_px,
                min_score=wanted.min_score,
                max_iou=wanted.max_iou,
                max_faces=wanted.max_faces,
            ),
            batching=Batching(
                largest=wanted.largest_batch,
                preferred=tuple(wanted.preferred_batches),
                max_wait_us=wanted.max_wait_us,
            ),
            instances=Instances(cpu=wanted.cpu_instances, gpu=wanted.gpu_instances),
        ),
    )


def _plan(exported: Path, wanted: Triton) -> Path | None:
    """The engine file of the form for server GPUs; None where none was made.

    TensorRT-RTX engines are for applications: no Triton backend loads them.
    """
    for engine in read_engines(exported):
        if (engine.form, engine.target) == (wanted.form, "tensorrt") and engine.file is not None:
            _require_batches(engine, wanted)
            return exported / engine.file
    return None


def _require_batches(engine: EngineRecord, wanted: Triton) -> None:
    least, _, most = json.loads(dict(engine.options)["profile"])
    if least > 1 or wanted.largest_batch > most:
        raise ConfigError(
            f"the engine takes batches of {least} to {most}, and export.triton serves 1 to {wanted.largest_batch}; "
            "change export.tensorrt.profile or export.triton.largest_batch"
        )
