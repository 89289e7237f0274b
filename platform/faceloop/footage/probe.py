"""What one footage is: size as displayed, rotation, rate, duration, frames; flags for what is unusual."""

import errno
import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from faceloop.footage.kinds import PICTURE_FORMATS, VIDEO_FORMATS, kind_of
from faceloop.footage.walls import DecoderLimits
from facestore.errors import MediaError

if TYPE_CHECKING:
    from facestore.records import FootageKind

_ORIENTATION_DEGREES = {1: 0, 2: 0, 3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}
_VARIABLE_RATE_SPREAD = 0.25  # share by which frame gaps may differ before the rate counts as variable
_QUARTER_TURNS = {90, 270}
_DRAFT_SCALE = 8
# What Pillow raises on spoiled files of one format or another (found by changing bytes at random).
PICTURE_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, RuntimeError, ArithmeticError, LookupError, TypeError, struct.error,
)  # fmt: skip
# What Pillow says of a WebP that is spoiled, and of one too large: two canvases, and as much to decode into them.
_WEBP_SHORT_OF_MEMORY, _WEBP_BYTES_A_PIXEL = ("could not create decoder object", "failed to read next frame"), 16
Image.MAX_IMAGE_PIXELS = None  # the header check against CaptureSpec.max_pixels comes before any decoding
# A media file may not make the decoder open another file or an address.
SAFE_OPEN = {"protocol_whitelist": "file", "format_whitelist": VIDEO_FORMATS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Facts about one media file. Sizes in px as displayed; `rotation` degrees clockwise; times in s, UTC."""

    kind: "FootageKind"
    width: int
    height: int
    rotation: int
    fps: float | None
    duration_s: float | None
    frames: int | None
    codec: str
    captured_at: datetime | None
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureSpec:
    """What footage should be like, and the most a picture may promise before it is refused."""

    min_height_px: int
    min_fps: float
    max_pixels: int
    decoder: DecoderLimits = field(default_factory=DecoderLimits)


def nothing() -> None:
    """Nobody waits for a sign of life."""


def probe(path: Path, spec: CaptureSpec, *, beat: Callable[[], None] = nothing) -> Probe:
    """Probe a file. Raises MediaError with reason `empty_file`, `not_media`, `corrupt_media`, `truncated_media`,
    `too_large`, `too_long`, `too_many_frames`, `unknown_codec` or `no_video_stream`. `beat` is called at packets."""
    return _probe_video(path, spec, beat) if kind_of(path) == "video" else _probe_image(path, spec)


def _refuse_huge(width: int, height: int, spec: CaptureSpec) -> None:
    if width * height > spec.max_pixels:
        raise MediaError("too_large", f"{width} × {height} px, at most {spec.max_pixels} px are decoded")
    if width <= 0 or height <= 0:
        raise MediaError("corrupt_media", f"{width} × {height} px")


def _resolution_flags(width: int, height: int, spec: CaptureSpec) -> list[str]:
    return ["low_resolution"] if min(width, height) < spec.min_height_px else []


def _probe_image(path: Path, spec: CaptureSpec) -> Probe:
    try:
        with Image.open(path, formats=PICTURE_FORMATS) as image:
            codec = (image.format or "").lower()
            width, height = image.size
            _refuse_huge(width, height, spec)
            exif = image.getexif()
            turn = _ORIENTATION_DEGREES.get(exif.get(ExifTags.Base.Orientation, 1), 0)
            captured_at = _exif_time(exif)
            if min(width, height) >= _DRAFT_SCALE:  # a JPEG decodes at 1/8: truncation still shows
                image.draft("L", (width // _DRAFT_SCALE, height // _DRAFT_SCALE))
            image.load()
    except UnidentifiedImageError as error:
        raise MediaError("corrupt_media", "no decoder knows it") from error
    except PICTURE_ERRORS as error:
        raise picture_error(path, error) from error
    if turn in _QUARTER_TURNS:
        width, height = height, width
    return Probe(
        kind="image",
        width=width,
        height=height,
        rotation=turn,
        fps=None,
        duration_s=None,
        frames=None,
        codec=codec,
        captured_at=captured_at,
        flags=tuple(_resolution_flags(width, height, spec)),
    )


def picture_error(path: Path, error: BaseException) -> MediaError:
    """What one of PICTURE_ERRORS says of a picture. Raises MemoryError where it is short of memory, not spoiled."""
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        raise MemoryError from error
    if any(words in str(error) for words in _WEBP_SHORT_OF_MEMORY):
        require_memory(_WEBP_BYTES_A_PIXEL * _webp_pixels(path))
    reason = "truncated_media" if "truncated" in str(error).lower() else "corrupt_media"
    return MediaError(reason, str(error)[:200])


def require_memory(size_bytes: int) -> None:
    """Raises MemoryError where the limits do not leave so much: codecs say of their own failure no more than that."""
    try:
        mmap.mmap(-1, max(size_bytes, 1)).close()
    except OSError as error:
        raise MemoryError from error


def _webp_pixels(path: Path) -> int:
    """Pixels that the header of a WebP promises; 0 where it has none."""
    with path.open("rb") as file:
        first = file.read(30).ljust(30, b"\0")
    match first[12:16]:
        case b"VP8X":
            return (int.from_bytes(first[24:27], "little") + 1) * (int.from_bytes(first[27:30], "little") + 1)
        case b"VP8L":
            sides = int.from_bytes(first[21:25], "little")
            return ((sides & 0x3FFF) + 1) * ((sides >> 14 & 0x3FFF) + 1)
        case b"VP8 ":
            return (int.from_bytes(first[26:28], "little") & 0x3FFF) * (int.from_bytes(first[28:30], "little") & 0x3FFF)
    return 0


def _exif_time(exif: Image.Exif) -> datetime | None:
    """Capture time, only where EXIF says the offset from UTC too."""
    block = exif.get_ifd(ExifTags.IFD.Exif)
    text, offset = block.get(ExifTags.Base.DateTimeOriginal), block.get(ExifTags.Base.OffsetTimeOriginal)
    if not text or not offset:
        return None
    try:
        return datetime.strptime(f"{text}{offset}", "%Y:%m:%d %H:%M:%S%z").astimezone(UTC)
    except ValueError:
        return None


def _probe_video(path: Path, spec: CaptureSpec, beat: Callable[[], None]) -> Probe:
    try:
        with av.open(str(path), options=SAFE_OPEN, metadata_errors="ignore") as container:
            if not container.streams.video:
                raise MediaError("no_video_stream")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise MediaError("unknown_codec", "no decoder knows its pictures")
            codec = stream.codec_context.name
            _refuse_huge(stream.codec_context.width, stream.codec_context.height, spec)
            first = _first_frame(container, stream, beat)
            if first is None:
                raise MediaError("corrupt_media", "no frame could be decoded")
            turn = -first.rotation % 360
            width, height = first.width, first.height
            captured_at = _container_time(container.metadata.get("creation_time"))
            promised = _promised_frames(container, stream)
            has_duration = stream.duration is not None or container.duration is not None
        times_s = _packet_times_s(path, spec.decoder.max_frames, beat)
    except MemoryError:
        raise
    except av.FFmpegError as error:
        raise MediaError("corrupt_media", error.strerror or str(error)[:200]) from error
    except (ValueError, IndexError, EOFError) as error:
        raise MediaError("corrupt_media", f"{type(error).__name__}: {error}"[:200]) from error
    gaps_s = np.diff(times_s)
    gap_s = float(np.median(gaps_s)) if len(gaps_s) else 0.0
    duration_s = float(times_s[-1] - times_s[0]) + gap_s if len(times_s) else 0.0
    if duration_s > spec.decoder.max_duration_s:
        raise MediaError("too_long", f"{duration_s:.0f} s, at most {spec.decoder.max_duration_s} s")
    fps = (len(times_s) - 1) / float(times_s[-1] - times_s[0]) if len(gaps_s) and times_s[-1] > times_s[0] else None
    if turn in _QUARTER_TURNS:
        width, height = height, width
    flags = _resolution_flags(width, height, spec)
    if fps is not None and fps < spec.min_fps:
        flags.append("low_frame_rate")
    if len(gaps_s) and float(np.mean(np.abs(gaps_s - gap_s) > _VARIABLE_RATE_SPREAD * gap_s)) > 0.02:
        flags.append("variable_frame_rate")
    if not has_duration:
        flags.append("missing_duration")
    if turn:
        flags.append("rotated")
    return Probe(
        kind="video",
        width=width,
        height=height,
        rotation=turn,
        fps=fps,
        duration_s=duration_s or None,
        frames=max(promised or 0, len(times_s)) or None,
        codec=codec,
        captured_at=captured_at,
        flags=tuple(flags),
    )


def _first_frame(
    container: av.container.InputContainer, stream: av.VideoStream, beat: Callable[[], None]
) -> av.VideoFrame | None:
    """The first frame that can be decoded: a spoiled beginning does not spoil the rest."""
    for packet in container.demux(stream):
        beat()
        try:
            frames = packet.decode()
        except MemoryError:
            raise
        except av.FFmpegError:
            continue
        if frames:
            return frames[0]
    return None


def _promised_frames(container: av.container.InputContainer, stream: av.VideoStream) -> int | None:
    """Frames that the header announces, without those that an MP4's edit list hides from the viewer."""
    if stream.frames and "mp4" in container.format.name:
        shown = sum(not entry.is_discard for entry in stream.index_entries)
        return min(stream.frames, shown) or None
    return stream.frames or None


def _packet_times_s(path: Path, max_frames: int, beat: Callable[[], None]) -> npt.NDArray[np.float64]:
    """Presentation times of all packets that are to be shown, sorted. Demuxing only: microseconds a packet."""
    with av.open(str(path), options=SAFE_OPEN, metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        base = float(stream.time_base or 1)
        times: list[float] = []
        for packet in container.demux(stream):
            beat()
            if not packet.is_discard and packet.pts is not None:
                times.append(packet.pts * base)
            if len(times) > max_frames:
                raise MediaError("too_many_frames", f"more than {max_frames}")
    return np.array(sorted(times), dtype=np.float64)


def _container_time(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment is not None and moment.tzinfo is not None and moment.year > 1990 else None
