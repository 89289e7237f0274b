"""Words of all kinds of answers, compared topic by topic."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facereview.kinds import (
    Attributes,
    AttributesAnswer,
    AttributeValue,
    Boxes,
    BoxesAnswer,
    Candidate,
    FaceBox,
    Landmarks,
    LandmarksAnswer,
    Member,
    OddOnesOut,
    OddOnesOutAnswer,
    Prediction,
    Strip,
    WhoIsThis,
    WhoIsThisAnswer,
)
from facereview.quality.drawn import ALIKE_OVERLAP, Edges, boxes_alike, distance_px, grouped, overlap, points_alike
from facereview.quality.topics import Topic, latest_answers, topics_of
from facestore.errors import DataError

from .answered import answered, pair, question

GRID = OddOnesOut(
    reference=Strip(face_ids=("ref",)),
    members=tuple(Member(face_id=f"m{place}", chance=0.9, is_doubtful=False) for place in range(12)),
)
LOOKED_FOR = WhoIsThis(
    probe=Strip(face_ids=("probe",)),
    candidates=tuple(
        Candidate(strip=Strip(face_ids=(f"c{place}",)), similarity=0.5, chance=chance)
        for place, chance in enumerate((0.5, 0.2))
    ),
)
DESCRIBED = Attributes(strip=Strip(face_ids=("f",)), predictions=(Prediction(name="age", value="adult", score=0.8),))
FRAME = Boxes(
    footage_id="v", pts_ms=40, width=1920, height=1080, boxes=(FaceBox(face_id="f", bbox=(100.0, 100.0, 200.0, 200.0)),)
)
POINTS = (10.0, 10.0, 30.0, 10.0, 20.0, 20.0, 12.0, 30.0, 28.0, 30.0)
FIVE = Landmarks(face_id="f", footage_id="v", pts_ms=40, view=(0, 0, 50, 50), points=POINTS)


def words(topic: Topic) -> dict[str, str]:
    return {saying.annotator: saying.word for saying in topic.sayings}


def test_a_grid_is_compared_by_what_somebody_found_in_it() -> None:
    asked = question(GRID)
    topics = topics_of(
        [asked],
        [
            answered(asked, "s/1", OddOnesOutAnswer(verdict="sorted", strangers=("m3",))),
            answered(asked, "s/2", OddOnesOutAnswer(verdict="sorted", strangers=("m3",), not_faces=("m5",))),
            answered(asked, "s/3", OddOnesOutAnswer(verdict="unsure")),
        ],
    )
    assert [topic.name for topic in topics] == ["m3", "m5"]
    assert words(topics[0]) == {"s/1": "different", "s/2": "different"}
    assert words(topics[1]) == {"s/1": "same", "s/2": "not_a_face"}
    assert [topic.weight for topic in topics] == [0.5, 0.5]
    assert dict(topics[0].chances)["different"] == pytest.approx(0.1)


def test_a_grid_in_which_nobody_found_anything_is_one_topic() -> None:
    asked = question(GRID)
    (topic,) = topics_of([asked], [answered(asked, f"s/{n}", OddOnesOutAnswer(verdict="sorted")) for n in (1, 2)])
    assert words(topic) == {"s/1": "same", "s/2": "same"}
    assert topic.weight == 1


def test_a_stranger_that_a_honeypot_hides_and_nobody_finds_is_a_topic() -> None:
    asked = question(GRID, expected=OddOnesOutAnswer(verdict="sorted", strangers=("m7",)))
    (topic,) = topics_of([asked], [answered(asked, "s/1", OddOnesOutAnswer(verdict="sorted"))])
    assert (topic.name, topic.right, words(topic)) == ("m7", "different", {"s/1": "same"})


def test_two_candidates_are_different_answers_though_both_claims_may_be_true() -> None:
    asked = question(LOOKED_FOR)
    (topic,) = topics_of(
        [asked],
        [
            answered(asked, "s/1", WhoIsThisAnswer(verdict="candidate", candidate=0)),
            answered(asked, "s/2", WhoIsThisAnswer(verdict="candidate", candidate=1)),
            answered(asked, "s/3", WhoIsThisAnswer(verdict="someone_new")),
        ],
    )
    assert words(topic) == {"s/1": "candidate 0", "s/2": "candidate 1", "s/3": "someone_new"}
    assert dict(topic.chances) == pytest.approx({"candidate 0": 0.5, "candidate 1": 0.2, "someone_new": 0.3})


def test_who_calls_a_picture_unusable_contradicts_who_describes_it() -> None:
    asked = question(DESCRIBED)
    said = (AttributeValue(name="age", value="adult"), AttributeValue(name="gaze", value="away"))
    topics = topics_of(
        [asked],
        [
            answered(asked, "s/1", AttributesAnswer(verdict="described", values=said)),
            answered(asked, "s/2", AttributesAnswer(verdict="unusable")),
            answered(asked, "s/3", AttributesAnswer(verdict="described", values=said[:1])),
        ],
    )
    assert {topic.name: words(topic) for topic in topics} == {
        "age": {"s/1": "adult", "s/2": "unusable", "s/3": "adult"},
        "gaze": {"s/1": "away", "s/2": "unusable"},
    }


def test_boxes_drawn_a_little_differently_say_the_same() -> None:
    asked = question(FRAME)

    def drawn(shift: float, *, moved: float = 0.0) -> BoxesAnswer:
        box = FaceBox(face_id="f", bbox=(100 + moved, 100.0, 200 + moved, 200.0))
        return BoxesAnswer(wrong=(), moved=(box,) if moved else (), missed=((500 + shift, 500.0, 600 + shift, 600.0),))

    topics = topics_of(
        [asked],
        [
            answered(asked, "s/1", drawn(0)),
            answered(asked, "s/2", drawn(4)),
            answered(asked, "s/3", drawn(300, moved=60.0)),
        ],
    )
    assert {topic.name: words(topic) for topic in topics} == {
        "f": {"s/1": "kept", "s/2": "kept", "s/3": "moved 0"},
        "missed 0": {"s/1": "missed", "s/2": "missed", "s/3": "nothing"},
        "missed 1": {"s/1": "nothing", "s/2": "nothing", "s/3": "missed"},
    }


def test_points_that_are_nearly_the_same_say_the_same() -> None:
    asked = question(FIVE)
    (topic,) = topics_of(
        [asked],
        [
            answered(asked, "s/1", LandmarksAnswer(verdict="placed", points=POINTS)),
            answered(asked, "s/2", LandmarksAnswer(verdict="placed", points=tuple(edge + 1 for edge in POINTS))),
            answered(asked, "s/3", LandmarksAnswer(verdict="placed", points=tuple(edge + 20 for edge in POINTS))),
            answered(asked, "s/4", LandmarksAnswer(verdict="unusable")),
        ],
    )
    assert words(topic) == {"s/1": "placed 0", "s/2": "placed 0", "s/3": "placed 1", "s/4": "unusable"}


def test_the_last_answer_of_an_annotator_counts_and_skips_say_nothing() -> None:
    asked = pair(1)
    versions = [
        answered(asked, "s/1", "same", minute=2),
        answered(asked, "s/1", "different", minute=1),
        answered(asked, "s/2", "same", state="skipped"),
        answered(asked, "s/3", "same", state="deleted"),
        answered(asked, "s/4", "unsure"),
    ]
    assert [version.annotator for version in latest_answers(versions)[asked.question_id]] == ["s/1", "s/4"]
    (topic,) = topics_of([asked], versions)
    assert words(topic) == {"s/1": "same"}


def test_an_answer_about_faces_that_are_not_shown_is_refused() -> None:
    asked = question(GRID)
    with pytest.raises(DataError, match="does not show it"):
        topics_of([asked], [answered(asked, "s/1", OddOnesOutAnswer(verdict="sorted", strangers=("other",)))])


@given(st.permutations(range(6)))
def test_topics_do_not_depend_on_the_order_of_answers(order: list[int]) -> None:
    asked = [pair(1), pair(2)]
    versions = [
        answered(asked[place % 2], f"s/{place // 2}", "same" if place % 3 else "different", minute=place)
        for place in range(6)
    ]
    expected = topics_of(asked, versions)
    assert topics_of(asked[::-1], [versions[place] for place in order]) == expected


numbers = st.floats(min_value=0, max_value=100)
boxes = st.tuples(numbers, numbers, numbers, numbers).map(
    lambda box: (min(box[0], box[2]), min(box[1], box[3]), max(box[0], box[2]) + 1, max(box[1], box[3]) + 1)
)


@given(boxes, boxes)
def test_overlap_is_symmetric_and_whole_only_for_equal_boxes(first: Edges, second: Edges) -> None:
    assert overlap(first, second) == pytest.approx(overlap(second, first))
    assert overlap(first, first) == pytest.approx(1)
    assert 0 <= overlap(first, second) <= 1 + 1e-9


@given(st.lists(boxes, max_size=8), st.randoms())
def test_every_box_is_like_the_first_of_its_group(drawn: list[Edges], order: Random) -> None:
    groups = grouped(drawn, boxes_alike)
    assert set(groups) == set(drawn)
    for group in set(groups.values()):
        own = sorted(box for box in groups if groups[box] == group)
        assert all(overlap(own[0], box) >= ALIKE_OVERLAP for box in own)
    order.shuffle(drawn)
    assert grouped(drawn, boxes_alike) == groups


def test_points_are_as_far_apart_as_on_average_and_alike_within_a_tenth_of_their_width() -> None:
    assert distance_px((0, 0, 0, 0), (3, 4, 0, 0)) == pytest.approx(2.5)
    assert points_alike((0, 0, 30, 0), (3, 0, 33, 0))
    assert not points_alike((0, 0, 30, 0), (4, 0, 34, 0))
