"""The model section of a stage's params, and how it becomes a pack."""

from typing import Literal

from faceloop.params import StageParams
from faceloop.vision.contract import Precision
from faceloop.vision.packs import load_pack
from faceloop.vision.sessions import Engine, Provider
from faceloop.vision.specs import ModelPack


class ModelParams(StageParams):
    """Which pack runs, on which engine. Precision is part of the embedding contract."""

    pack: str
    accept_licence: Literal["non-commercial"] | None
    engine: Engine
    precision: Precision
    provider: Provider

    def load(self) -> ModelPack:
        """Verified files, no engine started; raises as `load_pack` does."""
        return load_pack(self.pack, accept_licence=self.accept_licence, insightface_root=None)
