"""The decoder's own process: the same pictures as without it, and one lost file at most where it breaks."""

import os
import signal
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from tests.conftest import ClipMaker

from faceloop.footage.apart import probe_apart, read_photo_apart, read_video_apart
from faceloop.footage.decode import Picture, PictureSizes, Tally, read_photo, read_video
from faceloop.footage.decoder_child import DecoderChild, borrowed, close_idle
from faceloop.footage.limits import DecoderLimits
from faceloop.footage.probe import CaptureSpec, probe
from faceloop.footage.sampling import SamplingParams
from faceloop.footage.wire import Message
from facestore.errors import MediaError
from facestore.images import UInt8Array

LIMITS = DecoderLimits()
SPEC = CaptureSpec(min_height_px=0, min_fps=0, max_pixels=10**8, decoder=LIMITS)
SAMPLING = SamplingParams(sample_fps=30.0, cut_threshold=0.45, duplicate_threshold=0.02, max_still_s=2.0)
SIZES = PictureSizes(always_px=(80,), detail_px=120, detail_every=3)

pytestmark = pytest.mark.integration


@pytest.fixture
def walk(tmp_path: Path, astronaut_rgb: UInt8Array, make_clip: ClipMaker) -> Path:
    head = astronaut_rgb[0:256, 90:346]
    frames = [np.ascontiguousarray(np.roll(head, 5 * step, axis=1)) for step in range(40)]
    return make_clip(tmp_path / "walk.mp4", frames)


def test_pictures_tallies_and_facts_are_those_of_decoding_here(walk: Path, face_source: Path) -> None:
    for path in (walk, face_source / "album" / "it's her.jpg", face_source / "album" / "mirrored.png"):
        assert probe_apart(path, SPEC) == probe(path, SPEC)
    photo = face_source / "album" / "it's her.jpg"
    assert np.array_equal(read_photo_apart(photo, LIMITS).full_bgr(), read_photo(photo).full_bgr())
    for rotation in (0, 90):
        here, there = Tally(), Tally()
        first = list(read_video(walk, SAMPLING, rotation, here))
        second = list(read_video_apart(walk, SAMPLING, rotation, there, sizes=SIZES, limits=LIMITS))
        assert here == there
        assert [_seen(picture) for picture in first] == [_seen(picture) for picture in second]
        for number, (one, other) in enumerate(zip(first, second, strict=True)):
            assert np.array_equal(one.full_bgr(), other.full_bgr())
            for side_px in SIZES.of(number, one):
                assert np.array_equal(one.small_bgr(side_px), other.small_bgr(side_px))


def _seen(picture: Picture) -> tuple[object, ...]:
    return picture.pts_ms, picture.is_cut, picture.still_until_ms, picture.width, picture.height


def test_a_size_that_was_not_asked_for_is_an_error_and_no_other_picture(walk: Path) -> None:
    picture = next(iter(read_video_apart(walk, SAMPLING, 0, Tally(), sizes=SIZES, limits=LIMITS)))
    with pytest.raises(ValueError, match="not at 77 px"):
        picture.small_bgr(77)


def test_one_decoder_serves_file_after_file_also_after_a_video_that_was_not_read_to_its_end(walk: Path) -> None:
    close_idle()
    with borrowed(LIMITS) as child:
        pid = child.pid
    for _ in range(3):
        pictures = read_video_apart(walk, SAMPLING, 0, Tally(), sizes=SIZES, limits=LIMITS, ahead=2)
        next(pictures)
        pictures.close()  # type: ignore[attr-defined]
        assert probe_apart(walk, SPEC).frames == 40
    with borrowed(LIMITS) as child:
        assert child.pid == pid


def test_a_decoder_that_dies_between_files_is_replaced_unnoticed(walk: Path) -> None:
    probe_apart(walk, SPEC)
    with borrowed(LIMITS) as child:
        os.kill(child.pid, signal.SIGKILL)
    assert probe_apart(walk, SPEC).frames == 40


def test_a_decoder_that_dies_in_a_video_costs_that_video(walk: Path) -> None:
    close_idle()
    with borrowed(LIMITS) as child:
        pid = child.pid
    pictures = read_video_apart(walk, SAMPLING, 0, Tally(), sizes=SIZES, limits=LIMITS, ahead=1)
    next(pictures)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(MediaError) as caught:
        list(pictures)
    assert caught.value.reason == "decoder_crashed"
    assert probe_apart(walk, SPEC).frames == 40


def test_a_decoder_that_says_nothing_is_ended(walk: Path) -> None:
    limits = DecoderLimits(silence_s=1)
    with borrowed(limits) as child:
        child.begin({"do": "probe", "path": bytes(walk).hex(), "spec": {}}, slots=1)  # it has started
        with pytest.raises(MediaError):
            child.next_answer()
        os.kill(child.pid, signal.SIGSTOP)
        child.begin({"do": "photo", "path": bytes(walk).hex()}, slots=1)
        with pytest.raises(MediaError) as caught:
            child.next_answer()
        assert caught.value.reason == "decoder_timeout"
        assert not child.is_usable


def test_what_a_spoiled_decoder_says_is_not_believed(walk: Path) -> None:
    probe_apart(walk, SPEC)
    for lie in (
        {"is": "picture", "slot": 0, "shapes": [[2, 2, 3]]},
        {"is": "picture", "slot": 7, "shapes": [["2", 2, 3]]},
        {"is": "picture"},
    ):
        with borrowed(LIMITS) as child:
            child.begin({"do": "nothing"}, slots=1)
            with pytest.raises(MediaError) as caught:
                child.images(cast(Message, lie))
        assert caught.value.reason == "decoder_crashed"


def test_it_has_no_network_no_secrets_and_may_write_nothing(walk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-in-the-environment")
    child = DecoderChild(LIMITS)
    try:
        child.begin({"do": "probe", "path": bytes(walk).hex(), "spec": {}}, slots=1)
        process = Path(f"/proc/{child.pid}")
        assert b"canary" not in (process / "environ").read_bytes()
        limits = {line[:26].strip(): line[26:].split()[0] for line in (process / "limits").read_text().splitlines()}
        assert (limits["Max file size"], limits["Max core file size"], limits["Max open files"]) == ("0", "0", "64")
        assert int(limits["Max address space"]) > 0
        if not child.is_offline:
            pytest.skip("this kernel lends no network namespace")
        devices = (process / "net" / "dev").read_text().splitlines()[2:]
        assert [line.split(":")[0].strip() for line in devices] == ["lo"]
    finally:
        child.close()


def test_too_many_frames_and_too_long_a_time_are_reasons_to_refuse(walk: Path) -> None:
    for limits, reason in (
        (DecoderLimits(max_frames=10), "too_many_frames"),
        (DecoderLimits(max_duration_s=1), "too_long"),
    ):
        spec = CaptureSpec(min_height_px=0, min_fps=0, max_pixels=10**8, decoder=limits)
        with pytest.raises(MediaError) as caught:
            probe_apart(walk, spec)
        assert caught.value.reason == reason
    close_idle()
