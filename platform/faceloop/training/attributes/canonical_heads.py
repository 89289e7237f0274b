"""Trained heads as ONNX, equal to torch's own output."""

import io
import warnings
from collections.abc import Sequence

import numpy as np
import onnx
import torch
from torch import Tensor

from faceloop.training.attributes.heads import ClipHeads, FaceHeads, PixelHeads
from faceloop.training.attributes.targets import Head
from faceloop.training.canonical import OPSET
from faceloop.vision.sessions import open_session
from facestore.errors import ModelCorrupt

MOST_DIFFERENCE = 1e-5  # of an output, relative to 1 or, of larger ones, to themselves
MOST_DIFFERENCE_OF_PIXELS = 1e-3  # through a whole recogniser, whose sums two engines order differently
_FREE_AXES = {"embedding": {0: "N"}, "pixels": {0: "N"}, "clip": {0: "N", 1: "T"}}


def heads_to_onnx(network: FaceHeads | PixelHeads | ClipHeads, heads: Sequence[Head], example: Tensor) -> bytes:
    """One float32 input, `embedding` (N, D), `pixels` (N, 3, 112, 112) or `clip` (N, T, D); an output a head, by name.

    Raises ModelCorrupt where ONNX Runtime says something else of `example` than torch.
    """
    name = {FaceHeads: "embedding", PixelHeads: "pixels", ClipHeads: "clip"}[type(network)]
    network.eval()
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch recommends its new exporter, which needs a package more
        torch.onnx.export(
            network,
            (example,),
            buffer,  # type: ignore[arg-type]  # the TorchScript exporter takes it
            dynamo=False,
            opset_version=OPSET,
            input_names=[name],
            output_names=[head.name for head in heads],
            dynamic_axes={name: _FREE_AXES[name]} | {head.name: {0: "N"} for head in heads},
        )
    model = onnx.load_from_string(buffer.getvalue())
    onnx.checker.check_model(model, full_check=True)
    found = bytes(model.SerializeToString(deterministic=True))
    _check(network, found, example)
    return found


@torch.no_grad()
def _check(network: FaceHeads | PixelHeads | ClipHeads, model: bytes, example: Tensor) -> None:
    most = MOST_DIFFERENCE_OF_PIXELS if isinstance(network, PixelHeads) else MOST_DIFFERENCE
    session = open_session(model, engine="onnxruntime", precision="f32", threads=1)
    probes = (example, example[:1], example[:, :1]) if isinstance(network, ClipHeads) else (example, example[:1])
    for probe in probes:
        pairs = zip(session.run(probe.contiguous().numpy()), network(probe), strict=True)
        worst = max(
            float(np.max(np.abs(ours - theirs.numpy()) / np.maximum(1, np.abs(theirs.numpy()))))
            for ours, theirs in pairs
        )
        if not worst <= most:
            raise ModelCorrupt(
                f"the exported heads differ from the trained ones by {worst:.2g}, at most {most:g} is "
                "wanted; please report this with attributes.json"
            )
