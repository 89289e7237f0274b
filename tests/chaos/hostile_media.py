"""A campaign of hostile media against the decoder, in a process of its own; says as JSON what came of it.

python -m tests.chaos.hostile_media FOLDER IMAGES VIDEOS
"""

import io
import json
import random
import resource
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from faceloop.footage.apart import probe_apart, read_photo_apart, read_video_apart
from faceloop.footage.decode import PictureSizes, Tally
from faceloop.footage.decoder_child import close_idle
from faceloop.footage.limits import DecoderLimits
from faceloop.footage.probe import CaptureSpec
from faceloop.footage.sampling import SamplingParams
from facestore.errors import MediaError

LIMITS = DecoderLimits(silence_s=120)
SPEC = CaptureSpec(min_height_px=0, min_fps=0, max_pixels=100_000_000, decoder=LIMITS)
_SAMPLING = SamplingParams(sample_fps=30.0, cut_threshold=0.45, duplicate_threshold=0.0, max_still_s=0.0)
_SIZES = PictureSizes(always_px=(32,))
_ENDINGS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")


def outcome_of(path: Path) -> str:
    """`ok`, `partial`, or the reason for which the file is rejected."""
    try:
        facts = probe_apart(path, SPEC)
        if facts.kind == "image":
            read_photo_apart(path, LIMITS)
            return "ok"
    except MediaError as error:
        return error.reason
    tally = Tally()
    try:
        for _ in read_video_apart(path, _SAMPLING, facts.rotation, tally, sizes=_SIZES, limits=LIMITS):
            pass
    except MediaError as error:
        return "partial" if tally.frames_decoded else error.reason
    if not tally.frames_decoded:
        return "no_frame_decoded"
    is_short = facts.frames is not None and tally.frames_decoded < facts.frames
    return "partial" if tally.decode_errors or is_short else "ok"


def spoiled(content: bytes, chance: random.Random) -> bytes:
    """Bytes changed, cut out, doubled or cut off; the beginning more often than the rest."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 2, 8, 32))):
        reach = len(changed) if chance.random() < 0.5 else min(len(changed), 256)
        place = chance.randrange(max(reach, 1))
        match chance.randrange(5):
            case 0:
                changed[place : place + 1] = bytes([chance.randrange(256)])
            case 1:
                changed[place : place + 4] = chance.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"))
            case 2:
                del changed[place : place + chance.randrange(1, 64)]
            case 3:
                changed[place:place] = changed[place : place + chance.randrange(1, 64)]
            case _:
                changed[place:] = changed[place : max(place + 1, chance.randrange(len(changed) + 1))]
        changed = changed or bytearray(b"\0")
    return bytes(changed)


def images(count: int, chance: random.Random) -> Iterator[bytes]:
    pixels = np.random.default_rng(5).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    whole = []
    for ending in _ENDINGS:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, ending)
        whole.append(stream.getvalue())
    for number in range(count):
        yield spoiled(whole[number % len(whole)], chance)


def clip(path: Path, *, pts: list[int], codec: str = "libx264", time_base: Fraction = Fraction(1, 1000)) -> bytes:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(25))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = time_base
        for number, moment in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * number % 256, np.uint8), format="rgb24")
            frame.pts, frame.time_base = moment, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def videos(count: int, folder: Path, chance: random.Random) -> Iterator[bytes]:
    steady = [40 * number for number in range(12)]
    whole = [
        clip(folder / "whole.mp4", pts=steady),
        clip(folder / "whole.mkv", pts=steady),
        clip(folder / "whole.avi", pts=list(range(12)), codec="mjpeg", time_base=Fraction(1, 25)),
        clip(folder / "whole.ts", pts=steady),
    ]
    for number in range(count):
        yield spoiled(whole[number % len(whole)], chance)


def png(side_px: int, *, is_whole: bool) -> bytes:
    """A PNG that promises side × side px of colour; whole or with one row only."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer = zlib.compressobj(1)
    rows = [packer.compress(bytes(1 + 3 * side_px)) for _ in range(side_px if is_whole else 1)]
    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 2, 0, 0, 0)
    body = b"".join(rows) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def bombs(folder: Path, address: str) -> dict[str, bytes]:
    """By name: files made to hurt. Playlists and the like call `address`."""
    tiny = [Image.new("RGB", (16, 16), (number % 256, 0, 0)) for number in range(1500)]
    made = {"png 30000": png(30_000, is_whole=False), "png below the cap": png(9_900, is_whole=True)}
    for ending in ("GIF", "PNG", "WEBP"):
        stream = io.BytesIO()
        tiny[0].save(stream, ending, save_all=True, append_images=tiny[1:300] if ending == "WEBP" else tiny[1:])
        made[f"{ending} frames"] = stream.getvalue()
    stream = io.BytesIO()
    tiny[0].save(stream, "PNG", exif=b"Exif\0\0" + bytes(12_000_000))
    made["huge exif"] = stream.getvalue()
    made["1e9 s"] = clip(folder / "long.mkv", pts=[0, 40, 80, 10**12])
    made["negative times"] = clip(folder / "negative.mkv", pts=[-4000, -3960, -3920, 0, 40])
    made["hls"] = f"#EXTM3U\n#EXTINF:1,\n{address}/a.ts\n#EXT-X-ENDLIST\n".encode()
    made["concat"] = f"ffconcat version 1.0\nfile '{address}/a.mp4'\n".encode()
    made["svg"] = f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{address}/a.png"/></svg>'.encode()
    made["pdf"] = b"%PDF-1.7\n1 0 obj <</Type /Catalog>>"
    made["hls behind a box"] = b"\0\0\0\x08free" + made["hls"]
    made["zip behind a bitmap"] = b"BMPK\x03\x04" + bytes(200)
    return made


def main() -> None:
    folder, counts = Path(sys.argv[1]), (int(sys.argv[2]), int(sys.argv[3]))
    found: dict[str, dict[str, int]] = {}
    path = folder / "hostile.mp4"  # one name for all: names say nothing
    for kind, contents in (
        ("images", images(counts[0], random.Random(11))),
        ("videos", videos(counts[1], folder, random.Random(12))),
    ):
        outcomes: Counter[str] = Counter()
        for content in contents:
            path.write_bytes(content)
            outcomes[outcome_of(path)] += 1
        found[kind] = dict(sorted(outcomes.items()))
    named = {}
    for name, content in bombs(folder, sys.argv[4]).items():
        path.write_bytes(content)
        named[name] = outcome_of(path)
    close_idle()
    largest_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    sys.stdout.write(json.dumps({**found, "bombs": named, "largest_mb": largest_mb}))


if __name__ == "__main__":
    main()
