"""Probing: what a file says of itself, what is unusual about it, and which files are refused."""

import random
import struct
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import pytest
from PIL import Image

from faceloop.footage.decode import read_photo
from faceloop.footage.probe import CaptureSpec, probe
from facestore.errors import MediaError

SPEC = CaptureSpec(min_height_px=1, min_fps=1.0, max_pixels=10_000_000)
Frames = Callable[[int], list[npt.NDArray[np.uint8]]]
ClipMaker = Callable[..., Path]


def _reason(path: Path, spec: CaptureSpec = SPEC) -> str:
    with pytest.raises(MediaError) as caught:
        probe(path, spec)
    return caught.value.reason


def _jpeg(path: Path, size: tuple[int, int] = (40, 30), exif: Image.Exif | None = None) -> Path:
    Image.new("RGB", size, (200, 40, 40)).save(path, "JPEG", exif=exif or Image.Exif())
    return path


def test_a_clip_tells_size_rate_duration_and_frames(
    tmp_path: Path, make_clip: ClipMaker, moving_square: Frames
) -> None:
    found = probe(make_clip(tmp_path / "a.mp4", moving_square(50)), SPEC)
    assert (found.kind, found.width, found.height, found.frames, found.codec) == ("video", 128, 96, 50, "h264")
    assert found.fps == pytest.approx(25.0)
    assert found.duration_s == pytest.approx(2.0)
    assert found.flags == ()


@pytest.mark.parametrize(
    ("suffix", "codec"), [("avi", "mjpeg"), ("mkv", "libx264"), ("ts", "libx264"), ("wmv", "wmv2")]
)
def test_other_containers_are_footage_too(
    suffix: str, codec: str, tmp_path: Path, make_clip: ClipMaker, moving_square: Frames
) -> None:
    found = probe(
        make_clip(tmp_path / f"a.{suffix}", moving_square(12), codec="mpeg4" if suffix == "avi" else codec), SPEC
    )
    assert (found.kind, found.width, found.height) == ("video", 128, 96)
    assert found.duration_s == pytest.approx(0.48, abs=0.05)


def test_footage_below_the_capture_spec_is_flagged(tmp_path: Path, make_clip: ClipMaker, moving_square: Frames) -> None:
    clip = make_clip(tmp_path / "a.mp4", moving_square(8), pts=[100 * n for n in range(8)])
    spec = CaptureSpec(min_height_px=97, min_fps=10.5, max_pixels=10**6)
    assert probe(clip, spec).flags == ("low_resolution", "low_frame_rate")
    assert probe(clip, SPEC).flags == ()


def test_a_variable_frame_rate_is_flagged(tmp_path: Path, make_clip: ClipMaker, moving_square: Frames) -> None:
    pts = np.cumsum([33, 33, 100, 20, 7] * 4).tolist()
    assert "variable_frame_rate" in probe(make_clip(tmp_path / "a.mp4", moving_square(20), pts=pts), SPEC).flags


def test_a_live_recording_without_duration_is_measured_by_its_packets(
    tmp_path: Path, make_clip: ClipMaker, moving_square: Frames
) -> None:
    clip = make_clip(tmp_path / "a.mkv", moving_square(25), file_format="matroska", options={"live": "1"})
    found = probe(clip, SPEC)
    assert found.flags == ("missing_duration",)
    assert found.duration_s == pytest.approx(1.0)
    assert found.frames == 25


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_clip_has_its_displayed_size(
    degrees: int, tmp_path: Path, make_clip: ClipMaker, moving_square: Frames, turn_clip: ClipMaker
) -> None:
    found = probe(turn_clip(make_clip(tmp_path / "a.mp4", moving_square(5)), degrees), SPEC)
    assert found.rotation == degrees
    assert (found.width, found.height) == ((128, 96) if degrees == 180 else (96, 128))
    assert "rotated" in found.flags


def test_frames_that_an_edit_list_hides_are_not_promised(
    tmp_path: Path, make_clip: ClipMaker, moving_square: Frames
) -> None:
    early = [40 * number - 400 for number in range(50)]
    clip = make_clip(tmp_path / "a.mp4", moving_square(50), pts=early, options={"avoid_negative_ts": "disabled"})
    assert probe(clip, SPEC).frames == 40


def test_a_damaged_beginning_does_not_spoil_a_clip(tmp_path: Path, make_clip: ClipMaker, moving_square: Frames) -> None:
    clip = make_clip(tmp_path / "a.mp4", moving_square(50), options={"movflags": "faststart"})
    spoiled = bytearray(clip.read_bytes())
    start = spoiled.index(b"mdat") + 4
    spoiled[start : start + 40] = bytes(40)
    clip.write_bytes(spoiled)
    assert probe(clip, SPEC).frames == 50


def test_a_clip_without_its_index_is_corrupt(tmp_path: Path, make_clip: ClipMaker, moving_square: Frames) -> None:
    clip = make_clip(tmp_path / "a.mp4", moving_square(50))
    spoiled = clip.read_bytes()
    clip.write_bytes(spoiled[: spoiled.index(b"moov")])
    assert _reason(clip) == "corrupt_media"
    clip.write_bytes(spoiled[:-600])  # the index breaks off: what the codec is, is lost
    assert _reason(clip) in {"corrupt_media", "unknown_codec"}


def test_a_container_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41" + b"\x00\x00\x00\x08free")
    assert _reason(tmp_path / "a.mp4") in {"corrupt_media", "no_video_stream"}


def test_a_header_that_promises_a_huge_picture_is_refused_at_once(tmp_path: Path) -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1_000_000), 9)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(bomb)
    before, started = psutil.Process().memory_info().rss, time.process_time()
    assert _reason(tmp_path / "bomb.png") == "too_large"
    assert time.process_time() - started < 0.5
    assert psutil.Process().memory_info().rss - before < 20_000_000


@pytest.mark.parametrize("size", [(1, 1), (7, 200), (200, 7), (8, 8)])
def test_a_tiny_photo_is_a_photo(size: tuple[int, int], tmp_path: Path) -> None:
    found = probe(_jpeg(tmp_path / "a.jpg", size), SPEC)
    assert (found.width, found.height) == size


@pytest.mark.parametrize(
    ("orientation", "size"), [(1, (40, 30)), (3, (40, 30)), (6, (30, 40)), (8, (30, 40)), (5, (30, 40))]
)
def test_exif_orientation_gives_the_displayed_size(orientation: int, size: tuple[int, int], tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = probe(_jpeg(tmp_path / "a.jpg", exif=exif), SPEC)
    assert (found.width, found.height) == size


@pytest.mark.parametrize(("offset", "hour"), [("+02:00", 10), ("", None)])
def test_exif_time_counts_only_with_its_offset(offset: str, hour: int | None, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x8769] = {0x9003: "2024:03:05 12:30:00"} | ({0x9011: offset} if offset else {})
    found = probe(_jpeg(tmp_path / "a.jpg", exif=exif), SPEC)
    assert found.captured_at == (None if hour is None else datetime(2024, 3, 5, hour, 30, tzinfo=UTC))


def test_a_truncated_photo_is_told_from_a_corrupt_one(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg", quality=95)
    good = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "short.jpg").write_bytes(good[: len(good) // 2])
    (tmp_path / "head.jpg").write_bytes(good[:20])
    assert _reason(tmp_path / "short.jpg") == "truncated_media"
    assert _reason(tmp_path / "head.jpg") == "corrupt_media"


def _spoiled_pictures(picture_format: str) -> list[bytes]:
    """Real pictures of a format with a few bytes changed or the end missing."""
    dice = random.Random(7)
    stream = BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(stream, picture_format)
    good = stream.getvalue()
    made = []
    for _ in range(120):
        spoiled = bytearray(good)
        for _ in range(dice.randint(1, 4)):
            spoiled[4 + dice.randrange(min(len(good) - 4, 400))] = dice.choice([0, 255, dice.randrange(256)])
        made.append(bytes(spoiled[: dice.randrange(4, len(good))]) if dice.random() < 0.2 else bytes(spoiled))
    return made


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "TIFF", "GIF", "BMP", "WEBP", "AVIF"])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_any_spoiled_picture_is_read_or_a_media_error(picture_format: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    small = CaptureSpec(min_height_px=1, min_fps=1.0, max_pixels=1_000_000)
    reasons = set()
    for payload in _spoiled_pictures(picture_format):
        path.write_bytes(payload)
        try:
            probe(path, small)
            read_photo(path)
        except MediaError as error:
            reasons.add(error.reason)
    assert reasons <= {"corrupt_media", "truncated_media", "not_media", "too_large", "no_video_stream", "empty_file"}
    assert reasons & {"corrupt_media", "truncated_media"}
