"""The models of the repository: detect, align, embed, normalise, and the ensemble that is asked for faces."""

from dataclasses import dataclass
from pathlib import Path

import onnx

from faceloop.export.triton_align import align_graph
from faceloop.export.triton_config import (
    MODEL_FILES,
    Batching,
    Instances,
    Message,
    Step,
    Tensor,
    Warmup,
    model_config,
)
from faceloop.export.triton_detect import DetectParams, detect_graph
from faceloop.export.triton_unit import unit_graph
from faceloop.vision.align import CROP_SIDE_PX
from faceloop.vision.contract import EmbeddingContract
from faceloop.vision.specs import DetectorSpec
from facestore.errors import ConfigError, ModelCorrupt

ENSEMBLE = "faces"
DETECT, ALIGN, EMBED, UNIT = "face_detect", "face_align", "face_embed", "face_unit"
_WARM_PICTURE = (480, 640, 3)
_CROP = (3, CROP_SIDE_PX, CROP_SIDE_PX)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedRecogniser:
    """The recogniser that is served. `onnx_path` takes float32 (n, 3, 112, 112) and gives (n, dimension) with a free
    n; `plan_path`, a TensorRT engine of that very file, is served in its place."""

    onnx_path: Path
    contract: EmbeddingContract
    plan_path: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonParams:
    """Numbers of a model repository."""

    detect: DetectParams
    batching: Batching  # of crops; a picture's faces are one request, so `detect.max_faces` may not exceed it
    instances: Instances

    def __post_init__(self) -> None:
        if self.detect.max_faces > self.batching.largest:
            raise ConfigError(
                f"max_faces is {self.detect.max_faces} and the largest batch {self.batching.largest}: faces of one "
                "picture are one request; raise the batch or look for fewer faces"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """One model: its config without a version policy, and the file of a version (None for an ensemble)."""

    name: str
    config: Message
    file_name: str | None
    content: bytes


def served_models(
    detector: DetectorSpec, recogniser: ServedRecogniser, params: TritonParams
) -> tuple[ServedModel, ...]:
    """All models, the ensemble last. Raises ConfigError and ModelCorrupt for what cannot be served."""
    image = Tensor(name="IMAGE", kind="UINT8", dims=(-1, -1, 3))
    boxes = Tensor(name="BOXES", kind="FP32", dims=(-1, 4))
    landmarks = Tensor(name="LANDMARKS", kind="FP32", dims=(-1, 5, 2))
    scores = Tensor(name="SCORES", kind="FP32", dims=(-1,))
    dimension = recogniser.contract.dimension
    contract = {"contract_id": recogniser.contract.contract_id}
    warm_picture = Warmup(name="IMAGE", dims=_WARM_PICTURE, is_random=True)
    detect = model_config(
        DETECT,
        "onnxruntime_onnx",
        inputs=[image],
        outputs=[boxes, landmarks, scores],
        instances=params.instances,
        warmup=[warm_picture],
    )
    align = model_config(
        ALIGN,
        "onnxruntime_onnx",
        inputs=[image, landmarks],
        outputs=[Tensor(name="CROPS", kind="FP32", dims=(-1, *_CROP))],
        instances=params.instances,
        warmup=[warm_picture, Warmup(name="LANDMARKS", dims=(1, 5, 2), is_random=False)],
    )
    embed = _embed(recogniser, params)
    vectors = Tensor(name="VECTORS", kind="FP32", dims=(dimension,))
    unit = model_config(
        UNIT,
        "onnxruntime_onnx",
        inputs=[vectors],
        outputs=[
            Tensor(name="EMBEDDINGS", kind="FP32", dims=(dimension,)),
            Tensor(name="CONTRACT", kind="STRING", dims=(1,)),
        ],
        instances=Instances(cpu=1, gpu=0),
        batching=params.batching,
        warmup=[Warmup(name="VECTORS", dims=(dimension,), is_random=True)],
        notes=contract,
    )
    ensemble = model_config(
        ENSEMBLE,
        "ensemble",
        inputs=[image],
        outputs=[
            boxes,
            landmarks,
            scores,
            Tensor(name="EMBEDDINGS", kind="FP32", dims=(-1, dimension)),
            Tensor(name="CONTRACT", kind="STRING", dims=(-1, 1)),
        ],
        instances=None,
        steps=_steps(embed.config),
        notes=contract,
    )
    return (
        _onnx(DETECT, detect, detect_graph(detector, params.detect)),
        _onnx(ALIGN, align, align_graph(recogniser.contract)),
        embed,
        _onnx(UNIT, unit, unit_graph(recogniser.contract)),
        ServedModel(name=ENSEMBLE, config=ensemble, file_name=None, content=b""),
    )


def _onnx(name: str, config: Message, content: bytes) -> ServedModel:
    return ServedModel(name=name, config=config, file_name=MODEL_FILES["onnxruntime_onnx"], content=content)


def _steps(embed: Message) -> list[Step]:
    crops, vectors = ("CROPS", "crops"), ("VECTORS", "vectors")
    found = (("BOXES", "BOXES"), ("LANDMARKS", "LANDMARKS"), ("SCORES", "SCORES"))
    return [
        Step(model=DETECT, inputs=(("IMAGE", "IMAGE"),), outputs=found),
        Step(model=ALIGN, inputs=(("IMAGE", "IMAGE"), ("LANDMARKS", "LANDMARKS")), outputs=(crops,)),
        Step(
            model=EMBED,
            inputs=((embed.input[0].name, "crops"),),
            outputs=((embed.output[0].name, "vectors"),),
        ),
        Step(model=UNIT, inputs=(vectors,), outputs=(("EMBEDDINGS", "EMBEDDINGS"), ("CONTRACT", "CONTRACT"))),
    ]


def _embed(recogniser: ServedRecogniser, params: TritonParams) -> ServedModel:
    content = recogniser.onnx_path.read_bytes()
    source, target = _ends(recogniser, content)
    dimension = recogniser.contract.dimension
    is_plan = recogniser.plan_path is not None
    if is_plan and params.instances.gpu == 0:
        raise ConfigError("a TensorRT engine runs on GPUs only; set instances.gpu to 1, or serve the ONNX file")
    platform = "tensorrt_plan" if is_plan else "onnxruntime_onnx"
    config = model_config(
        EMBED,
        "tensorrt_plan" if is_plan else "onnxruntime_onnx",
        inputs=[Tensor(name=source, kind="FP32", dims=_CROP)],
        outputs=[Tensor(name=target, kind="FP32", dims=(dimension,))],
        instances=Instances(cpu=0, gpu=params.instances.gpu) if is_plan else params.instances,
        batching=params.batching,
        warmup=[Warmup(name=source, dims=_CROP, is_random=True)],
        notes={"contract_id": recogniser.contract.contract_id},
    )
    served = recogniser.plan_path.read_bytes() if recogniser.plan_path is not None else content
    return ServedModel(name=EMBED, config=config, file_name=MODEL_FILES[platform], content=served)


def _ends(recogniser: ServedRecogniser, content: bytes) -> tuple[str, str]:
    """Names of the only input and output. Raises ModelCorrupt for a graph of other shapes, or of a fixed batch."""
    graph = onnx.load_model_from_string(content).graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    expected = {"input": _CROP, "output": (recogniser.contract.dimension,)}
    for what, values in (("input", inputs), ("output", graph.output)):
        shapes = [[d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] for value in values]
        if len(shapes) != 1 or tuple(shapes[0][1:]) != expected[what] or isinstance(shapes[0][0], int):
            raise ModelCorrupt(
                f"{recogniser.onnx_path}: {what} shapes are {shapes}, expected one of a free batch and "
                f"{list(expected[what])}; export the candidate with a dynamic batch"
            )
    return str(inputs[0].name), str(graph.output[0].name)
