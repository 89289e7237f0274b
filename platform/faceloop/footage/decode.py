"""Footage to pictures: videos by presentation time, photos upright, both without their metadata.

Frames are decoded in order and converted only when asked: a thumbnail for sampling, a small picture for the detector,
the full one when there is a face to cut out.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter
from PIL import ExifTags, Image

from faceloop.footage.kinds import PICTURE_FORMATS
from faceloop.footage.probe import PICTURE_ERRORS, SAFE_OPEN, nothing, picture_error, require_memory
from faceloop.footage.sampling import (
    THUMBNAIL_HEIGHT_PX,
    THUMBNAIL_WIDTH_PX,
    FrameSelector,
    SamplingParams,
    Thumbnail,
)
from facestore.errors import MediaError

UInt8Array = npt.NDArray[np.uint8]

_CLOCK_RESET_MS = 1000  # a step back in time by more is a recorder that started its clock anew
_STRIP_BYTES = 4 << 20
# By EXIF orientation: pictures that lie on their side, and the direction of rows and columns where not forward.
_ON_THEIR_SIDE = (5, 6, 7, 8)
_FLIPS = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (-1, 1), 7: (-1, -1), 8: (1, -1)}
_TURN = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


@dataclass(slots=True)
class Tally:
    """What decoding one footage came to, filled while its pictures are read."""

    frames_decoded: int = 0
    frames_near_duplicate: int = 0
    scene_cuts: int = 0
    decode_errors: int = 0


class Picture:
    """One frame that is worth a look. Sizes are px of the displayed picture (rotation applied)."""

    def __init__(
        self,
        *,
        pts_ms: int,
        frame: av.VideoFrame | UInt8Array,
        rotation: int,
        is_cut: bool = False,
        still_until_ms: int | None = None,
        smaller: Mapping[int, UInt8Array] | None = None,
    ) -> None:
        self.pts_ms = pts_ms
        self.is_cut = is_cut  # between the picture before and this one
        self.still_until_ms = still_until_ms  # time to which the picture before stood still, if it did
        self._frame = frame
        self._rotation = rotation
        self._smaller = smaller  # long side → the picture at that size, where whoever decoded it scaled it too
        self._full: UInt8Array | None = None
        height, width = frame.shape[:2] if isinstance(frame, np.ndarray) else (frame.height, frame.width)
        self.width, self.height = (height, width) if rotation in (90, 270) else (width, height)

    def full_bgr(self) -> UInt8Array:
        """(height, width, 3) uint8; converted once."""
        if self._full is None:
            self._full = self._turned(self._pixels(None))
        return self._full

    def small_bgr(self, long_side_px: int) -> UInt8Array:
        """The picture with its long side at most `long_side_px`; never enlarged. ValueError for a size that was not
        asked for when it was decoded elsewhere."""
        scale = long_side_px / max(self.width, self.height)
        if scale >= 1:
            return self.full_bgr()
        if self._smaller is None:
            return self._turned(self._pixels(scale))
        if long_side_px not in self._smaller:
            raise ValueError(f"decoded at {sorted(self._smaller)} px and full, not at {long_side_px} px")
        return self._smaller[long_side_px]

    def _pixels(self, scale: float | None) -> UInt8Array:
        frame = self._frame
        if isinstance(frame, np.ndarray):
            if scale is None:
                return frame
            size = (max(round(frame.shape[1] * scale), 1), max(round(frame.shape[0] * scale), 1))
            return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        width, height = frame.width, frame.height
        if scale is not None:
            width, height = max(round(width * scale), 2), max(round(height * scale), 2)
        return _bgr(frame, width, height, "bgr24")

    def _turned(self, image: UInt8Array) -> UInt8Array:
        return np.asarray(cv2.rotate(image, _TURN[self._rotation])) if self._rotation in _TURN else image


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSizes:
    """Long sides, px, at which the pictures of a video are wanted, beside the full ones."""

    always_px: tuple[int, ...]
    detail_px: int | None = None  # of every n-th picture, and of each after a cut
    detail_every: int = 1

    def of(self, number: int, picture: Picture) -> tuple[int, ...]:
        """Those of the `number`-th picture, each once, without those that would enlarge it."""
        is_detailed = self.detail_px is not None and (number % self.detail_every == 0 or picture.is_cut)
        wanted = (*self.always_px, *((self.detail_px,) if is_detailed and self.detail_px is not None else ()))
        return tuple(px for px in dict.fromkeys(wanted) if px < max(picture.width, picture.height))


def _bgr(frame: av.VideoFrame, width: int, height: int, pixel_format: str) -> UInt8Array:
    small = VideoReformatter().reformat(frame, width, height, pixel_format, interpolation="AREA", threads=1)
    return np.asarray(small.to_ndarray(), dtype=np.uint8)


def read_photo(path: Path) -> Picture:
    """A photo, upright by its EXIF orientation. Raises MediaError `truncated_media` or `corrupt_media`."""
    return Picture(pts_ms=0, frame=fill_upright(path, lambda shape: np.empty(shape, np.uint8)), rotation=0)


def fill_upright(path: Path, space_for: Callable[[tuple[int, int, int]], UInt8Array]) -> UInt8Array:
    """Decode a photo into the place that `space_for` gives for its (height, width, 3): BGR, upright, nothing of its
    metadata. In strips, so that no second copy of it is held: 7 bytes a pixel in all. Raises as `read_photo`."""
    try:
        with Image.open(path, formats=PICTURE_FORMATS) as image:
            _load(image)
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            width, height = image.size
            is_on_its_side = orientation in _ON_THEIR_SIDE
            space = space_for((width, height, 3) if is_on_its_side else (height, width, 3))
            placed = space.swapaxes(0, 1) if is_on_its_side else space
            if (flips := _FLIPS.get(orientation)) is not None:
                placed = placed[:: flips[0], :: flips[1]]
            rows = max(1, _STRIP_BYTES // (3 * width))
            for top in range(0, height, rows):
                strip = image.crop((0, top, width, min(top + rows, height)))
                placed[top : top + rows] = np.asarray(_eight_bits(strip).convert("RGB"), dtype=np.uint8)[:, :, ::-1]
            return space
    except PICTURE_ERRORS as error:
        raise picture_error(path, error) from error


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except OSError:
        if image.info.get("progressive"):  # a JPEG that is held twice: 6 bytes a pixel of coefficients
            require_memory(10 * image.width * image.height)
        raise


def _eight_bits(image: Image.Image) -> Image.Image:
    """Pillow clips 16-bit grey to white when it converts it; keep the high byte instead."""
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


class _Clock:
    """Presentation times that only go forward."""

    def __init__(self) -> None:
        self._last_ms: int | None = None
        self._shift_ms = 0
        self.resets = 0

    def read(self, time_s: float | None) -> int | None:
        """Time of a frame, ms; None where it is not later than the frame before. After a reset time goes on."""
        last_ms = self._last_ms
        if last_ms is None:
            self._last_ms = 0 if time_s is None else round(1000 * time_s)
            return self._last_ms
        now_ms = last_ms + 1 if time_s is None else round(1000 * time_s) + self._shift_ms
        if now_ms < last_ms - _CLOCK_RESET_MS:
            self._shift_ms += last_ms + 1 - now_ms
            self.resets += 1
            now_ms = last_ms + 1
        if now_ms <= last_ms:
            return None
        self._last_ms = now_ms
        return now_ms


def read_video(
    path: Path,
    sampling: SamplingParams,
    rotation: int,
    tally: Tally,
    *,
    threads: int = 1,
    max_frames: int | None = None,
    beat: Callable[[], None] = nothing,
) -> Iterator[Picture]:
    """The pictures of a video that are worth a look, in order of time; a scene ends where its clock was set back.

    Broken packets are counted in `tally` and passed over; `beat` is called at every frame. Raises MediaError
    `corrupt_media` when it cannot be opened, `too_many_frames` beyond `max_frames`.
    """
    selector = FrameSelector(sampling)
    try:
        with av.open(str(path), options=SAFE_OPEN, metadata_errors="ignore") as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = threads
            clock, resets, still_until_ms = _Clock(), 0, None
            for frame in _frames(container, stream, tally):
                if tally.frames_decoded == max_frames:
                    raise MediaError("too_many_frames", f"more than {max_frames}")
                tally.frames_decoded += 1
                beat()
                pts_ms = clock.read(frame.time)
                if pts_ms is None or not selector.is_due(pts_ms):
                    continue
                choice = selector.choose(pts_ms, _thumbnail(frame))
                is_cut = choice.is_kept and (choice.is_cut or clock.resets > resets)
                tally.scene_cuts += is_cut
                tally.frames_near_duplicate += not choice.is_kept
                if not choice.is_kept:
                    still_until_ms = pts_ms
                    continue
                yield Picture(
                    pts_ms=pts_ms,
                    frame=frame,
                    rotation=rotation,
                    is_cut=is_cut,
                    still_until_ms=still_until_ms,
                )
                still_until_ms, resets = None, clock.resets
    except MemoryError:  # FFmpeg's is both, and says nothing of the file
        raise
    except (av.FFmpegError, IndexError) as error:
        raise MediaError("corrupt_media", str(error)[:200]) from error


def _frames(container: av.container.InputContainer, stream: av.VideoStream, tally: Tally) -> Iterator[av.VideoFrame]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except MemoryError:
            raise
        except av.FFmpegError:  # the file ends or breaks here: what was read counts
            tally.decode_errors += 1
            return
        tally.decode_errors += packet.is_corrupt
        try:
            yield from packet.decode()
        except MemoryError:
            raise
        except av.FFmpegError:
            tally.decode_errors += 1


def _thumbnail(frame: av.VideoFrame) -> Thumbnail:
    return _bgr(frame, THUMBNAIL_WIDTH_PX, THUMBNAIL_HEIGHT_PX, "rgb24")
