"""The Triton repository that goes with an export: the built-in detector and one shipped form."""

from pathlib import Path

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

    Raises ConfigError for a detector pack without detector, or numbers that do not go together.
    """
    detector = load_pack(wanted.detector, accept_licence=None, insightface_root=None).detector
    if detector is None:
        raise ConfigError(f"export.triton.detector is {wanted.detector!r}, which has no detector; set it to 'builtin'")
    folder = exported / "packs" / wanted.form
    form = load_pack(str(folder), accept_licence=None, insightface_root=None)
    return write_repository(
        exported / REPOSITORY,
        detector=detector,
        recogniser=ServedRecogniser(onnx_path=folder / MODEL, contract=embedding_contract(form, precision="f32")),
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
