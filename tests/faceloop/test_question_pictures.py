"""Pictures for questions: crops of faces, frames as displayed, and nothing of a file's metadata."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from faceloop.question_pictures import FrameLook, QuestionPictures, cut_out
from faceloop.runner import Workspace, run_stage
from facereview.pictures import FacePicture, FramePicture
from facestore.crops import CropWriter
from facestore.errors import DataError
from facestore.images import decode_jpeg
from facestore.records import Face, Footage
from facestore.tables import read_table, write_table

from .runner_world import open_root, tree_of

UInt8Array = npt.NDArray[np.uint8]
Frames = Callable[[int], list[UInt8Array]]
ClipMaker = Callable[..., Path]
SHADE = {"f1": 40, "f2": 200}  # of the crops that there are


@pytest.fixture(scope="module")
def filmed(
    tmp_path_factory: pytest.TempPathFactory, make_clip: ClipMaker, turn_clip: ClipMaker, moving_square: Frames
) -> Workspace:
    """Ingest has taken in a clip, one held sideways, and a large photo that names its camera."""
    source = tmp_path_factory.mktemp("source")
    make_clip(source / "clip.mp4", moving_square(12), pts=[100 * number for number in range(12)])
    turn_clip(make_clip(source / "turned.mp4", moving_square(3)), 90)
    exif = Image.Exif()
    exif[0x010F] = "SECRET-CAMERA"
    exif[0x0112] = 6  # to be turned by 90 degrees
    photo = np.zeros((1500, 2000, 3), np.uint8)
    photo[:, :1000] = (250, 10, 10)
    Image.fromarray(photo).save(source / "photo.jpg", exif=exif)
    work = open_root(tmp_path_factory.mktemp("root"), tree_of(source))
    run_stage(work, "ingest")
    return work


def _footage(work: Workspace, uri: str) -> str:
    return next(row.footage_id for row in read_table(work.path("footage"), "footage", Footage) if row.uri == uri)


def _left(jpeg: bytes) -> int:
    """Where the white square of `moving_square` begins, px."""
    return int(np.argmax(decode_jpeg(jpeg)[45].min(axis=1) > 200))


@pytest.mark.parametrize(("asked_ms", "number"), [(0, 0), (340, 3), (350, 3), (360, 4), (99_000, 11)])
def test_the_frame_nearest_in_time_is_shown(filmed: Workspace, asked_ms: int, number: int) -> None:
    with QuestionPictures(filmed) as pictures:
        shown = pictures.jpeg(FramePicture(footage_id=_footage(filmed, "clip.mp4"), pts_ms=asked_ms))
    assert abs(_left(shown) - (4 + 7 * number)) <= 1


def test_prepared_frames_are_those_that_are_decoded_one_by_one(filmed: Workspace) -> None:
    clip, turned = _footage(filmed, "clip.mp4"), _footage(filmed, "turned.mp4")
    wanted = [FramePicture(footage_id=clip, pts_ms=moment) for moment in (900, 0, 420)]
    wanted += [
        FramePicture(footage_id=turned, pts_ms=40),
        FramePicture(footage_id=clip, pts_ms=420, view=(2, 3, 50, 60)),
    ]
    with QuestionPictures(filmed) as alone, QuestionPictures(filmed) as together:
        together.prepare([*wanted, FramePicture(footage_id="gone", pts_ms=0), FacePicture(face_id="any")])
        assert [together.jpeg(picture) for picture in wanted] == [alone.jpeg(picture) for picture in wanted]


def test_a_frame_is_upright_and_a_part_of_it_keeps_its_pixels(filmed: Workspace) -> None:
    clip = _footage(filmed, "turned.mp4")
    with QuestionPictures(filmed, FrameLook(quality=100)) as pictures:
        whole = decode_jpeg(pictures.jpeg(FramePicture(footage_id=clip, pts_ms=0)))
        part = decode_jpeg(pictures.jpeg(FramePicture(footage_id=clip, pts_ms=0, view=(10, 20, 74, 84))))
    assert whole.shape == (128, 96, 3)  # filmed as 128 × 96
    assert part.shape == (64, 64, 3)
    assert np.abs(part.astype(int) - whole[20:84, 10:74].astype(int)).mean() < 3  # JPEG twice


def test_a_large_photo_is_made_small_and_loses_its_metadata(filmed: Workspace) -> None:
    photo = _footage(filmed, "photo.jpg")
    with QuestionPictures(filmed, FrameLook(long_side_px=400)) as pictures:
        jpeg = pictures.jpeg(FramePicture(footage_id=photo, pts_ms=0))
    assert b"SECRET" not in jpeg
    assert dict(Image.open(BytesIO(jpeg)).getexif()) == {}
    image = decode_jpeg(jpeg)
    assert image.shape == (400, 300, 3)
    assert image[50, 150, 0] > 200 > 60 > image[350, 150, 0]  # red, in RGB, above black


def test_what_is_gone_has_a_reason(filmed: Workspace, tmp_path: Path) -> None:
    clip = _footage(filmed, "clip.mp4")
    lost = open_root(filmed.root, tree_of(tmp_path / "source", f"paths.objects={tmp_path / 'none'}"))
    with QuestionPictures(filmed) as pictures, QuestionPictures(lost) as without_media:
        for asked, where in (
            (FramePicture(footage_id="gone", pts_ms=0), pictures),
            (FramePicture(footage_id=clip, pts_ms=0, view=(500, 0, 600, 9)), pictures),
            (FramePicture(footage_id=clip, pts_ms=0), without_media),
        ):
            with pytest.raises(DataError, match=r"^no_picture: "):
                where.jpeg(asked)


def test_a_face_is_its_crop_or_the_best_shot_of_its_tracklet(tmp_path: Path) -> None:
    work = open_root(tmp_path / "root", tree_of(tmp_path / "source"))
    seen = [("f1", "t1", 0.5), ("f2", "t1", 0.9), ("f3", "t1", 0.95), ("alone", "t2", 0.9)]
    write_table(work.path("faces") / "faces.parquet", Face, [_face(*one) for one in seen])
    (work.path("crops") / "b000").mkdir(parents=True)
    with CropWriter(work.path("crops") / "b000") as writer:
        for name, shade in SHADE.items():
            writer.put("context", name, np.full((32, 32, 3), shade, np.uint8))
    with QuestionPictures(work) as pictures:
        shades = [int(decode_jpeg(pictures.jpeg(FacePicture(face_id=name))).mean()) for name in ("f1", "f2", "f3")]
        assert shades == pytest.approx([40, 200, 200], abs=2)
        for name in ("alone", "erased"):
            with pytest.raises(DataError, match=r"^no_picture: "):
                pictures.jpeg(FacePicture(face_id=name))


@given(*(st.tuples(st.integers(-30, 30), st.integers(1, 40)) for _ in range(2)))
def test_a_cut_out_has_the_size_of_its_view_and_every_pixel_in_its_place(
    across: tuple[int, int], down: tuple[int, int]
) -> None:
    image = (np.arange(20 * 24).reshape(20, 24, 1).repeat(3, axis=2) % 255 + 1).astype(np.uint8)
    view = (across[0], down[0], across[0] + across[1], down[0] + down[1])
    try:
        part = cut_out(image, view)
    except DataError:
        assert view[2] <= 0 or view[3] <= 0 or view[0] >= 24 or view[1] >= 20
        return
    assert part.shape == (down[1], across[1], 3)
    for row, column in np.ndindex(part.shape[:2]):
        y, x = row + view[1], column + view[0]
        expected = image[y, x, 0] if 0 <= y < 20 and 0 <= x < 24 else 0
        assert part[row, column, 0] == expected


def _face(name: str, tracklet: str, quality: float) -> Face:
    return Face(
        face_id=name, footage_id="clip", subset="gate", pts_ms=0, bbox=(0.0, 0.0, 9.0, 9.0), landmarks=(0.0,) * 10,
        det_score=0.9, tracklet_id=tracklet, is_best_shot=True, size_px=90.0, sharpness=1.0, brightness=0.5,
        contrast=0.2, yaw=0.0, pitch=0.0, roll=0.0, occlusion=0.0, quality=quality,
        crop_key=f"b000/{name}" if name in SHADE else None, detector="yunet", rejected=None,
    )  # fmt: skip
