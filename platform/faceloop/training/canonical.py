"""A trained backbone as canonical ONNX: float32, free batch, one opset, checked, and equal to torch's own output."""

import io
import warnings

import numpy as np
import onnx
import torch
from torch import nn

from faceloop.vision.sessions import open_session
from facestore.errors import ModelCorrupt

OPSET = 18
LEAST_COSINE = 0.99999
_PROBES = 8


def to_onnx(backbone: nn.Module) -> bytes:
    """The serialised model: input `pixels` (N, 3, 112, 112), output `features` (N, dimension), both float32.

    The backbone is left in eval mode on the CPU. The same weights give the same bytes.
    """
    backbone.cpu().eval()
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch recommends its new exporter, which needs a package more
        torch.onnx.export(
            backbone,
            (torch.zeros(2, 3, 112, 112),),
            buffer,  # type: ignore[arg-type]  # the TorchScript exporter takes it
            dynamo=False,
            opset_version=OPSET,
            input_names=["pixels"],
            output_names=["features"],
            dynamic_axes={"pixels": {0: "N"}, "features": {0: "N"}},
        )
    model = onnx.load_from_string(buffer.getvalue())
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


@torch.no_grad()
def parity(backbone: nn.Module, model_bytes: bytes, pixels: torch.Tensor) -> float:
    """The least cosine between torch's features and ONNX Runtime's of `pixels` (n, 3, 112, 112), normalised already.

    Raises ModelCorrupt below 0.99999: such a model would not be the one that was trained.
    """
    session = open_session(model_bytes, engine="onnxruntime", precision="f32", threads=1)
    expected = backbone.cpu().eval()(pixels).double().numpy()
    found = session.run(pixels.numpy())[0].astype(np.float64)
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
    least = float(((expected * found).sum(axis=1) / lengths).min())
    if not least >= LEAST_COSINE:
        raise ModelCorrupt(
            f"the exported model differs from the trained one: cosine {least:.6f}, at least {LEAST_COSINE} is wanted; "
            "please report this with the candidate's architecture.json"
        )
    return least
