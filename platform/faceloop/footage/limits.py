"""What decoding a file may cost before the file is given up: the sandbox's walls, spelled `decoder:` in the params."""

from collections.abc import Mapping

from pydantic import Field

from faceloop.footage.walls import DecoderLimits as DecoderLimits
from faceloop.params import StageParams, section
from facestore.ids import JsonValue


class DecoderParams(StageParams):
    is_apart: bool = True
    memory_mb: int = Field(default=320, ge=64, le=65_536)
    silence_s: int = Field(default=60, ge=1, le=86_400)
    max_frames: int = Field(default=4_000_000, ge=1)
    max_duration_s: int = Field(default=86_400, ge=1)

    def limits(self) -> DecoderLimits:
        return DecoderLimits(**self.model_dump())


def limits_of_detect(tree: Mapping[str, JsonValue]) -> DecoderLimits:
    """Limits of `detect.decoder`, for whoever decodes footage again beside the stages. Raises ConfigError for a wrong
    key or value."""
    detect = tree.get("detect")
    found = {"detect.decoder": detect["decoder"]} if isinstance(detect, dict) and "decoder" in detect else {}
    return section(found, "detect.decoder", DecoderParams).limits()
