"""Write H.264 MP4s and JPEGs whose bytes depend on their pixels alone: fixed threads, no dates, no tags."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

from faceloop.sample.photos import Rgb
from faceloop.sample.scene import Clip, Still

TICKS_PER_S = 90_000
X264 = {"preset": "superfast", "crf": "25"}
EXIF_ORIENTATION, EXIF_MAKE, EXIF_TAKEN_AT, EXIF_GPS = 0x0112, 0x010F, 0x0132, 0x8825


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedFrame:
    """One displayed frame, (height, width, 3) uint8 RGB, and its time in 1/90000 s."""

    pts_ticks: int
    rgb: Rgb


def write_clip(target: Path, clip: Clip, frames: Iterable[TimedFrame]) -> int:
    """Encode frames as one MP4 and return how many; a rotated clip is stored turned, with the flag set."""
    count = 0
    turned = clip.rotation_deg == 90
    with av.open(str(target), "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}) as out:
        stream = out.add_stream("libx264", rate=clip.fps, options=X264)
        stream.width, stream.height = (clip.height, clip.width) if turned else (clip.width, clip.height)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS_PER_S)
        stream.codec_context.thread_count = 1  # slices and rate control vary with the thread count
        stream.codec_context.gop_size = 2 * clip.fps
        if turned:
            stream.set_display_rotation(-90)
        for timed in frames:
            rgb = np.rot90(timed.rgb) if turned else timed.rgb
            # OpenCV converts (BT.601, limited range) several times faster than swscale does.
            planes = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2YUV_I420).astype(np.uint8, copy=False)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts = timed.pts_ticks
            frame.time_base = Fraction(1, TICKS_PER_S)
            out.mux(stream.encode(frame))
            count += 1
        out.mux(stream.encode(None))
    return count


def write_still(target: Path, still: Still, rgb: Rgb, taken_at: str) -> None:
    """Write a JPEG with EXIF; `taken_at` is EXIF's "YYYY:MM:DD HH:MM:SS".

    Orientation 6 and 8 store the picture turned, as a camera held upright does.
    """
    stored = Image.fromarray(rgb)
    if still.orientation != 1:
        ways = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
        stored = stored.transpose(ways[still.orientation])
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = still.orientation
    exif[EXIF_MAKE] = "Faceloop sample camera"
    exif[EXIF_TAKEN_AT] = taken_at
    if still.has_gps:
        # North-west and degrees, minutes, seconds of a point in the sea; ingest must not let it through.
        exif[EXIF_GPS] = {1: "N", 2: (48.0, 30.0, 12.5), 3: "W", 4: (12.0, 15.0, 3.25)}
    stored.save(target, format="JPEG", quality=still.quality, subsampling=2, exif=exif.tobytes())


def reencode_still(source: Path, target: Path, quality: int) -> None:
    """Encode a JPEG again, without its EXIF, as a messenger does: a near-duplicate in other bytes."""
    with Image.open(source) as image:
        image.convert("RGB").save(target, format="JPEG", quality=quality, subsampling=2)
