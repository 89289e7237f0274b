"""The built-in detector: equal to OpenCV on real photos, exact on outputs written by hand."""

from importlib.resources import files

import cv2
import numpy as np
import pytest

from faceloop.vision.arrays import Float32Array, UInt8Array
from faceloop.vision.detections import Detector
from faceloop.vision.fold import fold_model
from faceloop.vision.models import open_detector
from faceloop.vision.packs import load_pack
from faceloop.vision.sessions import Engine, open_session
from faceloop.vision.specs import Preprocessing
from faceloop.vision.yunet import YuNetDetector, decode
from facestore.errors import ConfigError, DataError, ModelCorrupt

BUILTIN = load_pack("builtin", accept_licence=None, insightface_root=None)


def _photo(package: str, path: str) -> UInt8Array:
    return np.asarray(cv2.imread(str(files(package) / path)), dtype=np.uint8)


GROUP = _photo("insightface", "data/images/t1.jpg")
ASTRONAUT = _photo("skimage", "data/astronaut.png")
HOPPER = _photo("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")


@pytest.fixture(scope="module")
def yunet() -> Detector:
    return open_detector(BUILTIN, engine="onnxruntime", precision="f32", threads=1)


def _opencv(image: UInt8Array) -> tuple[Float32Array, Float32Array, Float32Array]:
    assert BUILTIN.detector is not None
    size_wh = (image.shape[1], image.shape[0])
    peer = cv2.FaceDetectorYN.create(str(BUILTIN.detector.model_path), "", size_wh, 0.6, 0.3, 5000)
    rows = np.asarray(peer.detect(image)[1], dtype=np.float32)
    rows = rows[np.argsort(-rows[:, 14])]
    return np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]]), rows[:, 4:14].reshape(-1, 5, 2), rows[:, 14]


@pytest.mark.parametrize(
    ("image", "faces"),
    [
        (GROUP, 6),
        (ASTRONAUT, 1),
        (HOPPER, 1),
        (GROUP[:, ::-1].copy(), 6),
        (GROUP[:701, :1003], 5),  # sizes that need padding on both sides
    ],
    ids=["group", "astronaut", "hopper", "mirrored", "odd-size"],
)
def test_yunet_finds_what_opencv_finds(yunet: Detector, image: UInt8Array, faces: int) -> None:
    image = np.ascontiguousarray(image)
    found = yunet.detect(image, long_side_px=max(image.shape))
    boxes, landmarks, scores = _opencv(image)
    assert len(found) == len(boxes) == faces
    assert np.abs(found.boxes_xyxy_px - boxes).max() < 0.5
    assert np.abs(found.landmarks_px - landmarks).max() < 0.5
    assert np.abs(found.scores - scores).max() < 1e-3


def test_landmarks_are_left_before_right_as_seen_in_the_image(yunet: Detector) -> None:
    for image in (GROUP, GROUP[:, ::-1].copy()):
        points = yunet.detect(image, long_side_px=1280).landmarks_px
        assert (points[:, 0, 0] < points[:, 1, 0]).all()
        assert (points[:, 3, 0] < points[:, 4, 0]).all()
        assert (points[:, 0, 1] < points[:, 3, 1]).all()


def test_smaller_long_side_gives_the_faces_of_the_resized_photo_in_pixels_of_the_photo(yunet: Detector) -> None:
    half = np.asarray(cv2.resize(GROUP, (640, 443)), dtype=np.uint8)
    boxes, landmarks, _ = _opencv(half)
    found = yunet.detect(GROUP, long_side_px=640)
    assert len(found) == len(boxes) == 6
    assert np.abs(found.boxes_xyxy_px - boxes * 2).max() < 0.5
    assert np.abs(found.landmarks_px - landmarks * 2).max() < 0.5


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_engines_agree(yunet: Detector, engine: Engine) -> None:
    other = open_detector(BUILTIN, engine=engine, precision="f32", threads=1)
    found, expected = other.detect(GROUP, long_side_px=640), yunet.detect(GROUP, long_side_px=640)
    assert np.abs(found.boxes_xyxy_px - expected.boxes_xyxy_px).max() < 0.05


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 4000, 3), (31, 33, 3), (240, 320, 3)])
def test_image_without_faces_gives_empty_arrays(yunet: Detector, shape: tuple[int, int, int]) -> None:
    found = yunet.detect(np.zeros(shape, dtype=np.uint8), long_side_px=640)
    assert len(found) == 0
    assert found.landmarks_px.shape == (0, 5, 2)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 10, 3), np.uint8),
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
    ],
)
def test_what_is_no_bgr_image_is_refused(yunet: Detector, image: UInt8Array) -> None:
    with pytest.raises(DataError, match=r"expected uint8 \(h, w, 3\)"):
        yunet.detect(image, long_side_px=640)


def test_long_side_below_one_is_refused(yunet: Detector) -> None:
    with pytest.raises(DataError, match="long_side_px is 0"):
        yunet.detect(ASTRONAUT, long_side_px=0)


@pytest.mark.parametrize(("name", "value"), [("min_score", 1.5), ("max_iou", -0.1), ("min_score", float("nan"))])
def test_threshold_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name}.*between 0 and 1"):
        open_detector(BUILTIN, engine="onnxruntime", precision="f32", threads=1, **{name: value})  # type: ignore[arg-type]


def test_small_face_is_found_when_upscaling_is_asked_for() -> None:
    small = np.asarray(cv2.resize(ASTRONAUT, (40, 40), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    plain = open_detector(BUILTIN, engine="onnxruntime", precision="f32", threads=1)
    larger = open_detector(BUILTIN, engine="onnxruntime", precision="f32", threads=1, allow_upscale=True)
    assert len(plain.detect(small, long_side_px=640)) == 0
    found = larger.detect(small, long_side_px=320)
    assert len(found) == 1
    expected = plain.detect(ASTRONAUT, long_side_px=512).boxes_xyxy_px * (40 / 512)
    assert np.abs(found.boxes_xyxy_px - expected).max() < 3


# YuNet's decoding, on outputs written by hand.


def _outputs(height_px: int, width_px: int) -> list[Float32Array]:
    cells = [height_px * width_px // stride**2 for stride in (8, 16, 32)]
    return [np.zeros((1, count, columns), np.float32) for columns in (1, 1, 4, 10) for count in cells]


def test_hot_cell_decodes_to_its_box() -> None:
    outputs = _outputs(64, 96)
    cell = 1 * 6 + 2  # stride 16: row 1, column 2 of 6
    outputs[1][0, cell], outputs[4][0, cell] = 0.81, 1.0
    outputs[7][0, cell] = [0.5, 0.25, np.log(2), np.log(3)]
    outputs[10][0, cell] = np.arange(10) / 10
    boxes, landmarks, scores = decode(outputs, width_px=96, min_score=0.5)
    assert scores == pytest.approx([0.9])
    assert boxes[0] == pytest.approx([(2.5 - 1) * 16, (1.25 - 1.5) * 16, (2.5 + 1) * 16, (1.25 + 1.5) * 16])
    assert landmarks[0, 3] == pytest.approx([(2 + 0.6) * 16, (1 + 0.7) * 16], rel=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1000.0])
def test_box_that_is_not_finite_is_dropped(value: float) -> None:
    outputs = _outputs(64, 64)
    outputs[0][0, 3], outputs[3][0, 3], outputs[6][0, 3, 2] = 1, 1, value
    outputs[0][0, 9], outputs[3][0, 9] = 1, 1
    assert len(decode(outputs, width_px=64, min_score=0.5)[0]) == 1


def test_score_that_is_nan_is_no_face() -> None:
    outputs = _outputs(64, 64)
    outputs[0][0, 3], outputs[3][0, 3] = np.nan, 1
    assert len(decode(outputs, width_px=64, min_score=0.5)[0]) == 0


def test_selected_faces_keep_their_rows_together(yunet: Detector) -> None:
    found = yunet.detect(GROUP, long_side_px=1280)
    chosen = found.select(found.boxes_xyxy_px[:, 0] > 400)
    assert 0 < len(chosen) < len(found)
    rows = [found.scores.tolist().index(score) for score in chosen.scores.tolist()]
    assert np.array_equal(chosen.landmarks_px, found.landmarks_px[rows])


def test_graph_of_another_kind_is_refused() -> None:
    assert BUILTIN.recogniser is not None
    sface = fold_model(BUILTIN.recogniser.model_path.read_bytes(), free_axes=("N",))
    session = open_session(sface, engine="onnxruntime", precision="f32", threads=1)
    pixels = Preprocessing(colour="BGR", mean=0.0, std=1.0)
    with pytest.raises(ModelCorrupt, match="check the manifest's kind"):
        YuNetDetector(session, preprocessing=pixels, min_score=0.5, max_iou=0.4, allow_upscale=False)
