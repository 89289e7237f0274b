"""Keys of the source manifest: when they speak of a face, what they tie, and who is stronger."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceloop.clustering.constraints import Constraints, tie_groups
from faceloop.identity.key_ties import key_contradictions, key_questions, tie_keys
from faceloop.identity.keys import KeyGroups, KeyParams, key_groups
from faceloop.identity.labels import NOT_CLUSTERED, Sighting, label_faces
from faceloop.identity.resolve import resolve
from faceloop.identity.roster import SeenFace
from faceloop.identity.standing import standing_of
from faceloop.params import section
from facestore.decisions import Decision, decide
from facestore.errors import ConfigError
from facestore.ids import JsonValue

START = datetime(2026, 1, 1, tzinfo=UTC)
RULES = section(
    {"keys": {"rules": [{"kind": "badge", "strength": "hard"}, {"kind": "owner", "strength": "ask"}]}},
    "keys",
    KeyParams,
)


def _face(name: str, tracklet: str, footage: str, quality: float) -> SeenFace:
    return SeenFace(face_id=name, footage_id=footage, pts_ms=0, tracklet_id=tracklet, quality=quality, has_crop=True)


def _photo(name: str) -> SeenFace:
    return _face(f"f{name}", f"t{name}", f"p{name}", 0.9)


def _badges(*numbers: str) -> tuple[KeyGroups, dict[str, int]]:
    """One photo a badge number, with one face: node i is face fi."""
    faces = [_photo(str(row)) for row in range(len(numbers))]
    keys = {f"p{row}": (f"badge={number}",) for row, number in enumerate(numbers)}
    return key_groups(keys, faces, RULES), {face.face_id: row for row, face in enumerate(faces)}


def _known(must: Sequence[tuple[int, int]] = (), cannot: Sequence[tuple[int, int]] = ()) -> Constraints:
    return Constraints(
        must_link=np.array(must, np.int64).reshape(-1, 2), cannot_link=np.array(cannot, np.int64).reshape(-1, 2)
    )


def _groups(ties: Mapping[str, int]) -> set[frozenset[str]]:
    return {frozenset(face for face in ties if ties[face] == group) for group in set(ties.values())}


def test_photos_with_one_face_and_one_badge_are_one_group() -> None:
    groups, node_of = _badges("7", "8", "7", "7")
    assert [(group.key, group.tracklets) for group in groups.hard] == [("badge=7", (("f0",), ("f2",), ("f3",)))]
    ties = tie_keys(groups, node_of, _known(), nodes=4)
    assert ties.pairs.tolist() == [[0, 2], [2, 3]]
    assert _groups(ties.group_of_face) == {frozenset({"f0", "f2", "f3"})}
    assert ties.contested == ()


def test_a_key_says_nothing_where_footage_shows_nobody_two_tracklets_or_two_numbers() -> None:
    crowd = [_face(f"c{i}", f"tc{i}", "crowd", 0.5) for i in range(2)]
    keys = {"p1": ("badge=7",), "crowd": ("badge=7",), "empty": ("badge=7",), "p2": ("badge=7", "badge=8")}
    groups = key_groups(keys, [_photo("1"), _photo("2"), *crowd], RULES)
    assert groups.hard == ()
    reasons = {(entry.key, entry.footage_id): entry.reason for entry in groups.ambiguous}
    assert reasons == {
        ("badge=7", "crowd"): "many_tracklets",
        ("badge=7", "empty"): "no_face",
        ("badge=7", "p2"): "many_values",
        ("badge=8", "p2"): "many_values",
    }


def test_a_kind_without_a_rule_says_nothing() -> None:
    groups = key_groups({"p1": ("shirt=red",), "p2": ("shirt=red",)}, [_photo("1"), _photo("2")], RULES)
    assert (groups.hard, groups.ask, groups.ambiguous) == ((), (), ())


def test_all_faces_of_a_tracklet_belong_to_its_group_the_best_first() -> None:
    still = [_face(f"v{i}", "tv", "v", i / 10) for i in range(3)]
    groups = key_groups({"p1": ("badge=7",), "v": ("badge=7",)}, [_photo("1"), *still], RULES)
    assert groups.hard[0].tracklets == (("f1",), ("v2", "v1", "v0"))


def test_who_people_call_different_loses_the_key_and_the_others_keep_it() -> None:
    groups, node_of = _badges("7", "7", "7", "7")
    ties = tie_keys(groups, node_of, _known(cannot=[(1, 3)]), nodes=4)
    assert _groups(ties.group_of_face) == {frozenset({"f0", "f2"})}
    assert [(entry.key, entry.face_id, entry.other_face_id) for entry in ties.contested] == [("badge=7", "f1", "f3")]


def test_a_difference_reaches_a_key_through_whom_people_tied() -> None:
    groups, node_of = _badges("7", "7", "9", "9")  # people: 0 is 2, and 3 is not 1; so 7 and 9 cannot both hold
    ties = tie_keys(groups, node_of, _known(must=[(0, 2)], cannot=[(1, 3)]), nodes=4)
    assert ties.pairs.tolist() == []
    assert len(ties.contested) == 1


def test_a_tracklet_that_people_took_apart_has_no_key() -> None:
    still = [_face(f"v{i}", "tv", "v", i / 10) for i in range(2)]
    faces = [_photo("1"), _photo("2"), *still]
    groups = key_groups(dict.fromkeys(["p1", "p2", "v"], ("badge=7",)), faces, RULES)
    ties = tie_keys(groups, {"f1": 0, "f2": 1, "v0": 2, "v1": 3}, _known(cannot=[(2, 3)]), nodes=4)
    assert ties.pairs.tolist() == [[0, 1]]
    assert [(entry.face_id, entry.other_face_id) for entry in ties.contested] == [("v0", "v1")]


def test_a_contested_key_is_told_with_the_decision_that_contradicts_it() -> None:
    groups, node_of = _badges("7", "7")
    said = decide("different", face_id="f0", other_face_id="f1", annotator="ann", decided_at=START)
    ties = tie_keys(groups, node_of, _known(cannot=[(0, 1)]), nodes=2)
    (told,) = key_contradictions(ties.contested, [said], node_of, policy="latest")
    assert (told.kind, told.decision_ids, told.face_ids) == ("geometry", (said.decision_id,), ("f0", "f1"))
    assert told.set_aside == ()


def test_an_asking_key_makes_questions_between_clusters_and_none_that_was_answered() -> None:
    faces = [_photo(name) for name in "abcde"]
    groups = key_groups({face.footage_id: ("owner=ann",) for face in faces}, faces, RULES)
    cluster_of = {"fa": 4, "fb": 4, "fc": 2, "fd": 9, "fe": -1}
    asked = key_questions(groups.ask, cluster_of, answered=frozenset(), run_id="r")
    assert [(ask.first_cluster, ask.second_cluster, ask.reason) for ask in asked] == [
        (2, 4, "shared_key"),
        (4, 9, "shared_key"),
    ]
    assert (asked[0].first_face_id, asked[0].second_face_id) == ("fc", "fa")
    left = key_questions(groups.ask, cluster_of, answered=frozenset({(2, 4)}), run_id="r")
    assert [(ask.first_cluster, ask.second_cluster) for ask in left] == [(4, 9)]


def test_a_rule_that_is_said_twice_or_has_another_strength_is_refused() -> None:
    rule: dict[str, JsonValue] = {"kind": "badge", "strength": "hard"}
    with pytest.raises(ConfigError, match="two rules"):
        section({"keys": {"rules": [rule, {**rule, "strength": "ask"}]}}, "keys", KeyParams)
    with pytest.raises(ConfigError, match="strength"):
        section({"keys": {"rules": [{"kind": "badge", "strength": "soft"}]}}, "keys", KeyParams)


def test_one_answer_spreads_over_tracklet_and_key_and_is_gone_from_all_when_it_is_retracted() -> None:
    still = [_face(f"v{i}", "tv", "v", i / 10) for i in range(2)]
    faces = [_photo("1"), *still]
    groups = key_groups({"p1": ("badge=7",), "v": ("badge=7",)}, faces, RULES)
    ties = tie_keys(groups, {"f1": 0, "v0": 1, "v1": 1}, _known(), nodes=2)
    said = decide("is", face_id="v0", identity_id="person-a", annotator="ann", decided_at=START)
    taken_back = decide("retract", retracts=said.decision_id, annotator="ann", decided_at=START)

    def labels(*decisions: Decision) -> dict[str, tuple[str | None, str, str | None]]:
        effective = resolve(decisions, aliases={}, policy="latest").effective
        sightings = [
            Sighting(
                face_id=face.face_id, tracklet_id=face.tracklet_id, pts_ms=0, footage_id=face.footage_id, subset="s",
                quality=face.quality, cluster_id=NOT_CLUSTERED, confidence=0.0, status="low_quality",
            )
            for face in faces
        ]  # fmt: skip
        labelling = label_faces(
            sightings,
            {},
            standing_of(effective, aliases={}, faces={face.face_id for face in faces}),
            group_of_face=ties.group_of_face,
            min_confidence=0.5,
            accept_threshold=None,
        )
        return {row.face_id: (row.identity_id, row.state, row.via) for row in labelling.assignments}

    assert labels(said) == {
        "v0": ("person-a", "confirmed", "face"),
        "v1": ("person-a", "confirmed", "tracklet"),
        "f1": ("person-a", "confirmed", "key"),
    }
    assert set(labels(said, taken_back).values()) == {(None, "unknown", None)}


@st.composite
def _worlds(draw: st.DrawFn) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """Badge of each of n photos, who they really are, and pairs that people judged rightly."""
    n = draw(st.integers(2, 12))
    badges = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    people = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    pairs = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=10))
    return badges, people, [(a, b) for a, b in pairs if a != b]


@given(_worlds())
def test_ties_of_keys_never_contradict_people_and_each_contest_is_real(
    world: tuple[list[int], list[int], list[tuple[int, int]]],
) -> None:
    badges, people, pairs = world
    known = _known(
        must=[(a, b) for a, b in pairs if people[a] == people[b]],
        cannot=[(a, b) for a, b in pairs if people[a] != people[b]],
    )
    groups, node_of = _badges(*map(str, badges))
    ties = tie_keys(groups, node_of, known, nodes=len(badges))
    both = Constraints(must_link=np.concatenate([known.must_link, ties.pairs]), cannot_link=known.cannot_link)
    tie_groups(both, [str(row) for row in range(len(badges))])  # raises where they cannot all hold
    tied = {frozenset(pair) for pair in ties.pairs.tolist()}
    assert all(badges[a] == badges[b] for a, b in ties.pairs.tolist())
    if not len(known.cannot_link):
        assert ties.contested == ()
        assert len(tied) == len(badges) - len(set(badges))
    for entry in ties.contested:
        assert entry.face_id not in ties.group_of_face
        assert entry.other_face_id not in ties.group_of_face


@given(_worlds(), st.randoms(use_true_random=False))
def test_the_order_of_footage_and_faces_does_not_matter(
    world: tuple[list[int], list[int], list[tuple[int, int]]], shuffle: Random
) -> None:
    badges, _, _ = world
    faces = [_photo(str(row)) for row in range(len(badges))]
    keys = {f"p{row}": (f"badge={number}",) for row, number in enumerate(badges)}
    expected = key_groups(keys, faces, RULES)
    shuffle.shuffle(faces)
    assert key_groups(dict(reversed(keys.items())), faces, RULES) == expected
