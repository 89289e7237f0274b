from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facereview.answers.claims import claims_of
from facereview.kinds import (
    Attributes,
    AttributesAnswer,
    AttributeValue,
    Boxes,
    BoxesAnswer,
    FaceBox,
    Landmarks,
    LandmarksAnswer,
    Prediction,
    Strip,
    Subject,
    ask,
)
from facereview.pictures import FacePicture, FramePicture, Picture
from facereview.schema import AttributeField, AttributeSchema
from facereview.screens import label_config, prediction, read_answer, task_data
from facereview.screens.attributes import hotkeys
from facereview.screens.boxes import is_moved
from facereview.screens.landmarks import POINT_NAMES
from facestore.errors import DataError
from facestore.ids import JsonValue
from facestore.questions import KINDS, Question, QuestionKind

SCHEMA = AttributeSchema(
    fields=(
        AttributeField(name="age_band", title="Age", values=("child", "adult", "old")),
        AttributeField(name="gaze", title="Gaze <&>", values=("at_camera", "elsewhere")),
    )
)
FRAME = Boxes(
    footage_id="f" * 64,
    pts_ms=40,
    width=1000,
    height=500,
    boxes=(
        FaceBox(face_id="left", bbox=(100, 100, 200, 220)),
        FaceBox(face_id="right", bbox=(700, 100, 800, 200)),
        FaceBox(face_id="edge", bbox=(950, 400, 1040, 520)),
    ),
)
POINTS = Landmarks(
    face_id="a",
    footage_id="f" * 64,
    pts_ms=40,
    view=(400, 100, 600, 300),
    points=(460, 180, 540, 180, 500, 220, 470, 250, 530, 250),
)
FACE = Attributes(
    strip=Strip(face_ids=("a", "b")),
    predictions=(
        Prediction(name="age_band", value="adult", score=0.7),
        Prediction(name="age_band", value="old", score=0.2),
        Prediction(name="gaze", value="at_camera", score=0.95),
        Prediction(name="hair", value="red", score=1.0),
    ),
)


def _question(subject: Subject) -> Question:
    return ask(subject, subset="gate", reason="low_score", model_version="m 1", chance=0.8, gain=1, seconds=5)


def _tree(config: str) -> ElementTree.Element:
    return ElementTree.fromstring(config)  # noqa: S314, it is our own


def _filled_in(subject: Subject) -> list[dict[str, Any]]:
    """What the annotator finds, as the tool hands it back when nothing is touched."""
    return [dict(entry) for entry in prediction(_question(subject), SCHEMA).result if isinstance(entry, dict)]


def _read(subject: Subject, result: Sequence[JsonValue]) -> Any:
    return read_answer(_question(subject), result, SCHEMA)


def _drawn(x: float, y: float, width: float, height: float, region_id: str = "new1") -> dict[str, Any]:
    """A rectangle on FRAME, in percent, as Label Studio writes one."""
    return {
        "id": region_id,
        "from_name": "face",
        "to_name": "frame",
        "type": "rectangle",
        "origin": "manual",
        "original_width": 1000,
        "original_height": 500,
        "image_rotation": 0,
        "value": {"x": x, "y": y, "width": width, "height": height, "rotation": 0},
    }


@pytest.mark.parametrize("kind", KINDS)
def test_every_config_is_xml_and_no_key_answers_twice(kind: QuestionKind) -> None:
    tree = _tree(label_config(kind, SCHEMA))
    keys = [tag.get("hotkey") for tag in tree.iter() if tag.get("hotkey")]
    names = [tag.get("name") for tag in tree.iter() if tag.get("name")]
    assert len(set(keys)) == len(keys)
    assert len(set(names)) == len(names)


def test_attribute_config_offers_the_values_of_the_schema_under_its_titles() -> None:
    tree = _tree(label_config("attributes", SCHEMA))
    groups = {group.get("name"): [choice.get("alias") for choice in group] for group in tree.iter("Choices")}
    assert groups == {
        "attribute_age_band": ["child", "adult", "old"],
        "attribute_gaze": ["at_camera", "elsewhere"],
        "verdict": ["unusable"],
    }
    assert [header.get("value") for header in tree.iter("Header")] == ["What do you see?", "Age", "Gaze <&>", "or"]
    assert "at camera" in {choice.get("value") for choice in tree.iter("Choice")}


@given(st.lists(st.integers(2, 12), max_size=9))
def test_keys_of_any_schema_collide_neither_with_each_other_nor_with_those_that_are_taken(sizes: list[int]) -> None:
    fields = tuple(
        AttributeField(name=f"f{place}", title="T", values=tuple(f"v{value}" for value in range(size)))
        for place, size in enumerate(sizes)
    )
    keys = hotkeys(AttributeSchema(fields=fields))
    assert len(set(keys.values())) == len(keys) == min(sum(sizes), 34)
    assert not {"0", "u"} & {*keys.values()}


def test_small_fields_start_on_a_row_that_holds_them() -> None:
    fields = tuple(
        AttributeField(name=name, title=name, values=tuple(f"v{n}" for n in range(size)))
        for name, size in (("age", 7), ("gender", 3), ("mood", 6), ("gaze", 3))
    )
    keys = hotkeys(AttributeSchema(fields=fields))
    rows = {name: "".join(key for (field, _), key in keys.items() if field == name) for name, _ in [*keys]}
    assert rows == {"age": "1234567", "gender": "qwe", "mood": "rtyiop", "gaze": "asd"}


def test_keys_of_a_field_lie_side_by_side_if_that_can_be_had_at_all() -> None:
    sizes = (5, 3, 7, 3, 5, 5, 4)
    fields = tuple(
        AttributeField(name=f"f{place}", title="T", values=tuple(f"v{n}" for n in range(size)))
        for place, size in enumerate(sizes)
    )
    keys = hotkeys(AttributeSchema(fields=fields))
    for field in fields:
        row = "".join(keys[field.name, value] for value in field.values)
        assert any(row in whole for whole in ("123456789", "qwertyiop", "asdfghjkl", "zxcvbnm"))


def test_attributes_are_filled_in_with_the_surest_guess_that_the_schema_knows() -> None:
    draft = prediction(_question(FACE), SCHEMA)
    assert [(entry["from_name"], entry["value"]["choices"], entry["score"]) for entry in _filled_in(FACE)] == [
        ("attribute_age_band", ["adult"], 0.7),
        ("attribute_gaze", ["at_camera"], 0.95),
    ]
    assert (draft.model_version, draft.score) == ("m 1", 0.8)


def test_doubtful_guesses_are_marked_and_attributes_without_a_guess_have_no_score() -> None:
    urls: dict[Picture, str] = {FacePicture(face_id=face): f"/{face}.jpg" for face in ("a", "b")}
    assert task_data(_question(FACE), urls, SCHEMA)["scores"] == ["<b>70%</b>", "95%"]
    blank = Attributes(strip=FACE.strip, predictions=())
    assert task_data(_question(blank), urls, SCHEMA)["scores"] == ["", ""]


def test_guesses_that_were_left_standing_are_said_too() -> None:
    result = _filled_in(FACE)
    result[0]["value"] = {"choices": ["old"]}
    answer = _read(FACE, result)
    assert answer == AttributesAnswer(
        verdict="described",
        values=(AttributeValue(name="age_band", value="old"), AttributeValue(name="gaze", value="at_camera")),
    )
    assert [claim.chance for claim in claims_of(FACE, answer)] == [0.2, 0.95]


def test_an_attribute_that_was_unticked_is_not_said() -> None:
    assert _read(FACE, _filled_in(FACE)[1:]).values == (AttributeValue(name="gaze", value="at_camera"),)


def test_of_an_unusable_face_nothing_is_said() -> None:
    unusable: JsonValue = {
        "id": "x",
        "from_name": "verdict",
        "to_name": "why",
        "type": "choices",
        "value": {"choices": ["unusable"]},
    }
    assert _read(FACE, [*_filled_in(FACE), unusable]) == AttributesAnswer(verdict="unusable")


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        (["old", "child"], "at once"),
        (["ancient"], "it can say"),
        ([], "nothing is ticked"),
        ("old", "holds no choices"),
    ],
)
def test_attributes_that_the_screen_cannot_say_are_refused(choices: Any, says: str) -> None:
    result = _filled_in(FACE)[:1]
    result[0]["value"] = {"choices": choices}
    with pytest.raises(DataError, match=says):
        _read(FACE, result)


def test_an_attribute_of_another_schema_is_refused() -> None:
    result = _filled_in(FACE)
    result[0]["from_name"] = "attribute_hair"
    with pytest.raises(DataError, match="attribute_hair"):
        _read(FACE, result)


def test_boxes_that_nobody_touched_are_right() -> None:
    assert _read(FRAME, _filled_in(FRAME)) == BoxesAnswer(wrong=(), moved=(), missed=())


def test_a_box_that_sticks_out_of_the_frame_is_drawn_as_far_as_the_frame_goes() -> None:
    (edge,) = (entry["value"] for entry in _filled_in(FRAME) if entry["id"] == "box2")
    assert (edge["x"] + edge["width"], edge["y"] + edge["height"]) == (100, 100)
    outside = Boxes(
        footage_id="f" * 64, pts_ms=0, width=100, height=100, boxes=(FaceBox(face_id="o", bbox=(120, 0, 140, 9)),)
    )
    assert _filled_in(outside) == []
    assert _read(outside, []) == BoxesAnswer(wrong=(), moved=(), missed=())


def test_faces_do_not_leave_for_the_labelling_tool() -> None:
    leaving = str([_filled_in(subject) for subject in (FRAME, POINTS)])
    assert not [face_id for face_id in ("left", "right", "edge", "f" * 64) if f"'{face_id}'" in leaving]


def test_deleted_is_wrong_and_new_is_missed() -> None:
    kept = [entry for entry in _filled_in(FRAME) if entry["id"] != "box0"]
    assert _read(FRAME, [_drawn(40, 20, 10, 30), *kept]) == BoxesAnswer(
        wrong=("left",), moved=(), missed=((400, 100, 500, 250),)
    )


@pytest.mark.parametrize(("shift_px", "is_moved_now"), [(1.9, False), (2.1, True)])
def test_two_px_of_a_face_of_a_hundred_are_a_move(shift_px: float, is_moved_now: bool) -> None:
    result = _filled_in(FRAME)
    result[1]["value"]["x"] += shift_px / 10
    moved = _read(FRAME, result).moved
    assert [box.face_id for box in moved] == (["right"] if is_moved_now else [])
    if is_moved_now:
        assert moved[0].bbox == pytest.approx((702.1, 100, 802.1, 200))


def test_two_percent_of_a_large_box_are_no_move() -> None:
    before = (0.0, 0.0, 1000.0, 200.0)
    assert not is_moved(before, (19.9, 0, 1000, 200))
    assert is_moved(before, (20.1, 0, 1000, 200))
    assert is_moved(before, (0, 4.1, 1000, 200))


def test_deleted_and_drawn_anew_over_the_same_face_is_moved() -> None:
    """Else a face would be called none, and the face that it is would be another."""
    kept = [entry for entry in _filled_in(FRAME) if entry["id"] != "box0"]
    answer = _read(FRAME, [*kept, _drawn(9.5, 19, 10, 24)])
    assert (answer.wrong, answer.missed) == ((), ())
    assert [(box.face_id, box.bbox) for box in answer.moved] == [("left", pytest.approx((95, 95, 195, 215)))]


def test_two_boxes_around_one_face_are_refused() -> None:
    with pytest.raises(DataError, match="around one face"):
        _read(FRAME, [*_filled_in(FRAME), _drawn(70, 20, 10, 20)])
    with pytest.raises(DataError, match="around one face"):
        _read(FRAME, [*_filled_in(FRAME), _drawn(40, 20, 10, 20, "n1"), _drawn(40, 20, 10, 20, "n2")])


def test_two_boxes_that_the_detector_laid_around_one_face_may_stay() -> None:
    twice = Boxes(
        footage_id="f" * 64,
        pts_ms=0,
        width=977,
        height=333,
        boxes=tuple(FaceBox(face_id=face, bbox=(10.1, 20.3, 77.7, 99.9)) for face in ("a", "b")),
    )
    assert _read(twice, _filled_in(twice)) == BoxesAnswer(wrong=(), moved=(), missed=())


@given(order=st.permutations(range(5)))
def test_boxes_read_the_same_in_any_order(order: list[int]) -> None:
    result = [
        *_filled_in(FRAME)[1:],
        _drawn(40, 20, 10, 30),
        _drawn(10, 22, 10, 24, "new2"),
        _drawn(1, 1, 5, 5, "new3"),
    ]
    assert _read(FRAME, [result[place] for place in order]) == _read(FRAME, result)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"id": "box1"}, "comes twice"),
        ({"id": None}, "missing or comes twice"),
        ({"type": "ellipse"}, "restore its config"),
        ({"from_name": "other"}, "restore its config"),
        ({"value": {"x": 50, "y": 50, "width": 0.3, "height": 20, "rotation": 0}}, "holds no face"),
        ({"value": {"x": 50, "y": 50, "width": 9, "height": 20, "rotation": 30}}, "turned"),
        ({"original_width": 500, "original_height": 1000}, "push it again"),
    ],
)
def test_a_box_that_the_screen_cannot_draw_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        _read(FRAME, [*_filled_in(FRAME), {**_drawn(40, 20, 10, 30), **change}])


def test_a_result_that_is_no_list_of_regions_is_refused() -> None:
    with pytest.raises(DataError, match="by hand"):
        _read(FRAME, ["face"])


def test_points_that_nobody_dragged_are_where_the_detector_put_them() -> None:
    answer = _read(POINTS, _filled_in(POINTS))
    assert answer.verdict == "placed"
    assert answer.points == pytest.approx(POINTS.points)


def test_a_point_is_known_by_its_label_in_any_order_and_lies_in_px_of_the_frame() -> None:
    result = _filled_in(POINTS)[::-1]
    (nose,) = (entry for entry in result if entry["value"]["keypointlabels"] == ["nose"])
    nose["id"], nose["value"] = "anew", {**nose["value"], "x": 55, "y": 65}
    points = list(POINTS.points)
    points[4:6] = (510, 230)
    assert _read(POINTS, result).points == pytest.approx(points)


def test_a_point_that_the_picture_does_not_show_is_laid_at_its_edge() -> None:
    outside = Landmarks(
        face_id="a", footage_id="f" * 64, pts_ms=0, view=(400, 100, 600, 300), points=(380, 180, *POINTS.points[2:])
    )
    assert _filled_in(outside)[0]["value"]["x"] == 0


def test_an_unusable_face_needs_no_points() -> None:
    unusable: JsonValue = {
        "id": "x",
        "from_name": "verdict",
        "to_name": "face",
        "type": "choices",
        "value": {"choices": ["unusable"]},
    }
    assert _read(POINTS, [unusable]) == LandmarksAnswer(verdict="unusable")
    assert _read(POINTS, [*_filled_in(POINTS), unusable]) == LandmarksAnswer(verdict="unusable")


def test_points_that_are_missing_doubled_or_unknown_are_refused() -> None:
    four, doubled, unknown = (_filled_in(POINTS) for _ in range(3))
    del four[1]
    doubled[1]["value"]["keypointlabels"] = ["left eye"]
    unknown[1]["value"]["keypointlabels"] = ["ear"]
    for result, says in (
        (four, "right eye is not marked"),
        (doubled, "left eye is marked twice"),
        (unknown, "labelled"),
    ):
        with pytest.raises(DataError, match=says):
            _read(POINTS, result)


def test_labels_of_the_points_are_those_of_the_config() -> None:
    tree = _tree(label_config("landmarks", SCHEMA))
    assert tuple(label.get("value") for label in tree.iter("Label")) == POINT_NAMES


def test_a_question_with_four_points_cannot_be_shown() -> None:
    four = Landmarks(face_id="a", footage_id="f" * 64, pts_ms=0, view=(0, 0, 9, 9), points=POINTS.points[:8])
    with pytest.raises(DataError, match="4 points"):
        prediction(_question(four), SCHEMA)


def test_a_frame_goes_by_its_address_and_one_without_an_address_is_refused() -> None:
    whole = FramePicture(footage_id="f" * 64, pts_ms=40)
    cut_out = FramePicture(footage_id="f" * 64, pts_ms=40, view=POINTS.view)
    assert task_data(_question(FRAME), {whole: "/w.jpg"}, SCHEMA)["frame"] == "/w.jpg"
    assert task_data(_question(POINTS), {cut_out: "/c.jpg"}, SCHEMA)["face"] == "/c.jpg"
    for subject in (FRAME, POINTS):
        with pytest.raises(DataError, match="on the shelf"):
            task_data(_question(subject), {}, SCHEMA)
