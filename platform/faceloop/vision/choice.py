"""The model section of a stage's params, and how it becomes a pack."""

from functools import lru_cache
from typing import Literal

from pydantic import field_serializer

from faceloop.params import StageParams
from faceloop.vision.allowed import refuse_unlisted
from faceloop.vision.contract import Precision
from faceloop.vision.detections import Detector
from faceloop.vision.models import open_detector, open_recogniser
from faceloop.vision.packs import lasting_name, load_pack
from faceloop.vision.recogniser import Recogniser
from faceloop.vision.sessions import Engine, Provider
from faceloop.vision.specs import ModelPack


class ModelParams(StageParams):
    """Which pack runs, on which engine. Precision is part of the embedding contract."""

    pack: str
    accept_licence: Literal["non-commercial"] | None
    engine: Engine
    precision: Precision
    provider: Provider

    @field_serializer("pack")
    def _lasting(self, pack: str) -> str:
        return lasting_name(pack)

    def load(self) -> ModelPack:
        """Verified files, no engine started; raises as `load_pack` does."""
        pack = _load(self)
        refuse_unlisted(pack)
        return pack

    def detector(self, *, threads: int, min_score: float) -> Detector:
        """The pack's detector; opened once a process, because batches follow one another."""
        self.load()
        return _detector(self, threads, min_score)

    def recogniser(self, *, threads: int, batch_size: int) -> Recogniser:
        """The pack's recogniser; opened once a process."""
        self.load()
        return _recogniser(self, threads, batch_size)


@lru_cache(maxsize=8)
def _load(model: ModelParams) -> ModelPack:
    return load_pack(model.pack, accept_licence=model.accept_licence, insightface_root=None)


@lru_cache(maxsize=8)
def _detector(model: ModelParams, threads: int, min_score: float) -> Detector:
    return open_detector(
        model.load(),
        engine=model.engine,
        precision=model.precision,
        threads=threads,
        provider=model.provider,
        min_score=min_score,
    )


@lru_cache(maxsize=8)
def _recogniser(model: ModelParams, threads: int, batch_size: int) -> Recogniser:
    return open_recogniser(
        model.load(),
        engine=model.engine,
        precision=model.precision,
        threads=threads,
        batch_size=batch_size,
        provider=model.provider,
    )
