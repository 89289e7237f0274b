"""Tracklets: every face gets its final record once; crops in memory stay few; the best shots are kept."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceloop.vision.tracklets import ClosedTracklet, Shot, TrackletBook
from facestore.ids import tracklet_id
from facestore.records import Face

FACE = Face(
    face_id="",
    footage_id="f",
    subset="s",
    pts_ms=0,
    bbox=(0.0, 0.0, 10.0, 10.0),
    landmarks=(0.0,) * 10,
    det_score=0.9,
    tracklet_id="",
    is_best_shot=False,
    size_px=10.0,
    sharpness=0.5,
    brightness=0.5,
    contrast=0.2,
    yaw=0.0,
    pitch=0.0,
    roll=0.0,
    occlusion=0.0,
    quality=0.5,
    crop_key=None,
    detector="d",
    rejected=None,
)
SHOT = Shot(aligned_rgb=np.zeros((112, 112, 3), np.uint8), context_rgb=np.zeros((8, 8, 3), np.uint8))
SIGHTS = st.lists(
    st.tuples(st.integers(0, 3), st.booleans(), st.floats(0, 1), st.floats(-60, 60), st.integers(1, 400)), max_size=60
)
Sight = tuple[int, bool, float, float, int]


def _close_all(sights: list[Sight], *, count: int = 2, max_tracklet_s: float = 4.0) -> list[ClosedTracklet]:
    book = TrackletBook(batch="b000", best_shot_count=count, max_tracklet_s=max_tracklet_s)
    closed: list[ClosedTracklet] = []
    now_ms = 0
    for order, (number, is_kept, quality, yaw, gap_ms) in enumerate(sights):
        now_ms += gap_ms
        reason = None if is_kept else "too_small"
        face = replace(FACE, face_id=f"f{order}", pts_ms=now_ms, quality=quality, yaw=yaw, rejected=reason)
        closed += book.add(number, face, SHOT if is_kept else None)
        assert all(len(current.pool) <= 4 * count for current in book._open.values())
    return [*closed, *book.close_all_but(set())]


@given(sights=SIGHTS, count=st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_every_face_is_closed_once_with_its_tracklet_and_few_best_shots(sights: list[Sight], count: int) -> None:
    closed = _close_all(sights, count=count)
    ids = [face.face_id for tracklet in closed for face in tracklet.faces]
    assert sorted(ids) == sorted(f"f{order}" for order in range(len(sights)))
    names = set()
    for tracklet in closed:
        (name,) = {face.tracklet_id for face in tracklet.faces}
        assert name == tracklet_id(tracklet.faces[0].face_id)
        assert name not in names
        names.add(name)
        times = [face.pts_ms for face in tracklet.faces]
        assert times == sorted(times)
        assert times[-1] - times[0] <= 4000
        best = {face.face_id for face in tracklet.faces if face.is_best_shot}
        usable = [face for face in tracklet.faces if face.rejected is None]
        assert best == set(tracklet.shots)
        assert len(best) == min(count, len(usable))
        assert best <= {face.face_id for face in usable}
        for face in tracklet.faces:
            assert face.crop_key == (f"b000/{face.face_id}" if face.is_best_shot else None)


@given(sights=SIGHTS)
@settings(deadline=None, max_examples=20)
def test_the_same_faces_give_the_same_tracklets(sights: list[Sight]) -> None:
    first, second = _close_all(sights), _close_all(sights)
    assert [(t.faces, sorted(t.shots)) for t in first] == [(t.faces, sorted(t.shots)) for t in second]


def test_the_best_face_of_a_long_tracklet_survives_the_pool() -> None:
    sights = [(0, True, 0.9 if order == 3 else 0.2 + order / 1000, 0.0, 10) for order in range(100)]
    (tracklet,) = _close_all(sights)
    assert "f3" in tracklet.shots


def test_only_tracklets_that_ended_are_closed() -> None:
    book = TrackletBook(batch="b", best_shot_count=1, max_tracklet_s=9.0)
    for number in (0, 1):
        assert list(book.add(number, replace(FACE, face_id=f"f{number}"), SHOT)) == []
    (closed,) = book.close_all_but({1})
    assert closed.faces[0].face_id == "f0"
    assert list(book.close_all_but({1})) == []


@pytest.mark.parametrize("max_tracklet_s", [0.5, 1.0])
def test_a_long_tracklet_is_closed_in_time(max_tracklet_s: float) -> None:
    closed = _close_all([(0, True, 0.5, 0.0, 100)] * 50, max_tracklet_s=max_tracklet_s)
    assert len(closed) == pytest.approx(5.0 / max_tracklet_s, abs=2)
