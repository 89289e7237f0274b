"""Named tensors in a safetensors file: no pickle, the same tensors give the same bytes."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

_READABLE = 0o644  # safetensors writes for its owner alone, and an artifact is for others too


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """From any device. Raises no error of its own; read with `safetensors.torch.load_file`."""
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path)
    path.chmod(_READABLE)
