"""Label Studio's percent units and px of the frame, both ways, in this one place.

A picture shows a frame, or a part of it, at any scale. Label Studio gives places in it as percent of the picture's own
width and height, from its upper left corner, beside the size in px that its browser found (`original_width` …).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from facestore.errors import DataError
from facestore.ids import JsonValue

Box = tuple[float, float, float, float]  # x1, y1, x2, y2, px of the frame as displayed
Point = tuple[float, float]  # x, y, px of the frame as displayed
_SLACK_PERCENT = 1.0  # a region that sticks out of its picture by less is cut off there


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The part of a frame that a picture shows, px of the frame. Raises DataError for one without an area."""

    x1: float
    y1: float
    x2: float
    y2: float

    def __post_init__(self) -> None:
        edges = (self.x1, self.y1, self.x2, self.y2)
        if not all(math.isfinite(edge) for edge in edges) or self.x2 <= self.x1 or self.y2 <= self.y1:
            raise DataError(f"a picture that shows {edges} px of its frame shows nothing; ask with another view")

    @property
    def width(self) -> float:
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        return self.y2 - self.y1

    def cut(self, box: Box) -> Box | None:
        """The part of a box that the picture shows; None where it shows nothing of it."""
        x1, y1 = max(box[0], self.x1), max(box[1], self.y1)
        x2, y2 = min(box[2], self.x2), min(box[3], self.y2)
        return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None

    def nearest(self, point: Point) -> Point:
        """The point, or the nearest one that the picture shows."""
        return min(max(point[0], self.x1), self.x2), min(max(point[1], self.y1), self.y2)


def sizes(view: View) -> dict[str, JsonValue]:
    """What Label Studio wants to be told of the picture beside every region."""
    return {"original_width": round(view.width), "original_height": round(view.height), "image_rotation": 0}


def rectangle_value(box: Box, view: View) -> dict[str, JsonValue]:
    """A box as a region's value, in percent."""
    x, y = _percent((box[0], box[1]), view)
    return {
        "x": x,
        "y": y,
        "width": 100 * (box[2] - box[0]) / view.width,
        "height": 100 * (box[3] - box[1]) / view.height,
        "rotation": 0,
    }


def keypoint_value(point: Point, view: View, *, width: float) -> dict[str, JsonValue]:
    """A point as a region's value, in percent; `width` of its dot in percent too."""
    x, y = _percent(point, view)
    return {"x": x, "y": y, "width": width}


def read_rectangle(region: Mapping[str, JsonValue], view: View) -> Box:
    """The box of a rectangle that came back, inside the view. Raises DataError for a turned or swapped one, one outside
    of the picture, one of another picture, and for numbers that are missing or none."""
    value = _value(region, view)
    if abs(_number(value, "rotation", 0.0)) > 1e-6:
        raise DataError(f"a box is turned by {_number(value, 'rotation'):g}°; draw it upright")
    x, y, width, height = (_number(value, name) for name in ("x", "y", "width", "height"))
    if width <= 0 or height <= 0:
        raise DataError(f"a box is {width:g} × {height:g} % of its picture; draw it from its upper left corner")
    x1, y1 = _inside((x, y), view)
    x2, y2 = _inside((x + width, y + height), view)
    if x1 >= x2 or y1 >= y2:
        raise DataError("a box lies outside of its picture; draw it around the face")
    return x1, y1, x2, y2


def read_keypoint(region: Mapping[str, JsonValue], view: View) -> Point:
    """The point of a key point that came back, inside the view. Raises DataError as `read_rectangle` does."""
    value = _value(region, view)
    return _inside((_number(value, "x"), _number(value, "y")), view)


def _percent(point: Point, view: View) -> Point:
    return 100 * (point[0] - view.x1) / view.width, 100 * (point[1] - view.y1) / view.height


def _inside(percent: Point, view: View) -> Point:
    for place in percent:
        if not -_SLACK_PERCENT <= place <= 100 + _SLACK_PERCENT:
            raise DataError(f"a region reaches {place:g} % of its picture; 0 to 100 is inside of it")
    x, y = view.x1 + percent[0] * view.width / 100, view.y1 + percent[1] * view.height / 100
    return view.nearest((x, y))


def _value(region: Mapping[str, JsonValue], view: View) -> Mapping[str, JsonValue]:
    if _number(region, "image_rotation") != 0:
        raise DataError(
            f"the picture was turned by {_number(region, 'image_rotation'):g}°; turn it back and answer again"
        )
    width, height = _number(region, "original_width"), _number(region, "original_height")
    if min(width, height) <= 0 or abs(width * view.height - height * view.width) > view.width + view.height:
        raise DataError(
            f"a region of a picture of {width:g} × {height:g} px; the question shows "
            f"{view.width:g} × {view.height:g} px of its frame: push it again"
        )
    value = region.get("value")
    if not isinstance(value, dict):
        raise DataError("a region has no value; answer again")
    return value


def _number(found: Mapping[str, JsonValue], name: str, absent: float | None = None) -> float:
    number = found.get(name, absent)
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise DataError(f"{name} of a region is {number!r}, no number; answer again")
    return float(number)
