"""The canonical graph: float32 ONNX, free batch, one image in, one vector out, its opset stated and checked.

Every precision and every engine is made from it, so that what an engine may differ by is known.
"""

from dataclasses import dataclass

import onnx
from onnx import version_converter

from faceloop.vision.fold import fold_model, normalises_inside
from faceloop.vision.model_files import read_verified
from faceloop.vision.specs import ModelPack, RecogniserSpec
from facestore.errors import ConfigError, ModelCorrupt
from facestore.ids import sha256_hex

OPSET = 17  # the least: scales per channel need 13, and what the engines here are known to take starts at 17
BATCH_AXIS = "N"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecogniserGraph:
    """A serialised ONNX recogniser: input float32 (N, 3, 112, 112), output float32 (N, `dimension`)."""

    onnx_bytes: bytes
    opset: int
    input_name: str
    output_name: str
    dimension: int

    @property
    def sha256(self) -> str:
        return sha256_hex(self.onnx_bytes)


def canonical_graph(pack: ModelPack) -> RecogniserGraph:
    """The pack's recogniser, folded to plain float32, batch freed, raised to opset `OPSET` where it is older.

    Raises ConfigError for a pack without a recogniser or whose normalisation would be applied twice, ModelCorrupt
    for a file that is not what the manifest says or that ONNX's own checker refuses.
    """
    spec = recogniser_of(pack)
    model_bytes = read_verified(spec.model_path, sha256=spec.sha256)
    if normalises_inside(model_bytes) and (spec.preprocessing.mean, spec.preprocessing.std) != (0.0, 1.0):
        raise ConfigError(
            f"the graph of pack {pack.pack_id!r} normalises pixels itself, its manifest says mean "
            f"{spec.preprocessing.mean}, std {spec.preprocessing.std}; set mean 0 and std 1"
        )
    model = onnx.load_model_from_string(fold_model(model_bytes, free_axes=(BATCH_AXIS,)))
    if opset_of(model) < OPSET:
        model = version_converter.convert_version(model, OPSET)
    del model.graph.value_info[:]
    return checked_graph(model, dimension=spec.embedding_dimension)


def checked_graph(model: onnx.ModelProto, *, dimension: int) -> RecogniserGraph:
    """A graph that passed ONNX's checker with full shape inference, and has the shape of a recogniser.

    Raises ModelCorrupt otherwise, in the checker's words.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelCorrupt(f"the ONNX checker refuses the graph: {str(error)[:300]}; export it anew") from error
    if len(model.graph.input) != 1 or len(model.graph.output) != 1:
        raise ModelCorrupt(
            f"graph has {len(model.graph.input)} inputs, {len(model.graph.output)} outputs; take one with one of each"
        )
    image, vector = model.graph.input[0], model.graph.output[0]
    if not image.type.tensor_type.shape.dim[0].dim_param:
        raise ModelCorrupt(f"batch axis of input {image.name!r} is fixed; export it with a free batch")
    width = vector.type.tensor_type.shape.dim[-1].dim_value
    if width not in (0, dimension):
        raise ModelCorrupt(f"graph gives vectors of {width}, the pack says {dimension}; correct embedding_dimension")
    return RecogniserGraph(
        onnx_bytes=bytes(model.SerializeToString(deterministic=True)),
        opset=opset_of(model),
        input_name=image.name,
        output_name=vector.name,
        dimension=dimension,
    )


def opset_of(model: onnx.ModelProto) -> int:
    """Version of ONNX's own operators that the model is written in; 0 if it names none."""
    return max((int(item.version) for item in model.opset_import if item.domain in ("", "ai.onnx")), default=0)


def recogniser_of(pack: ModelPack) -> RecogniserSpec:
    """Raises ConfigError for a pack without a recogniser."""
    if pack.recogniser is None:
        raise ConfigError(f"pack {pack.pack_id!r} has no recogniser to export; name one that has")
    return pack.recogniser
