"""What a model pack is: which files, how to feed them, under which licence. Plain values, no I/O."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceloop.vision.contract import Colour

PackSource = Literal["builtin", "folder", "insightface"]
DetectorKind = Literal["yunet", "scrfd"]
RecogniserKind = Literal["sface", "arcface"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackRef:
    """Where a pack comes from: `name` is a pack name, or the folder's path for source "folder"."""

    source: PackSource
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Pixel order and `(x - mean) / std` on 0…255, the same for the three channels."""

    colour: Colour
    mean: float
    std: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSpec:
    """One detector file; `sha256` is of the file as it lies on disk."""

    kind: DetectorKind
    model_path: Path
    sha256: str
    preprocessing: Preprocessing


@dataclass(frozen=True, slots=True, kw_only=True)
class RecogniserSpec:
    """One recogniser file for 112 × 112 crops; `sha256` is of the file as it lies on disk."""

    kind: RecogniserKind
    model_path: Path
    sha256: str
    preprocessing: Preprocessing
    embedding_dimension: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPack:
    """A detector, a recogniser, or both, whose files were there with the right sha256 when it was loaded."""

    pack_id: str
    licence: str
    ref: PackRef
    detector: DetectorSpec | None
    recogniser: RecogniserSpec | None
