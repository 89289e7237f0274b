"""Named tensors in a safetensors file: no pickle, the same tensors give the same bytes."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from facestore.errors import ModelCorrupt

_READABLE = 0o644  # safetensors writes for its owner alone, and an artifact is for others too


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """From any device. Raises no error of its own; read with `read_tensors`."""
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path)
    path.chmod(_READABLE)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file, on the CPU. The reader checks header, shapes and offsets against the file's length before
    it makes a tensor. Raises ModelCorrupt for what is no such file, or is missing."""
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError, MemoryError) as error:
        said = str(error).strip()[:200] or type(error).__name__
        raise ModelCorrupt(f"{path} holds no tensors ({said}); take it from the training run again") from error
