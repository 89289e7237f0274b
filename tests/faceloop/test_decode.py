"""Decoding: by presentation time, upright, and as far as a damaged file can be read."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from faceloop.footage.decode import Picture, Tally, read_photo, read_video
from faceloop.footage.sampling import SamplingParams
from facestore.errors import MediaError

UInt8Array = npt.NDArray[np.uint8]
Frames = Callable[[int], list[UInt8Array]]
ClipMaker = Callable[..., Path]
EVERY_FRAME = SamplingParams(sample_fps=240.0, cut_threshold=1.0, duplicate_threshold=0.0, max_still_s=0.0)
BY_FIVES = SamplingParams(sample_fps=5.0, cut_threshold=0.45, duplicate_threshold=0.02, max_still_s=2.0)


def _read(path: Path, sampling: SamplingParams = EVERY_FRAME, rotation: int = 0) -> tuple[list[Picture], Tally]:
    tally = Tally()
    return list(read_video(path, sampling, rotation, tally)), tally


def _square_left(picture: UInt8Array) -> int:
    """Where the white square of `moving_square` begins, px."""
    return int(np.argmax(picture[45].min(axis=1) > 200))


def test_times_are_those_of_presentation_at_a_variable_rate(
    tmp_path: Path, make_clip: ClipMaker, moving_square: Frames
) -> None:
    pts = np.cumsum([40, 33, 100, 21, 7, 400] * 5).tolist()
    pictures, tally = _read(make_clip(tmp_path / "a.mp4", moving_square(30), pts=pts))
    assert [picture.pts_ms for picture in pictures] == pts
    assert tally.frames_decoded == 30
    for number, picture in enumerate(pictures):
        assert abs(_square_left(picture.full_bgr()) - (4 + 7 * number % 90)) <= 1


def test_sampled_times_are_times_of_real_frames(tmp_path: Path, make_clip: ClipMaker, moving_square: Frames) -> None:
    pts = np.cumsum([40, 33, 100, 21, 7, 400] * 5).tolist()
    pictures, _ = _read(make_clip(tmp_path / "a.mp4", moving_square(30), pts=pts), BY_FIVES)
    times = [picture.pts_ms for picture in pictures]
    assert set(times) <= set(pts)
    assert times == sorted(times)
    assert 10 <= len(times) <= 1 + 5 * (pts[-1] - pts[0]) / 1000


def test_a_clock_that_was_set_back_loses_no_picture_and_ends_the_scene(
    tmp_path: Path, make_clip: ClipMaker, moving_square: Frames
) -> None:
    once = make_clip(tmp_path / "a.ts", moving_square(50), file_format="mpegts").read_bytes()
    (tmp_path / "twice.ts").write_bytes(once + once)
    pictures, tally = _read(tmp_path / "twice.ts", replace(BY_FIVES, cut_threshold=1.0))
    times = [picture.pts_ms for picture in pictures]
    assert tally.frames_decoded == 100
    assert times == sorted(set(times))
    assert times[-1] > 3500
    assert sum(picture.is_cut for picture in pictures) == 1


def test_frames_that_stand_still_are_counted_and_passed_over(tmp_path: Path, make_clip: ClipMaker) -> None:
    ramp = np.repeat(np.linspace(40, 200, 128, dtype=np.uint8)[None, :, None], 96, axis=0).repeat(3, axis=2)
    pictures, tally = _read(make_clip(tmp_path / "a.mp4", [ramp] * 100), BY_FIVES)
    assert [picture.pts_ms for picture in pictures] == [0, 2000]
    assert tally.frames_near_duplicate == 18


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_clip_is_shown_upright(
    degrees: int, tmp_path: Path, make_clip: ClipMaker, turn_clip: ClipMaker
) -> None:
    corner = np.zeros((96, 128, 3), dtype=np.uint8)
    corner[:32, :40] = 255  # white at the upper left of the stored picture
    clip = turn_clip(make_clip(tmp_path / "a.mp4", [corner] * 5), degrees)
    (picture, *_), _ = _read(clip, rotation=degrees)
    for shown in (picture.full_bgr(), picture.small_bgr(64)):
        height, width = shown.shape[:2]
        places = {90: (0.1, 0.9), 180: (0.9, 0.9), 270: (0.9, 0.1)}  # turned clockwise: to the upper right …
        row, column = places[degrees]
        assert shown[int(row * height), int(column * width)].min() > 200
        assert (shown.mean(axis=2) > 128).mean() == pytest.approx(32 * 40 / (96 * 128), abs=0.02)
    assert (picture.width, picture.height) == ((128, 96) if degrees == 180 else (96, 128))


def test_a_small_picture_keeps_the_shape_and_is_never_enlarged(
    tmp_path: Path, make_clip: ClipMaker, moving_square: Frames
) -> None:
    (picture, *_), _ = _read(make_clip(tmp_path / "a.mp4", moving_square(3)))
    assert picture.small_bgr(64).shape == (48, 64, 3)
    assert picture.small_bgr(4000).shape == (96, 128, 3)


def test_a_truncated_clip_is_read_to_its_end(tmp_path: Path, make_clip: ClipMaker, moving_square: Frames) -> None:
    clip = make_clip(tmp_path / "a.mp4", moving_square(100), options={"movflags": "faststart"})
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 6 // 10])
    pictures, tally = _read(clip)
    assert 30 < len(pictures) == tally.frames_decoded < 90


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_damage_costs_the_frames_it_hits_and_is_counted(
    share: float, tmp_path: Path, make_clip: ClipMaker, moving_square: Frames
) -> None:
    clip = make_clip(tmp_path / "a.mp4", moving_square(100), options={"movflags": "faststart"})
    spoiled = bytearray(clip.read_bytes())
    start = spoiled.index(b"mdat") + 4
    length = len(spoiled) - start
    place = start + int(length * share)
    spoiled[place : place + length // 40] = bytes(length // 40)
    clip.write_bytes(spoiled)
    pictures, tally = _read(clip)
    assert tally.decode_errors > 0
    assert 60 < tally.frames_decoded < 100
    assert pictures[-1].pts_ms == 99 * 40


def test_lost_packets_of_a_stream_are_counted(tmp_path: Path, make_clip: ClipMaker, moving_square: Frames) -> None:
    clip = make_clip(tmp_path / "a.ts", moving_square(50), file_format="mpegts")
    payload = clip.read_bytes()
    middle = len(payload) // 2 // 188 * 188
    clip.write_bytes(payload[:middle] + payload[middle + 188 * 20 :])
    _, tally = _read(clip)
    assert tally.decode_errors > 0


def test_a_file_that_is_no_clip_is_a_media_error(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"\x00\x00\x00\x20ftypisom" + bytes(500))
    with pytest.raises(MediaError, match="corrupt_media"):
        _read(tmp_path / "a.mp4")


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_a_photo_is_upright_by_its_exif_orientation(orientation: int, tmp_path: Path) -> None:
    upright = np.zeros((48, 64, 3), dtype=np.uint8)
    upright[:20, :24] = 255
    undo = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2), 6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2), 8: lambda a: np.rot90(a, -1),
    }  # fmt: skip
    stored = np.ascontiguousarray(undo[orientation](upright))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    picture = read_photo(tmp_path / "a.png")
    assert (picture.width, picture.height) == (64, 48)
    np.testing.assert_array_equal(picture.full_bgr(), upright)


def test_a_photo_comes_as_blue_green_red(tmp_path: Path) -> None:
    Image.new("RGB", (10, 10), (250, 20, 5)).save(tmp_path / "a.png")
    assert read_photo(tmp_path / "a.png").full_bgr()[0, 0].tolist() == [5, 20, 250]


def test_sixteen_bit_grey_keeps_its_greys(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png").full_bgr()[..., 0].ravel(), np.arange(256))


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "1"])
def test_photos_of_any_mode_become_colour_pictures(mode: str, tmp_path: Path) -> None:
    suffix = "tiff" if mode == "CMYK" else "png"
    Image.new("RGB", (12, 9), (255, 255, 255)).convert(mode).save(tmp_path / f"a.{suffix}")
    assert read_photo(tmp_path / f"a.{suffix}").full_bgr().tolist() == np.full((9, 12, 3), 255).tolist()
