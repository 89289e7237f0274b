"""What must be equal before two embeddings may be compared.

Everything that moves a vector by more than rounding is in here, the engine's precision too: OpenVINO picks
bfloat16 by itself on some CPUs, and then the same crop gives another vector on the next machine.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

Precision = Literal["f32", "bf16"]
Colour = Literal["RGB", "BGR"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingContract:
    """Recogniser weights, alignment, normalisation `(x - mean) / std`, dimension and precision."""

    pack_id: str
    recogniser_sha256: str
    alignment: str
    colour: Colour
    mean: float
    std: float
    dimension: int
    precision: Precision

    def __post_init__(self) -> None:
        # Equal numbers must print equally: 0 and -0.0 are 0.0 in the JSON.
        object.__setattr__(self, "mean", float(self.mean) + 0.0)
        object.__setattr__(self, "std", float(self.std) + 0.0)

    @property
    def contract_id(self) -> str:
        """First 16 hex digits of the sha256 of the fields as canonical JSON; the id that tables carry."""
        canonical = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:16]
