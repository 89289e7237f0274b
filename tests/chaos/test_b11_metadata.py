"""Bar B11, metadata: nothing that a photo carries beside its pixels leaves ingest; no picture is anything else too."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, PngImagePlugin
from tests.faceloop.runner_world import open_root, tree_of

from faceloop.question_pictures import QuestionPictures
from faceloop.redaction import covered
from faceloop.runner import Workspace, run_stage
from facereview.pictures import FacePicture, FramePicture
from facestore.crops import CropReader
from facestore.images import encode_jpeg
from facestore.records import Face, Footage
from facestore.tables import read_table

MARK = b"CANARY-"
_BARE = {0xDB, 0xC0, 0xC2, 0xC4, 0xDA, 0xDD, 0xE0}  # tables, frame, scan, restart, JFIF: what pixels need


def _photo(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A JPEG with all that may hang on one, which is a page and an archive too."""
    small = io.BytesIO()
    Image.fromarray(pixels[::8, ::8]).save(small, "JPEG", comment=MARK + b"THUMBNAIL")
    exif = Image.Exif()
    exif[0x010F], exif[0x9C9B] = "CANARY-MAKER", "CANARY-TITLE".encode("utf-16-le")
    exif[0x8825] = {1: "N", 2: (48.0, 51.0, 30.0), 29: "CANARY-GPS"}
    stream = io.BytesIO()
    xmp = b"<x:xmpmeta><script>CANARY-XMP</script></x:xmpmeta>"
    image = Image.fromarray(pixels)
    payload = exif.tobytes() + small.getvalue()
    image.save(stream, "JPEG", quality=92, exif=payload, icc_profile=MARK + b"ICC" + bytes(200), xmp=xmp,
               comment="CANARY-COMMENT <script>")  # fmt: skip
    stream.write(b"<!doctype html><script>CANARY-HTML</script>")
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("x", MARK + b"ZIP")
    return stream.getvalue()


@pytest.fixture(scope="module")
def taken_in(tmp_path_factory: pytest.TempPathFactory, astronaut_rgb: npt.NDArray[np.uint8]) -> Workspace:
    source = tmp_path_factory.mktemp("source")
    (source / "a.jpg").write_bytes(_photo(astronaut_rgb))
    said = PngImagePlugin.PngInfo()
    said.add_itxt("XML:com.adobe.xmp", "<script>CANARY-PNG</script>")
    said.add_text("Author", "CANARY-AUTHOR", zip=False)
    Image.fromarray(np.ascontiguousarray(astronaut_rgb[:, ::-1])).save(source / "b.png", pnginfo=said)
    assert all(MARK in path.read_bytes() for path in source.iterdir())
    work = open_root(tmp_path_factory.mktemp("root"), tree_of(source))
    run_stage(work, "ingest")
    run_stage(work, "detect")
    return work


def _segments(jpeg: bytes) -> set[int]:
    """Markers of a JPEG up to its pixels; raises ValueError where bytes follow its end."""
    found, place = set(), 2
    while jpeg[place + 1] != 0xDA:
        found.add(jpeg[place + 1])
        place += 2 + int.from_bytes(jpeg[place + 2 : place + 4])
    if jpeg.index(b"\xff\xd9", place) + 2 != len(jpeg):
        raise ValueError("bytes behind the end")
    return found | {0xDA}


def _is_bare(jpeg: bytes) -> bool:
    try:
        return jpeg[:2] == b"\xff\xd8" and MARK not in jpeg and _segments(jpeg) <= _BARE
    except (ValueError, IndexError):
        return False


def _pictures(work: Workspace) -> dict[str, bytes]:
    """Every picture that is shown or handed on."""
    faces = [face for face in read_table(work.path("faces"), "faces", Face) if face.crop_key is not None]
    footage = list(read_table(work.path("footage"), "footage", Footage))
    assert len(faces) >= 2
    assert len(footage) == 2
    reader = CropReader(work.path("crops"))
    found: dict[str, bytes] = {}
    with QuestionPictures(work) as pictures:
        for face in faces:
            key = str(face.crop_key)
            found |= {f"{kind} {key}": reader.jpeg(kind, key) for kind in ("aligned", "context")}
            found[f"question {key}"] = pictures.jpeg(FacePicture(face_id=face.face_id))
            found[f"redacted {key}"] = encode_jpeg(covered(reader.image("context", key), [(50, 50, 90, 90)]), 85)
        for row in footage:
            found[f"frame {row.footage_id}"] = pictures.jpeg(FramePicture(footage_id=row.footage_id, pts_ms=0))
    reader.close()
    return found


def test_crops_and_pictures_are_pixels_and_nothing_else(taken_in: Workspace) -> None:
    pictures = _pictures(taken_in)
    assert {name for name, jpeg in pictures.items() if not _is_bare(jpeg)} == set()


def test_no_file_beside_the_store_of_originals_holds_a_mark(taken_in: Workspace) -> None:
    """Originals are kept as they came: they are evidence, encrypted where the store is, and never served."""
    originals = Path(taken_in.external("objects"))
    files = [path for path in taken_in.root.rglob("*") if path.is_file()]
    holding = {path for path in files if MARK in path.read_bytes()}
    assert {path for path in holding if not path.is_relative_to(originals)} == set()
    assert len(holding) == 2


@pytest.mark.parametrize(
    "careless",
    [
        lambda original: original,
        lambda original: original[: original.index(b"<!doctype")],
        lambda original: encode_jpeg(np.zeros((8, 8, 3), np.uint8), 85) + b"<script>",
    ],
)
def test_a_picture_that_is_handed_on_as_it_came_is_caught(
    careless: Callable[[bytes], bytes], astronaut_rgb: npt.NDArray[np.uint8]
) -> None:
    """The mutants: the file itself, the file without what hangs behind it, pixels with a page behind them."""
    assert not _is_bare(careless(_photo(astronaut_rgb)))
