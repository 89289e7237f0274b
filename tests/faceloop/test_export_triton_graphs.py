"""The served graphs do what the platform's own code does: detect, align, embed, from a picture to a unit vector."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceloop.export.triton import write_repository
from faceloop.export.triton_align import align_graph
from faceloop.export.triton_detect import detect_graph
from faceloop.export.triton_models import ServedRecogniser
from faceloop.export.triton_unit import unit_graph
from faceloop.vision.align import ARCFACE_TEMPLATE_PX, align_crops
from faceloop.vision.contract import EmbeddingContract
from faceloop.vision.fold import fold_model
from faceloop.vision.models import embedding_contract, open_detector, open_recogniser
from faceloop.vision.packs import load_pack
from faceloop.vision.recogniser import normalise

from .triton_world import (
    LONG_SIDE_PX,
    MAX_IOU,
    MIN_SCORE,
    Array,
    ask,
    builtin_detector,
    params,
    session,
    tiny_recogniser,
)

SIZES = ((512, 512), (300, 300), (777, 400), (1501, 1499), (641, 639), (1920, 1080))


def contract_of(colour: str = "RGB", mean: float = 0.0, std: float = 1.0) -> EmbeddingContract:
    return EmbeddingContract(
        pack_id="p", recogniser_sha256="0" * 64, alignment="arcface-112-5pt",
        colour="RGB" if colour == "RGB" else "BGR", mean=mean, std=std, dimension=4, precision="f32",
    )  # fmt: skip


def bgr(image_rgb: Array) -> Array:
    return np.ascontiguousarray(image_rgb[..., ::-1])


def sized(image_rgb: Array, wh: tuple[int, int]) -> Array:
    return np.asarray(cv2.resize(image_rgb, wh, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


@pytest.fixture(scope="module")
def aligner() -> object:
    return session(align_graph(contract_of()))


@pytest.fixture(scope="module")
def finder() -> object:
    return session(detect_graph(builtin_detector(), params().detect))


def test_a_picture_through_the_whole_ensemble_gives_the_embedding_that_the_platform_gives(
    tmp_path: Path, astronaut_rgb: Array
) -> None:
    pack = load_pack("builtin", accept_licence=None, insightface_root=None)
    assert pack.recogniser is not None
    path = tmp_path / "sface.onnx"
    path.write_bytes(fold_model(pack.recogniser.model_path.read_bytes(), free_axes=("N",)))
    served = ServedRecogniser(onnx_path=path, contract=embedding_contract(pack, precision="f32"))
    write_repository(tmp_path / "models", detector=builtin_detector(), recogniser=served, params=params())
    detector = open_detector(
        pack, engine="onnxruntime", precision="f32", threads=1, min_score=MIN_SCORE, max_iou=MAX_IOU
    )
    recogniser = open_recogniser(pack, engine="onnxruntime", precision="f32", threads=1, batch_size=8)
    for wh in ((512, 512), (1501, 1499)):
        picture = sized(astronaut_rgb, wh)
        answer = ask(tmp_path / "models", picture)
        found = detector.detect(bgr(picture), long_side_px=LONG_SIDE_PX)
        vectors = recogniser.embed(align_crops(bgr(picture), found.landmarks_px)).vectors
        assert len(found) == 1 == len(answer["SCORES"])
        assert float(vectors[0] @ answer["EMBEDDINGS"][0]) >= 0.999
        assert answer["CONTRACT"].tolist() == [[recogniser.contract.contract_id]]


@pytest.mark.parametrize("wh", SIZES)
def test_detection_as_a_graph_finds_what_the_platform_finds(
    finder: object, astronaut_rgb: Array, wh: tuple[int, int]
) -> None:
    picture = sized(astronaut_rgb, wh)
    picture[: wh[1] // 2, : wh[0] // 8] = 255
    pack = load_pack("builtin", accept_licence=None, insightface_root=None)
    platform = open_detector(
        pack, engine="onnxruntime", precision="f32", threads=1, min_score=MIN_SCORE, max_iou=MAX_IOU
    )
    found = platform.detect(bgr(picture), long_side_px=LONG_SIDE_PX)
    boxes, landmarks, scores = finder.run(["BOXES", "LANDMARKS", "SCORES"], {"IMAGE": picture})  # type: ignore[attr-defined]
    assert len(found) == len(scores) == 1
    per_px = max(1.0, max(wh) / LONG_SIDE_PX)  # what the network sees is so much smaller
    assert np.abs(found.boxes_xyxy_px - boxes).max() < 0.5 * per_px
    assert np.abs(found.landmarks_px - landmarks).max() < 0.3 * per_px
    assert np.abs(found.scores - scores).max() < 2e-3


def test_two_faces_come_best_first_and_no_more_than_asked_for(finder: object, astronaut_rgb: Array) -> None:
    pair = np.concatenate([astronaut_rgb, sized(astronaut_rgb, (512, 512))[:, ::-1]], axis=1)
    (scores,) = finder.run(["SCORES"], {"IMAGE": np.ascontiguousarray(pair)})  # type: ignore[attr-defined]
    assert len(scores) == 2 and scores[0] >= scores[1] >= MIN_SCORE


def test_a_picture_without_a_face_gives_one_row_of_score_zero_through_all_steps(tmp_path: Path) -> None:
    recogniser = tiny_recogniser(tmp_path)
    write_repository(tmp_path / "models", detector=builtin_detector(), recogniser=recogniser, params=params())
    answer = ask(tmp_path / "models", np.full((37, 53, 3), 7, np.uint8))
    assert answer["SCORES"].tolist() == [0.0]
    assert {name: len(rows) for name, rows in answer.items()} == dict.fromkeys(answer, 1)
    assert np.isfinite(answer["EMBEDDINGS"]).all()


@settings(max_examples=25)
@given(
    scale=st.floats(0.25, 4.0),
    angle=st.floats(-np.pi, np.pi),
    shift=st.tuples(st.floats(-40, 550), st.floats(-40, 550)),
    bend=st.lists(st.floats(-3, 3), min_size=10, max_size=10),
)
def test_alignment_as_a_graph_cuts_the_crop_of_the_platform_to_a_grey_level(
    aligner: object, astronaut_rgb: Array, scale: float, angle: float, shift: tuple[float, float], bend: list[float]
) -> None:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (ARCFACE_TEMPLATE_PX - 56.0) @ turn.T + np.array(shift) + scale * np.reshape(bend, (5, 2))
    landmarks = np.stack([points, ARCFACE_TEMPLATE_PX]).astype(np.float32)
    expected = align_crops(bgr(astronaut_rgb), landmarks).astype(np.float32)
    (crops,) = aligner.run(None, {"IMAGE": astronaut_rgb, "LANDMARKS": landmarks})  # type: ignore[attr-defined]
    difference = np.abs(crops.transpose(0, 2, 3, 1) - expected)
    # A coordinate on the edge between two steps of 1/32 px may fall either way: a few pixels of 12,544.
    assert np.mean(difference > 1) < 0.003 and difference.mean() < 0.02


def test_crops_are_normalised_and_ordered_as_the_recogniser_wants_them(astronaut_rgb: Array) -> None:
    contract = contract_of("BGR", mean=127.5, std=128.0)
    landmarks = ARCFACE_TEMPLATE_PX[None] + np.float32(150)
    crops = align_crops(bgr(astronaut_rgb), landmarks)
    (fed,) = session(align_graph(contract)).run(None, {"IMAGE": astronaut_rgb, "LANDMARKS": landmarks})
    assert np.abs(fed - normalise(crops, contract)).max() <= 1.001 / 128.0


def test_landmarks_on_one_point_give_a_crop_of_numbers(aligner: object, astronaut_rgb: Array) -> None:
    landmarks = np.full((1, 5, 2), 9.0, np.float32)
    (crops,) = aligner.run(None, {"IMAGE": astronaut_rgb, "LANDMARKS": landmarks})  # type: ignore[attr-defined]
    assert np.isfinite(crops).all()


def test_vectors_become_unit_vectors_and_those_without_direction_become_zero() -> None:
    vectors = np.array([[3, 0, 4, 0], [0, 0, 0, 0], [np.nan, 1, 1, 1], [np.inf, 0, 0, 0]], np.float32)
    unit, contract = session(unit_graph(contract_of())).run(["EMBEDDINGS", "CONTRACT"], {"VECTORS": vectors})
    assert np.allclose(unit[0], [0.6, 0, 0.8, 0])
    assert not unit[1:].any()
    assert contract.tolist() == [[contract_of().contract_id]] * 4


def test_equal_parameters_give_equal_bytes() -> None:
    spec = builtin_detector()
    assert detect_graph(spec, params().detect) == detect_graph(spec, params().detect)
    assert align_graph(contract_of()) == align_graph(contract_of())
    assert unit_graph(contract_of()) == unit_graph(contract_of())
