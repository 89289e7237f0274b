"""The truth file: its reader, and who is where at any time."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceloop.sample.truth import (
    NEAREST_MS,
    Appearance,
    BadFile,
    Box,
    FaceBox,
    FileTruth,
    PersonTruth,
    Truth,
    dump_truth,
    iou,
    is_sample_truth,
    load_truth,
)
from facestore.errors import DataError

PATH = "gate/day.mp4"
EDGES = st.integers(0, 2000).map(float)
SIDES = st.integers(20, 400).map(float)
BOXES = st.builds(lambda x, y, w, h: (x, y, x + w, y + h), EDGES, EDGES, SIDES, SIDES)
NO_BOXES = """{"files": [{"path": "a", "kind": "image", "people": [{"person": "p", "appearances": [
    {"start_ms": 0, "end_ms": 0, "hard": false, "boxes": []}]}]}]}"""
HERE: Box = (100.0, 100.0, 200.0, 220.0)


def stay(*boxes: tuple[float, Box], hard: bool = False) -> Appearance:
    known = tuple(FaceBox(pts_ms=pts_ms, box=box) for pts_ms, box in boxes)
    return Appearance(start_ms=known[0].pts_ms, end_ms=known[-1].pts_ms, hard=hard, boxes=known)


def truth(**stays: tuple[Appearance, ...]) -> Truth:
    people = tuple(PersonTruth(person=name, appearances=each) for name, each in sorted(stays.items()))
    file = FileTruth(path=PATH, kind="video", people=people)
    return Truth(
        seed=3,
        files=(file,),
        bad=(BadFile(path="album/é'.jpg", reason="empty_file"),),
        empty=("lobby/nobody.mp4",),
        duplicates=(("album/a.jpg", "album/b.jpg"),),
    )


@given(first=BOXES, last=BOXES, share=st.floats(0, 1))
def test_a_box_between_two_known_times_lies_on_the_line_between_them_and_names_the_person(
    first: Box, last: Box, share: float
) -> None:
    known = truth(ann=(stay((1000.0, first), (1200.0, last)),))
    here = known.files[0].people[0].appearances[0].box_at(1000 + 200 * share)
    for found, a, b in zip(here, first, last, strict=True):
        assert found == pytest.approx(a + (b - a) * share, abs=1e-6)
    assert known.person_at(PATH, 1000 + 200 * share, here) == "ann"


@given(gap_ms=st.floats(0, 1000).filter(lambda gap: abs(gap - NEAREST_MS) > 1e-6), is_before=st.booleans())
def test_a_stay_counts_for_a_quarter_second_around_it_and_no_longer(gap_ms: float, is_before: bool) -> None:
    known = truth(ann=(stay((2000.0, HERE), (2400.0, HERE)),))
    pts_ms = 2000 - gap_ms if is_before else 2400 + gap_ms
    assert known.person_at(PATH, pts_ms, HERE) == ("ann" if gap_ms < NEAREST_MS else None)


@given(box=BOXES, asked=BOXES, min_iou=st.floats(0.05, 0.95))
def test_a_person_is_named_exactly_where_the_overlap_reaches_the_limit(box: Box, asked: Box, min_iou: float) -> None:
    known = truth(ann=(stay((0.0, box)),))
    assert (known.person_at(PATH, 0.0, asked, min_iou) == "ann") == (iou(box, asked) >= min_iou)


@given(first=BOXES, second=BOXES)
def test_overlap_is_symmetric_bounded_and_one_only_for_equal_boxes(first: Box, second: Box) -> None:
    assert iou(first, second) == iou(second, first)
    assert 0 <= iou(first, second) <= 1
    assert (iou(first, second) == 1) == (first == second)


def test_right_after_a_cut_the_person_now_in_view_wins_over_the_one_who_stood_there() -> None:
    moved: Box = (110.0, 110.0, 215.0, 230.0)
    known = truth(ann=(stay((0.0, HERE), (960.0, HERE)),), bob=(stay((1000.0, moved), (2000.0, moved)),))
    assert known.person_at(PATH, 960.0, HERE) == "ann"
    assert known.person_at(PATH, 1000.0, HERE) == "bob"


def test_of_two_people_in_view_the_higher_overlap_names_the_person() -> None:
    beside: Box = (150.0, 100.0, 250.0, 220.0)
    known = truth(ann=(stay((0.0, HERE)),), bob=(stay((0.0, beside)),))
    assert known.person_at(PATH, 0.0, (140.0, 100.0, 240.0, 220.0)) == "bob"
    assert known.person_at(PATH, 0.0, (105.0, 100.0, 205.0, 220.0)) == "ann"


def test_an_unknown_file_and_an_empty_place_name_nobody() -> None:
    known = truth(ann=(stay((0.0, HERE)),))
    assert known.person_at("gate/other.mp4", 0.0, HERE) is None
    assert known.person_at(PATH, 0.0, (900.0, 900.0, 990.0, 990.0), min_iou=0.0) is None


def test_truth_survives_the_way_to_disk_and_back(tmp_path: Path) -> None:
    known = truth(ann=(stay((0.0, HERE), (200.0, HERE)), stay((400.0, HERE), hard=True)), bob=(stay((0.0, HERE)),))
    (tmp_path / "truth.json").write_text(dump_truth(known), encoding="utf-8")
    assert load_truth(tmp_path / "truth.json") == known
    assert is_sample_truth(tmp_path / "truth.json")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("not json", "JSONDecodeError"),
        ("[]", "AttributeError"),
        ('{"files": [{"path": "a", "kind": "sound", "people": []}]}', "kind 'sound'"),
        (NO_BOXES, "boxes of an appearance"),
    ],
)
def test_a_file_that_is_no_truth_is_refused_with_what_is_wrong(tmp_path: Path, text: str, found: str) -> None:
    wrong = tmp_path / "truth.json"
    wrong.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=found):
        load_truth(wrong)
    assert not is_sample_truth(wrong)


def test_a_missing_truth_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.json.*give the path"):
        load_truth(tmp_path / "nowhere.json")
