"""Merge, split, rename and undo over labels."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceloop.identity.replay import replay
from facestore.decisions import EventKind, IdentityEvent, identity_event
from facestore.errors import DataError

LABELS = {"a1": "anna", "a2": "anna", "b1": "bert", "b2": "bert", "c1": "cora"}


def _event(
    minute: int,
    kind: EventKind,
    identity: str,
    other: str | None = None,
    faces: tuple[str, ...] = (),
    undoes: str | None = None,
    name: str | None = None,
) -> IdentityEvent:
    return identity_event(
        kind,
        identity_id=identity,
        other_identity_id=other,
        face_ids=faces,
        undoes=undoes,
        name=name,
        annotator="ann",
        happened_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute),
    )


MERGE = _event(1, "merge", "anna", "bert", ("b1", "b2"))
UNDO = _event(2, "undo", "anna", "bert", ("b1", "b2"), undoes=MERGE.event_id)
SPLIT = _event(1, "split", "anna", "dora", ("a2",))


def test_a_merge_moves_every_face_of_the_absorbed_and_names_its_heir() -> None:
    found = replay(LABELS | {"b3": "bert"}, [MERGE])
    assert {face: name for face, name in found.identity_of.items() if name == "bert"} == {}
    assert found.identity_of["b3"] == "anna"
    assert found.successor_of == {"bert": "anna"}


def test_an_undone_merge_brings_back_exactly_its_faces_and_leaves_what_joined_later() -> None:
    now = replay({**LABELS, "b1": "anna", "b2": "anna", "new": "anna"}, [MERGE, UNDO], seen={MERGE.event_id})
    assert now.identity_of == {**LABELS, "new": "anna"}
    assert now.successor_of == {}


def test_an_undo_brings_back_a_face_that_a_run_has_put_elsewhere() -> None:
    now = replay({**LABELS, "b1": "anna", "b2": "fragment"}, [MERGE, UNDO], seen={MERGE.event_id})
    assert now.identity_of == LABELS


def test_an_undo_leaves_a_face_that_people_moved_on() -> None:
    on = _event(2, "split", "anna", "emil", ("b2",))
    undo = _event(3, "undo", "anna", "bert", ("b1",), undoes=MERGE.event_id)
    assert replay(LABELS, [MERGE, on, undo]).identity_of == {**LABELS, "b2": "emil"}


def test_an_undone_merge_returns_its_faces_out_of_a_later_merge() -> None:
    later = _event(2, "merge", "cora", "anna", ("a1", "a2", "b1", "b2"))
    undo = _event(3, "undo", "anna", "bert", ("b1", "b2"), undoes=MERGE.event_id)
    now = replay(LABELS, [MERGE, later, undo])
    assert now.identity_of == {"a1": "cora", "a2": "cora", "b1": "bert", "b2": "bert", "c1": "cora"}
    assert now.successor_of == {"anna": "cora"}


def test_an_undo_can_be_undone() -> None:
    again = _event(3, "undo", "anna", "bert", ("b1", "b2"), undoes=UNDO.event_id)
    found = replay(LABELS, [MERGE, UNDO, again])
    assert found.identity_of == replay(LABELS, [MERGE]).identity_of
    assert found.standing == (MERGE,)
    assert replay(LABELS, [MERGE, UNDO]).standing == ()


def test_a_second_undo_of_the_same_event_is_void() -> None:
    twice = _event(3, "undo", "anna", "bert", (), undoes=MERGE.event_id)
    redo = _event(4, "undo", "anna", "bert", ("b1", "b2"), undoes=UNDO.event_id)
    assert replay(LABELS, [MERGE, UNDO, twice, redo]).standing == (MERGE,)


def test_an_undone_split_gives_its_faces_back_and_others_go_to_where_they_came_from() -> None:
    undo = _event(2, "undo", "anna", "dora", ("a2",), undoes=SPLIT.event_id)
    published = {**LABELS, "a2": "dora", "c1": "dora", "new": "dora"}
    now = replay(published, [SPLIT, undo], seen={SPLIT.event_id}, former={"c1": "cora"})
    assert now.identity_of == {**LABELS, "new": "anna"}
    assert now.successor_of == {"dora": "anna"}


def test_two_merges_one_each_way_are_one() -> None:
    back = _event(2, "merge", "bert", "anna", ("a1", "a2"))
    found = replay(LABELS, [MERGE, back])
    assert set(found.identity_of.values()) == {"anna", "cora"}
    assert found.successor_of == {"bert": "anna"}


def test_the_last_standing_name_counts() -> None:
    first, second = _event(1, "rename", "anna", name="Anna"), _event(2, "rename", "anna", name="Ann")
    undo = _event(3, "undo", "anna", undoes=second.event_id)
    assert replay(LABELS, [second, first]).names == {"anna": "Ann"}
    assert replay(LABELS, [undo, second, first]).names == {"anna": "Anna"}


def test_an_undo_of_an_unknown_event_is_refused() -> None:
    with pytest.raises(DataError, match="not in the log"):
        replay(LABELS, [UNDO])


@st.composite
def histories(draw: st.DrawFn) -> list[IdentityEvent]:
    """Merges and splits as people would make them, each on the labels that the ones before it left."""
    told: list[IdentityEvent] = []
    for minute in range(draw(st.integers(0, 5))):
        now = replay(LABELS, told).identity_of
        living = sorted(set(now.values()))
        one = draw(st.sampled_from(living))
        faces = sorted(face for face, name in now.items() if name == one)
        if draw(st.booleans()) and len(living) > 1:
            other = draw(st.sampled_from([name for name in living if name != one]))
            told.append(_event(minute, "merge", other, one, tuple(faces)))
        elif len(faces) > 1:
            leaving = tuple(draw(st.lists(st.sampled_from(faces[1:]), min_size=1, unique=True)))
            told.append(_event(minute, "split", one, f"new{minute}", leaving))
    return told


@given(histories(), st.randoms())
def test_undoing_everything_newest_first_restores_every_label_in_any_order_of_the_log(
    told: list[IdentityEvent], random: object
) -> None:
    undos = [
        _event(100 + step, "undo", event.identity_id, event.other_identity_id, event.face_ids, undoes=event.event_id)
        for step, event in enumerate(reversed(told))
    ]
    log = [*told, *undos]
    random.shuffle(log)  # type: ignore[attr-defined]
    found = replay(LABELS, log)
    assert found.identity_of == LABELS
    assert found.standing == ()
    assert set(found.successor_of) <= {str(event.other_identity_id) for event in told if event.kind == "split"}


@given(histories(), st.integers(0, 5))
def test_labels_published_in_between_change_nothing(told: list[IdentityEvent], published: int) -> None:
    before = replay(LABELS, told[:published]).identity_of
    found = replay(before, told, seen={event.event_id for event in told[:published]})
    assert found.identity_of == replay(LABELS, told).identity_of
    assert found.successor_of == replay(LABELS, told).successor_of
