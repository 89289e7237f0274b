"""Where training starts: a model pack, or a candidate that an earlier run wrote.

A start that does not compute what its pack computes would be a silent change of model, so each is compared with
ONNX Runtime before it is handed out.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from faceloop.training.backbones.architecture import Architecture, build_backbone
from faceloop.training.backbones.freezing import freeze_batch_norms
from faceloop.training.start.onnx_reading import read_onnx_graph
from faceloop.training.tensor_files import read_tensors
from faceloop.vision.fold import fold_model
from faceloop.vision.model_files import read_verified
from faceloop.vision.sessions import open_session
from faceloop.vision.specs import ModelPack, Preprocessing, RecogniserSpec
from facestore.errors import ConfigError, ModelCorrupt

ARCHITECTURE_FILE = "architecture.json"
WEIGHTS_FILE = "weights.safetensors"
MIN_PARITY = 0.9999
_PARITY_SEED = 1129
_PARITY_CROPS = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Start:
    """`module` (in training mode) takes crops under `preprocessing` to (B, dimension); `architecture` rebuilds it.

    `parity`: the smallest cosine, over made-up crops, to what ONNX Runtime says of the pack.
    """

    module: nn.Module
    architecture: Architecture
    preprocessing: Preprocessing
    dimension: int
    parity: float


def start_from_pack(pack: ModelPack, *, is_batch_norm_frozen: bool = False) -> Start:
    """The pack's recogniser as a trainable module.

    A candidate of ours (`architecture.json` and `weights.safetensors` beside its ONNX file) is rebuilt as it was
    trained; any other pack from its ONNX graph, batch norms as far as the export kept them (many fold them into
    the convolutions). `is_batch_norm_frozen` as `freeze_batch_norms`. Raises ConfigError for a pack without a
    recogniser, ModelCorrupt for an operator without a layer here, a file that fails its sha256, or a module whose
    vectors are not those of the pack (cosine below 0.9999).
    """
    spec = pack.recogniser
    if spec is None:
        raise ConfigError(f"pack {pack.pack_id!r} has no recogniser to start from; take that of another ('builtin')")
    folded = fold_model(read_verified(spec.model_path, sha256=spec.sha256), free_axes=("N",))
    folder = spec.model_path.parent
    if (folder / ARCHITECTURE_FILE).is_file() and (folder / WEIGHTS_FILE).is_file():
        module, architecture = _from_candidate(folder)
    else:
        read = read_onnx_graph(folded)
        arguments = read.graph.to_arguments()
        architecture = Architecture(kind="graph", dimension=spec.embedding_dimension, arguments=arguments)
        module = build_backbone(architecture)
        module.load_state_dict(read.state)
    parity = _parity(module, folded, spec)
    if parity < MIN_PARITY:
        raise ModelCorrupt(
            f"pack {pack.pack_id!r} rebuilt for training differs from its ONNX file (cosine {parity:.6f}, at least "
            f"{MIN_PARITY} expected); take its files from one run, or start from another pack"
        )
    return Start(
        module=freeze_batch_norms(module) if is_batch_norm_frozen else module.train(),
        architecture=architecture,
        preprocessing=spec.preprocessing,
        dimension=spec.embedding_dimension,
        parity=parity,
    )


def _from_candidate(folder: Path) -> tuple[nn.Module, Architecture]:
    architecture = Architecture.from_json((folder / ARCHITECTURE_FILE).read_text(encoding="utf-8"))
    module = build_backbone(architecture)
    tensors = read_tensors(folder / WEIGHTS_FILE)
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelCorrupt(
            f"{WEIGHTS_FILE} does not fit {ARCHITECTURE_FILE} ({str(error)[:200]}); take both from one training run"
        ) from error
    return module, architecture


def _parity(module: nn.Module, folded: bytes, spec: RecogniserSpec) -> float:
    crops = made_up_crops(spec.preprocessing, count=_PARITY_CROPS)
    session = open_session(folded, engine="onnxruntime", precision="f32", threads=1)
    expected = session.run(crops)[0].astype(np.float64)
    module.eval()
    with torch.no_grad():
        found = module(torch.from_numpy(crops)).double().numpy()
    if found.shape != expected.shape:
        return -1.0
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    return float(np.min((found * expected).sum(axis=1) / np.maximum(lengths, 1e-12)))


def made_up_crops(preprocessing: Preprocessing, *, count: int) -> NDArray[np.float32]:
    """Soft coloured blots in place of faces, (count, 3, 112, 112) float32, already normalised; always the same."""
    coarse = np.random.default_rng(_PARITY_SEED).uniform(0, 255, (count, 3, 8, 8))
    pixels = torch.nn.functional.interpolate(torch.from_numpy(coarse), size=(112, 112), mode="bilinear").numpy()
    return ((pixels - preprocessing.mean) / preprocessing.std).astype(np.float32)
