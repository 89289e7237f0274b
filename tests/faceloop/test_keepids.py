"""Face ids that survive: the same face keeps its id, and no id is given twice."""

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from faceloop.boxes import pairwise_iou
from faceloop.vision.keepids import EarlierFaces, read_earlier_faces
from facestore.ids import face_id

BOXES = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 300), st.integers(12, 90), st.integers(12, 90)), max_size=5
).map(lambda rows: np.array([(x, y, x + w, y + h) for x, y, w, h in rows], dtype=np.float32).reshape(-1, 4))


def _earlier(boxes: NDArray[np.float32]) -> EarlierFaces:
    return EarlierFaces(
        by_moment={("f", 40): [(f"old{row}", box) for row, box in enumerate(boxes)]} if len(boxes) else {}
    )


def test_a_box_that_overlaps_half_keeps_the_earlier_id() -> None:
    old = np.array([[0, 0, 60, 60]], dtype=np.float32)
    half = np.array([[0, 20, 60, 80]], dtype=np.float32)  # IoU exactly 0.5
    less = np.array([[0, 21, 60, 81]], dtype=np.float32)
    assert _earlier(old).ids_of("f", 40, half, "d") == ["old0"]
    assert _earlier(old).ids_of("f", 40, less, "d") == [face_id("f", 40, "d", less[0].tolist())]


def test_another_time_or_footage_keeps_nothing() -> None:
    box = np.array([[0, 0, 60, 60]], dtype=np.float32)
    assert _earlier(box).ids_of("f", 41, box, "d") != ["old0"]
    assert _earlier(box).ids_of("g", 40, box, "d") != ["old0"]


def test_two_weak_overlaps_do_not_outweigh_a_strong_one() -> None:
    old = np.array([[0, 0, 100, 100], [69, 0, 169, 100]], dtype=np.float32)
    new = np.array([[33, 0, 133, 100], [-36, 0, 64, 100]], dtype=np.float32)
    overlap = pairwise_iou(new, old)
    assert overlap[0, 0] > 0.5 > max(overlap[0, 1], overlap[1, 0])
    assert overlap[0, 1] + overlap[1, 0] > overlap[0, 0] + overlap[1, 1]
    assert _earlier(old).ids_of("f", 40, new, "d")[0] == "old0"


@given(old=BOXES, new=BOXES)
@settings(deadline=None, max_examples=80)
def test_ids_are_given_once_and_only_to_what_overlaps(old: NDArray[np.float32], new: NDArray[np.float32]) -> None:
    ids = _earlier(old).ids_of("f", 40, new, "d")
    kept = [name for name in ids if name.startswith("old")]
    assert len(kept) == len(set(kept))
    overlap = pairwise_iou(new, old) if len(old) and len(new) else np.zeros((len(new), len(old)))
    for row, name in enumerate(ids):
        if name.startswith("old"):
            assert overlap[row, int(name[3:])] >= 0.5
        else:
            assert name == face_id("f", 40, "d", new[row].tolist())
    strong = overlap >= 0.5
    for row, column in zip(*np.nonzero(strong), strict=True):  # a pair that could keep its id is not left over
        assert f"old{column}" in kept or ids[row].startswith("old")


def test_without_an_earlier_run_there_is_nothing_to_keep(tmp_path: Path) -> None:
    assert read_earlier_faces(None, {"f"}).by_moment == {}
    assert read_earlier_faces(tmp_path, {"f"}).by_moment == {}
