"""Faces that are not to be used are covered in what people are shown, and nothing else is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.facestore.consent_world import LONG_AGO

from faceloop import redaction
from faceloop.decision_tables import export_decisions
from faceloop.question_pictures import QuestionPictures
from faceloop.redaction import Covers, covered, covers_of
from faceloop.reports.album import Album
from faceloop.runner import Workspace
from faceloop.sample.photos import ASTRONAUT, GROUP, OFFICER, read_photo
from faceloop.vision.align import align_crops
from faceloop.vision.arrays import Float32Array
from faceloop.vision.choice import ModelParams
from facereview.pictures import FacePicture
from facestore.crops import CropReader
from facestore.decisionlog import DecisionLog
from facestore.decisions import decide
from facestore.images import decode_jpeg
from facestore.records import Face
from facestore.tables import read_table

places = st.floats(-20, 70)


@given(x=places, y=places, wide=st.floats(3, 40), high=st.floats(3, 40))
def test_a_covered_box_keeps_a_few_colours_and_the_rest_of_the_picture_stays(
    x: float, y: float, wide: float, high: float
) -> None:
    image = np.random.default_rng(3).integers(0, 256, (60, 64, 3), dtype=np.uint8)
    shown = covered(image, [(x, y, x + wide, y + high)])
    left, top = int(np.clip(np.rint(x), 0, 64)), int(np.clip(np.rint(y), 0, 60))
    right, bottom = int(np.clip(np.rint(x + wide), 0, 64)), int(np.clip(np.rint(y + high), 0, 60))
    inside = shown[top:bottom, left:right].reshape(-1, 3)
    assert len(np.unique(inside, axis=0)) <= 9
    outside = np.ones((60, 64), bool)
    outside[max(top - 12, 0) : bottom + 12, max(left - 12, 0) : right + 12] = False
    assert np.array_equal(shown[outside], image[outside])


def test_a_box_of_the_frame_lies_where_the_context_crop_shows_it() -> None:
    covers = Covers(
        boxes={("f", 0): ((100.0, 100.0, 120.0, 120.0),)}, crops={"face": ("f", 0, (100.0, 100.0, 120.0, 120.0))}
    )
    ((x1, y1, x2, y2),) = covers.of_crop("face", 220)
    assert np.allclose((x1, y1, x2, y2), (60, 60, 160, 160))
    assert covers.of_crop("another", 220) == []
    assert covers.of_frame("f", 400, 500) and not covers.of_frame("f", 501, 500)


def test_the_picture_of_a_face_that_was_set_aside_is_covered_and_that_of_others_is_as_it_was(work: Workspace) -> None:
    faces = [face for face in read_table(work.path("faces"), "faces", Face) if face.crop_key is not None]
    hidden = faces[0]
    other = next(face for face in faces if (face.footage_id, face.pts_ms) != (hidden.footage_id, hidden.pts_ms))
    with QuestionPictures(work) as pictures:
        before = {face.face_id: pictures.jpeg(FacePicture(face_id=face.face_id)) for face in (hidden, other)}
    log = DecisionLog(work.ledger_url())
    log.append([decide("ignore", face_id=hidden.face_id, annotator="desk", decided_at=LONG_AGO)])
    log.close()
    export_decisions(work)
    for face, is_covered in ((hidden, True), (other, False)):  # on pages: the report, label audits, mining sheets
        crops, key = CropReader(work.path("crops")), str(face.crop_key)
        plain, shown = (
            Album(crops=crops, bytes_left=10**6, covers=covers).picture(key, 224)
            for covers in (Covers(), covers_of(work))
        )
        assert (plain != shown) == is_covered
    with QuestionPictures(work) as pictures:
        after = {face.face_id: pictures.jpeg(FacePicture(face_id=face.face_id)) for face in (hidden, other)}
    assert after[other.face_id] == before[other.face_id]
    whole, gone = decode_jpeg(before[hidden.face_id]), decode_jpeg(after[hidden.face_id])
    middle = slice(whole.shape[0] // 3, 2 * whole.shape[0] // 3)
    detail = [float(np.abs(np.diff(one[middle, middle].astype(np.float32), axis=0)).mean()) for one in (whole, gone)]
    assert detail[1] < 0.5 * detail[0]


def test_a_covered_face_resembles_itself_no_more_than_strangers_resemble_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Eight people, by the built-in recogniser, cut out where their landmarks were: what an attacker would know best.

    The mutant covers with small blocks; the same check catches it.
    """
    own, others, strangers = _likeness()
    assert own.max() <= strangers.max() and own.mean() <= others.mean() + 0.02
    monkeypatch.setattr(redaction, "_BLOCKS", 24)
    assert _likeness()[0].max() > strangers.max()


def _likeness() -> tuple[Float32Array, Float32Array, Float32Array]:
    """Cosines: of each covered face with itself as it was, with others as they were; of strangers, uncovered."""
    model = ModelParams(pack="builtin", accept_licence=None, engine="onnxruntime", precision="f32", provider="cpu")
    detector, recogniser = model.detector(threads=1, min_score=0.6), model.recogniser(threads=1, batch_size=8)
    shown, gone = [], []
    for photo in (GROUP, ASTRONAUT, OFFICER):
        picture = np.ascontiguousarray(read_photo(photo)[:, :, ::-1])
        found = detector.detect(picture, long_side_px=1280)
        boxes = [(float(x1), float(y1), float(x2), float(y2)) for x1, y1, x2, y2 in found.boxes_xyxy_px]
        shown.append(align_crops(picture, found.landmarks_px))
        gone.append(align_crops(covered(picture, boxes), found.landmarks_px))
    plain, hidden = (recogniser.embed(np.concatenate(crops)).vectors for crops in (shown, gone))
    apart = ~np.eye(len(plain), dtype=bool)
    assert len(plain) == 8
    return np.diag(hidden @ plain.T), (hidden @ plain.T)[apart], (plain @ plain.T)[apart]
