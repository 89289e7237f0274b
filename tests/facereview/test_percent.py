import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facereview.percent import View, keypoint_value, read_keypoint, read_rectangle, rectangle_value, sizes
from facestore.errors import DataError
from facestore.ids import JsonValue

FRAME = View(x1=0, y1=0, x2=1920, y2=1080)
SHARE = st.floats(0, 1)


@st.composite
def views(draw: st.DrawFn) -> View:
    x1, y1 = draw(st.integers(0, 8000)), draw(st.integers(0, 8000))
    return View(x1=x1, y1=y1, x2=x1 + draw(st.integers(20, 8000)), y2=y1 + draw(st.integers(20, 8000)))


def _region(view: View = FRAME, **changes: JsonValue) -> dict[str, JsonValue]:
    """A box in the middle of the view; `changes` go into the value where it has such a number."""
    value = rectangle_value((view.x1 + 0.2 * view.width, view.y1 + 0.2 * view.height, view.x2, view.y2), view)
    outside = {name: changes.pop(name) for name in [*changes] if name not in value}
    return {"value": {**value, **changes}, **sizes(view), **outside}


@given(view=views(), left=SHARE, top=SHARE, width=st.floats(0.001, 1), height=st.floats(0.001, 1))
def test_a_box_survives_the_way_to_percent_and_back_within_a_hundredth_of_a_px(
    view: View, left: float, top: float, width: float, height: float
) -> None:
    x1, y1 = view.x1 + left * view.width * 0.99, view.y1 + top * view.height * 0.99
    box = (x1, y1, x1 + width * (view.x2 - x1), y1 + height * (view.y2 - y1))
    found = read_rectangle({"value": rectangle_value(box, view), **sizes(view)}, view)
    assert max(abs(a - b) for a, b in zip(found, box, strict=True)) < 0.01


@given(view=views(), across=SHARE, down=SHARE)
def test_a_point_survives_the_way_to_percent_and_back_within_a_hundredth_of_a_px(
    view: View, across: float, down: float
) -> None:
    point = (view.x1 + across * view.width, view.y1 + down * view.height)
    found = read_keypoint({"value": keypoint_value(point, view, width=1), **sizes(view)}, view)
    assert math.dist(found, point) < 0.01


@given(view=views(), percent=st.tuples(*[st.floats(-1e9, 1e9) for _ in range(4)]))
def test_whatever_is_read_lies_in_the_picture_and_has_an_area(view: View, percent: tuple[float, ...]) -> None:
    value: Mapping[str, JsonValue] = dict(zip(("x", "y", "width", "height"), percent, strict=True))
    try:
        x1, y1, x2, y2 = read_rectangle(_region(view, **value), view)
    except DataError:
        return
    assert view.x1 <= x1 < x2 <= view.x2
    assert view.y1 <= y1 < y2 <= view.y2


def test_percent_count_from_the_upper_left_corner_of_what_the_picture_shows() -> None:
    view = View(x1=100, y1=200, x2=300, y2=600)
    assert rectangle_value((150, 300, 200, 500), view) == {"x": 25, "y": 25, "width": 25, "height": 50, "rotation": 0}
    assert keypoint_value((200, 600), view, width=0.8) == {"x": 50, "y": 100, "width": 0.8}
    assert sizes(view) == {"original_width": 200, "original_height": 400, "image_rotation": 0}


def test_a_picture_served_smaller_than_its_frame_reads_the_same() -> None:
    whole = read_rectangle(_region(), FRAME)
    assert read_rectangle(_region(original_width=1280, original_height=720), FRAME) == whole
    assert read_rectangle(_region(original_width=1366, original_height=768), FRAME) == whole  # 768.375, rounded


def test_a_box_that_sticks_out_by_a_hair_is_cut_off_at_the_edge() -> None:
    x1, y1, x2, y2 = read_rectangle(_region(x=-0.5, y=-0.5, width=100.9, height=50), FRAME)
    assert (x1, y1, x2) == (0, 0, 1920)
    assert y2 == pytest.approx(0.495 * 1080)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rotation": 12.5}, "turned by 12.5°"),
        ({"rotation": None}, "rotation of a region is None"),
        ({"image_rotation": 90}, "picture was turned by 90°"),
        ({"original_width": None}, "original_width of a region is None"),
        ({"original_width": 0, "original_height": 0}, "picture of 0 × 0 px"),
        ({"original_width": 1080, "original_height": 1920}, "picture of 1080 × 1920 px"),
        ({"x": float("nan")}, "x of a region is nan"),
        ({"y": float("inf")}, "y of a region is inf"),
        ({"x": "12"}, "x of a region is '12'"),
        ({"x": True}, "x of a region is True"),
        ({"width": -10}, "draw it from its upper left corner"),
        ({"height": 0}, "draw it from its upper left corner"),
        ({"x": 192.0}, "reaches 192 %"),
        ({"x": 60, "width": 60}, "reaches 120 %"),
        ({"x": 100.2, "width": 0.5}, "outside of its picture"),
        ({"value": None}, "has no value"),
    ],
)
def test_a_region_that_its_screen_cannot_make_is_refused_with_its_reason(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_rectangle(_region(**changes), FRAME)


@pytest.mark.parametrize("missing", ["original_width", "original_height", "image_rotation"])
def test_a_region_without_its_sizes_is_refused(missing: str) -> None:
    region = {name: number for name, number in _region().items() if name != missing}
    with pytest.raises(DataError, match=missing):
        read_keypoint(region, FRAME)


def test_what_lies_outside_of_a_view_is_not_shown_and_what_sticks_out_is_cut() -> None:
    view = View(x1=100, y1=100, x2=200, y2=200)
    assert view.cut((0, 120, 150, 260)) == (100, 120, 150, 200)
    assert view.cut((0, 0, 100, 150)) is None
    assert view.nearest((90, 150)) == (100, 150)


@pytest.mark.parametrize("edges", [(0, 0, 0, 10), (10, 0, 5, 10), (0, 0, float("nan"), 10), (0, 0, 10, float("inf"))])
def test_a_view_that_shows_nothing_is_refused(edges: tuple[float, float, float, float]) -> None:
    with pytest.raises(DataError, match="shows nothing"):
        View(x1=edges[0], y1=edges[1], x2=edges[2], y2=edges[3])
