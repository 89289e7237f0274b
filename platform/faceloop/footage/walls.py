"""The walls around a decoder, as plain numbers: the decoder's own process imports no more than it needs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderLimits:
    """Walls around the process that decodes, and around what one video may be."""

    is_apart: bool = True  # a process of its own; False: in this one, without limits on memory and time
    memory_mb: int = 320  # address space on top of the started process's: a photo wants 7 bytes a pixel, a WebP 16
    silence_s: int = 60  # without a sign of life, wall clock; and processor seconds for each thread between two signs
    max_frames: int = 4_000_000  # of one video: 18 hours at 60 a second
    max_duration_s: int = 86_400
