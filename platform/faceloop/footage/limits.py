"""What decoding a file may cost before the file is given up: the sandbox's walls, spelled `decoder:` in the params."""

from dataclasses import dataclass

from pydantic import Field

from faceloop.params import StageParams


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderLimits:
    """Walls around the process that decodes, and around what one video may be."""

    is_apart: bool = True  # a process of its own; False: in this one, without limits on memory and time
    memory_mb: int = 320  # address space on top of what the started process has: its pictures and the codec's
    silence_s: int = 60  # without a sign of life, wall clock; and processor seconds for each thread between two signs
    max_frames: int = 4_000_000  # of one video: 18 hours at 60 a second
    max_duration_s: int = 86_400


class DecoderParams(StageParams):
    is_apart: bool = True
    memory_mb: int = Field(default=320, ge=64, le=65_536)
    silence_s: int = Field(default=60, ge=1, le=86_400)
    max_frames: int = Field(default=4_000_000, ge=1)
    max_duration_s: int = Field(default=86_400, ge=1)

    def limits(self) -> DecoderLimits:
        return DecoderLimits(**self.model_dump())
