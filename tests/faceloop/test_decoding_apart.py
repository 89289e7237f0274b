"""The decoder's own process: the same pictures as without it, and one lost file at most where it breaks."""

import io
import os
import re
import resource
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from PIL import Image, ImageOps
from tests.conftest import ClipMaker

from faceloop.footage.apart import probe_apart, read_photo_apart, read_video_apart
from faceloop.footage.decode import Picture, PictureSizes, Tally, read_photo, read_video
from faceloop.footage.decoder_child import DecoderChild, borrowed, close_idle
from faceloop.footage.limits import DecoderLimits, DecoderParams
from faceloop.footage.probe import CaptureSpec, probe
from faceloop.footage.sampling import SamplingParams
from faceloop.footage.wire import Message
from faceloop.params import read_params
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


def test_the_largest_photo_that_the_params_let_in_fits_the_decoder_they_set(tmp_path: Path) -> None:
    """8192 × 6144 px, held upright, in less than 512 MB of the decoder; one row more than the cap is `too_large`."""
    ingest = read_params(Path(__file__).parents[2] / "params.yaml")["ingest"]
    assert isinstance(ingest, dict)
    most, limits = ingest["max_pixels"], DecoderParams.model_validate(ingest["decoder"]).limits()
    assert isinstance(most, int)
    spec = CaptureSpec(min_height_px=0, min_fps=0, max_pixels=most, decoder=limits)
    exif = Image.Exif()
    exif[0x0112] = 6
    large, larger, webp = (tmp_path / name for name in ("large.jpg", "larger.jpg", "large.webp"))
    Image.new("RGB", (8192, most // 8192), (9, 99, 200)).save(large, exif=exif)
    Image.new("L", (8192, most // 8192 + 1)).save(larger)
    Image.new("RGB", (7000, 7000)).save(webp, lossless=True, quality=0, method=0)
    close_idle()
    assert probe_apart(large, spec).height == 8192
    assert read_photo_apart(large, limits).full_bgr().shape == (8192, most // 8192, 3)
    with borrowed(limits) as child:
        status = Path(f"/proc/{child.pid}/status").read_text()
    assert int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) < 512 * 1024
    for path, reason in ((larger, "too_large"), (webp, "decoder_memory")):
        with pytest.raises(MediaError) as caught:
            probe_apart(path, spec)
        assert caught.value.reason == reason
    close_idle()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_upright_in_strips_as_a_whole_one_would_be(
    tmp_path: Path, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Pillow's own `exif_transpose`; strips of 7 rows, the last one shorter."""
    pixels = np.random.default_rng(orientation).integers(0, 256, (33, 40, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path, exif=exif)
    monkeypatch.setattr("faceloop.footage.decode._STRIP_BYTES", 3 * 40 * 7)
    with Image.open(path) as image:
        whole = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))[:, :, ::-1]
    assert np.array_equal(read_photo(path).full_bgr(), whole)


def test_a_decoder_that_computes_without_end_is_ended(tmp_path: Path) -> None:
    """A real hog of 2 MB: a JPEG whose scans go on and on, and 1 s of silence allowed; by either clock."""
    hog = tmp_path / "hog.jpg"
    hog.write_bytes(_endless_jpeg())
    spec = CaptureSpec(min_height_px=0, min_fps=0, max_pixels=10**8, decoder=DecoderLimits(silence_s=1))
    with pytest.raises(MediaError) as caught:
        probe_apart(hog, spec)
    assert caught.value.reason == "decoder_timeout"
    close_idle()


def test_a_decoder_ends_when_its_worker_is_killed(walk: Path) -> None:
    """In the midst of a file, by SIGKILL: the worker can say goodbye to nobody."""
    worker = subprocess.Popen([sys.executable, "-c", _WORKER, str(walk)], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    decoder = int(worker.stdout.readline())
    watched = os.pidfd_open(decoder)
    try:
        worker.kill()
        worker.wait()
        assert select.select([watched], [], [], 120)[0], "the decoder outlived its worker"
    finally:
        os.close(watched)
        worker.stdout.close()


_WORKER = """
import os, sys
from pathlib import Path
from faceloop.footage.decoder_child import DecoderChild
from faceloop.footage.limits import DecoderLimits, DecoderParams
child = DecoderChild(DecoderLimits())
path = bytes(Path(sys.argv[1])).hex()
sampling = {"sample_fps": 30.0, "cut_threshold": 0.45, "duplicate_threshold": 0.0, "max_still_s": 0.0}
sizes = {"always_px": [80], "detail_px": None, "detail_every": 1}
asked = {"path": path, "sampling": sampling, "sizes": sizes, "rotation": 0, "threads": 1}
child.begin({"do": "video", **asked}, slots=1)
child.next_answer()  # its picture keeps the only place: the decoder waits with the next one
print(child.pid, flush=True)
import threading
threading.Event().wait()
"""


def _endless_jpeg() -> bytes:
    """A progressive JPEG whose last scan comes again and again: each goes over all of its blocks in a few bytes."""
    stream = io.BytesIO()
    Image.new("L", (6000, 6000), 128).save(stream, "JPEG", progressive=True)
    content = stream.getvalue()
    scan = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + scan * (2_000_000 // len(scan)) + content[-2:]


def _photo(path: Path, width: int, height: int) -> Path:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_photos_of_any_order_of_sizes_stay_themselves_in_the_memory_they_share(walk: Path, tmp_path: Path) -> None:
    small, large, huge = (
        _photo(tmp_path / f"{width}.png", width, height) for width, height in ((40, 30), (400, 300), (4200, 2700))
    )
    close_idle()
    for path in (small, large, small, huge, small, large):
        assert np.array_equal(read_photo_apart(path, LIMITS).full_bgr(), read_photo(path).full_bgr())
        pictures = read_video_apart(walk, SAMPLING, 0, Tally(), sizes=SIZES, limits=LIMITS, ahead=2)
        first = next(pictures)
        pictures.close()  # type: ignore[attr-defined]
        assert np.array_equal(first.full_bgr(), next(iter(read_video(walk, SAMPLING, 0, Tally()))).full_bgr())
    read_photo_apart(small, LIMITS)
    with borrowed(LIMITS) as child:
        pid = child.pid
    assert np.array_equal(read_photo_apart(large, LIMITS).full_bgr(), read_photo(large).full_bgr())
    with borrowed(LIMITS) as child:
        assert child.pid == pid


def test_a_lack_of_memory_that_the_files_before_left_costs_no_photo(tmp_path: Path) -> None:
    small, large = _photo(tmp_path / "small.png", 40, 30), _photo(tmp_path / "large.png", 4000, 3000)
    close_idle()
    read_photo_apart(small, LIMITS)
    with borrowed(LIMITS) as child:
        pid = child.pid
        held_bytes = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(pid, resource.RLIMIT_AS, (held_bytes + 4_000_000, held_bytes + 4_000_000))
    assert np.array_equal(read_photo_apart(large, LIMITS).full_bgr(), read_photo(large).full_bgr())
    with borrowed(LIMITS) as child:
        assert child.pid != pid
    close_idle()
    with pytest.raises(MediaError) as caught:  # and where a new decoder has too little, that is the answer
        read_photo_apart(_photo(tmp_path / "bomb.png", 9000, 8000), DecoderLimits(memory_mb=64))
    assert caught.value.reason == "decoder_memory"


def test_the_decoder_loads_no_more_than_it_needs() -> None:
    said = "import sys, faceloop.footage.decoder_process, faceloop.footage.decode; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", said], check=True, capture_output=True, text=True).stdout.split()
    assert "av" in loaded
    assert not {"pydantic", "pyarrow", "yaml", "sqlalchemy"} & set(loaded)
