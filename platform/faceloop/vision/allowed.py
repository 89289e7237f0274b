"""Which model files may be loaded: section `models` of the params, kept for the process that works by them.

One gate behind `load_pack`, so that no door which forgets to ask stands open. Not of a stage's params: what is allowed
changes nothing of what is made.
"""

from typing import Annotated

from pydantic import Field

from faceloop.params import StageParams
from faceloop.vision.specs import ModelPack
from facestore.errors import ModelNotAllowed

_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_allowed: frozenset[str] = frozenset()


class ModelListParams(StageParams):
    """`allowed_sha256`: of model files; empty: every pack that its manifest, or this package, knows the hashes of."""

    allowed_sha256: list[_Sha256]


def allow_only(params: ModelListParams) -> None:
    """From now on, in this process and those it forks. The workspace that was opened last has its way."""
    global _allowed
    _allowed = frozenset(params.allowed_sha256)


def refuse_unlisted(pack: ModelPack) -> None:
    """Raise ModelNotAllowed for a pack with a file that is not on the list; nothing of it was given to an engine."""
    for spec in (pack.detector, pack.recogniser):
        if _allowed and spec is not None and spec.sha256 not in _allowed:
            raise ModelNotAllowed(
                f"pack {pack.pack_id!r}: {spec.model_path.name} with sha256 {spec.sha256} is not in "
                "models.allowed_sha256; add it there if you trust it, or name another pack"
            )
