"""Hard pairs are told apart from wrong labels; the caps, filters and people's word hold, in any order of input."""

import json
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceloop.clustering.knn import SearchParams
from faceloop.mining.asking import draft_questions
from faceloop.mining.negatives import find_negatives
from faceloop.mining.pairs import Pair, choose, place_of
from faceloop.mining.positives import LOOKED_AT, Found, find_positives
from faceloop.mining.quarry import MinedFace, PeoplesWord, Quarry
from faceloop.mining.request import MiningRequest, read_request, request_schema
from facereview.kinds import SamePerson, subject_of
from facestore.errors import ConfigError

from .mining_world import Vector, axis, mined_face, quarry_of, turned
from .situation_world import select_params

SEARCH = SearchParams(flat_rows_max=10_000, probes=4, block_rows=256, device="cpu")
World = list[tuple[MinedFace, Vector]]


def request(**changed: object) -> MiningRequest:
    return read_request(json.dumps({"name": "test", **changed}), "test")


def negatives(quarry: Quarry, wanted: MiningRequest) -> Found:
    return find_negatives(quarry, wanted, SEARCH, same_picture=0.985)


def ann() -> World:
    """Typical faces a1, a2, and two that are turned either way: 0.33 to each other, 0.57 to the typical ones."""
    ways = {"a1": axis(0), "a2": axis(0), "a-left": turned(0, 20, 55), "a-right": turned(0, 21, 55)}
    return [(mined_face(name, "ann"), look) for name, look in ways.items()]


def bob() -> World:
    return [(mined_face(name, "bob"), look) for name, look in {"b1": axis(1), "b2": turned(1, 0, 25)}.items()]


def faces_of(pairs: tuple[Pair, ...]) -> set[tuple[str, str]]:
    return {pair.faces for pair in pairs}


def test_two_hard_looks_of_one_person_are_believed_because_a_third_face_resembles_both() -> None:
    found = find_positives(quarry_of(ann()), request())
    hardest = found.trusted[0]
    assert hardest.faces == ("a-left", "a-right")
    assert (hardest.ground, hardest.doubt) == ("witness", None)
    assert hardest.similarity == pytest.approx(np.cos(np.radians(55)) ** 2, abs=1e-5)


def test_a_wrong_label_looks_as_hard_and_is_doubted_not_listed() -> None:
    wrong = (mined_face("wrong", "ann"), turned(9, 0, 15))  # somebody else, a little like her
    found = find_positives(quarry_of([*ann(), wrong]), request())
    assert not any("wrong" in pair.faces for pair in found.trusted)
    doubted = [pair for pair in found.doubtful if "wrong" in pair.faces]
    assert doubted and {pair.doubt for pair in doubted} == {"maybe_wrong_label"}


def test_faces_of_their_own_tracklets_bear_no_witness() -> None:
    """Two persons, one in each tracklet, in one identity: each has mates that resemble it, nobody resembles both."""
    world = [(mined_face(f"x{n}", "one", tracklet_id="tx"), turned(3, 30 + n, 20)) for n in range(3)]
    world += [(mined_face(f"y{n}", "one", tracklet_id="ty"), turned(4, 40 + n, 20)) for n in range(3)]
    found = find_positives(quarry_of(world), request(per_face=10, per_identity=100))
    assert {pair.ground for pair in found.trusted} == {"track"}
    assert all(first[0] == second[0] for first, second in faces_of(found.trusted))


def test_a_face_that_is_nearer_to_the_other_identity_is_doubted_as_a_negative() -> None:
    stray = (mined_face("stray", "bob"), turned(0, 25, 20))  # ann, in bob's identity
    found = negatives(quarry_of([*ann(), *bob(), stray]), request(sure={"twin_sigmas": 40.0}))
    assert not any("stray" in pair.faces for pair in found.trusted)
    assert any("stray" in pair.faces and pair.doubt == "maybe_wrong_label" for pair in found.doubtful)
    assert ("a1", "b2") in faces_of(found.trusted)


def test_two_identities_of_one_person_are_doubted_as_a_whole() -> None:
    twin = [(mined_face(f"n{n}", "ann-again"), turned(0, 50 + n, 30)) for n in range(3)]
    found = negatives(quarry_of([*ann(), *twin]), request())
    assert found.trusted == ()
    assert {pair.doubt for pair in found.doubtful} == {"maybe_one_person"}


def test_one_picture_of_both_makes_look_alikes_two_people() -> None:
    twins = [(mined_face(f"n{n}", "twin", footage_id=f"shared{n}"), turned(0, 50 + n, 30)) for n in range(2)]
    beside = [(mined_face(f"m{n}", "ann", footage_id=f"shared{n}"), axis(0)) for n in range(2)]
    found = negatives(quarry_of([*twins, *beside]), request())
    assert {pair.faces: pair.ground for pair in found.trusted} == {("m0", "n0"): "picture", ("m1", "n1"): "picture"}


def test_the_same_picture_twice_is_no_negative() -> None:
    copy = (mined_face("copy", "bob"), axis(0))
    found = negatives(quarry_of([*ann(), *bob(), copy]), request(sure={"twin_sigmas": 40.0, "gap_sigmas": 0.0}))
    assert not faces_of(found.trusted + found.doubtful) & {("a1", "copy"), ("a2", "copy")}
    assert found.left_out["pairs_of_one_picture_twice"] == 2


def test_peoples_word_outweighs_likeness_both_ways() -> None:
    wrong = (mined_face("wrong", "ann"), axis(9))
    said_same = PeoplesWord(tie_of={"a1": "t", "wrong": "t"}, name_of={}, apart=frozenset())
    found = find_positives(quarry_of([*ann(), wrong], word=said_same), request())
    assert {pair.faces: pair.ground for pair in found.trusted}["a1", "wrong"] == "people"
    said_different = PeoplesWord(
        tie_of={"a-left": "l", "a-right": "r"}, name_of={}, apart=frozenset([frozenset(("l", "r"))])
    )
    found = find_positives(quarry_of(ann(), word=said_different), request())
    assert ("a-left", "a-right") not in faces_of(found.trusted)
    assert found.left_out["pairs_people_part"] == 1


def test_names_that_people_gave_make_two_people_of_twins() -> None:
    twin = [(mined_face(f"n{n}", "ann-again"), turned(0, 50 + n, 30)) for n in range(2)]
    word = PeoplesWord(tie_of={"a1": "x", "n0": "y"}, name_of={"x": "ann", "y": "anna"}, apart=frozenset())
    found = negatives(quarry_of([*ann(), *twin], word=word), request())
    assert {pair.faces: pair.ground for pair in found.trusted} == {("a1", "n0"): "people"}


def test_filters_hold_for_both_ends_or_for_either() -> None:
    quarry = quarry_of([*ann(), *bob()], unwanted=["a-left", "b1"])
    wide = {"per_identity": 100, "per_face": 100}
    for find in (find_positives, negatives):
        both, either = find(quarry, request(**wide)).trusted, find(quarry, request(**wide, ends="either")).trusted
        assert both and not any({"a-left", "b1"} & set(pair.faces) for pair in both)
        assert faces_of(both) < faces_of(either)
        assert not any(set(pair.faces) <= {"a-left", "b1"} for pair in either)


def test_the_range_of_similarity_holds_and_what_it_leaves_out_is_counted() -> None:
    found = find_positives(quarry_of(ann()), request(similarity=[0.5, 0.8], per_identity=100, per_face=100))
    assert len(found.trusted) == 4 and all(0.5 <= pair.similarity <= 0.8 for pair in found.trusted)
    assert found.left_out["pairs_beyond_similarity"] == 2


def test_a_crowded_identity_is_looked_at_through_so_many_faces_and_the_rest_is_counted() -> None:
    crowd = [(mined_face(f"c{n:04d}", "crowd"), turned(0, 1 + n % 60, 20)) for n in range(LOOKED_AT + 22)]
    found = find_positives(quarry_of(crowd), request())
    assert found.left_out["faces_of_crowded_identity"] == 22
    again = find_positives(quarry_of(crowd), request(seed=2))
    assert faces_of(found.trusted) != faces_of(again.trusted)


def test_a_question_is_asked_about_the_doubtful_pair_and_expects_what_the_machine_believes() -> None:
    wrong = (mined_face("wrong", "ann"), turned(9, 0, 15))
    quarry = quarry_of([*ann(), wrong])
    found = find_positives(quarry, request())
    asked = draft_questions(found.doubtful, quarry, request(), select_params(), model_version="m")
    (question,) = asked
    subject = subject_of(question)
    assert isinstance(subject, SamePerson)
    assert "wrong" in (subject.left.face_ids[0], subject.right.face_ids[0])
    assert subject.chance < 0.5 and question.reason_detail == "wanted for hard set test"
    assert draft_questions(found.doubtful, quarry, request(most_questions=0), select_params(), model_version="m") == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"hard_positives": -1}, "hard_positives = -1"),
        ({"quality": [0.9, 0.1]}, "quality = [0.9, 0.1]: must rise within [0, 1]"),
        ({"similarity": [0, 2]}, "similarity = [0, 2]: must rise within [-1, 1]"),
        ({"per_face": "two"}, "per_face = 'two'"),
        ({"faces": 3}, "faces = 3: unknown key; keys are name,"),
        ({"name": "../up"}, "name = '../up'"),
        ({"hard_positives": 0, "hard_negatives": 0}, "nothing is asked for"),
        ({"sure": {"gap_sigmas": -1}}, "sure.gap_sigmas = -1"),
    ],
)
def test_a_wrong_request_is_refused_with_its_key_and_value(changed: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        request(**changed)
    assert words in str(refused.value)


def test_a_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"form: .*JSON"):
        read_request("{", "form")


def test_the_schema_names_every_field_and_only_the_name_must_be_given() -> None:
    schema = request_schema()
    assert schema["required"] == ["name"]
    assert isinstance(schema["properties"], dict) and set(schema["properties"]) == set(MiningRequest.model_fields)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Faces of a few identities in any mixture, some of one tracklet, some in one picture."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    world: World = []
    for number in range(draw(st.integers(2, 24))):
        person = int(rng.integers(4))
        look = axis(person) + rng.uniform(0.05, 0.25) * rng.standard_normal(64)
        label = person if rng.random() < 0.8 else int(rng.integers(4))
        face = mined_face(
            f"face{number:02d}",
            f"id{label}",
            tracklet_id=f"t{label}-{rng.integers(4)}",
            footage_id=f"f{rng.integers(6)}",
            quality=float(rng.random()),
        )
        world.append((face, look))
    return world


@given(world=worlds(), per_identity=st.integers(1, 4), per_face=st.integers(1, 3), seed=st.integers(0, 5))
@pytest.mark.parametrize("order", ["hardest", "random"])
def test_caps_hold_no_pair_comes_twice_and_no_order_of_the_input_shows(
    world: World, per_identity: int, per_face: int, seed: int, order: str
) -> None:
    wanted = request(order=order, per_identity=per_identity, per_face=per_face, seed=seed, hard_positives=7)
    shuffled = list(world)
    random.Random(seed).shuffle(shuffled)
    for find in (find_positives, negatives):
        lists = []
        for given_world in (world, shuffled):
            found = find(quarry_of(given_world), wanted)
            chosen = choose(
                found.trusted, count=7, per_identity=per_identity, per_face=per_face, place=place_of(wanted)
            )
            lists.append((chosen.pairs, sorted(found.doubtful, key=lambda pair: pair.faces), found.left_out))
        assert lists[0] == lists[1]
        pairs = lists[0][0]
        assert len(pairs) <= 7 and len(faces_of(pairs)) == len(pairs)
        assert max(Counter(face for pair in pairs for face in pair.faces).values(), default=0) <= per_face
        assert max(Counter(name for pair in pairs for name in pair.identities).values(), default=0) <= per_identity
        for pair in pairs:
            assert pair.first_face_id < pair.second_face_id and pair.ground is not None and pair.doubt is None
            assert (pair.first_identity_id == pair.second_identity_id) == (pair.kind == "hard_positive")
        if order == "hardest":
            hardness = [pair.similarity if pair.kind == "hard_positive" else -pair.similarity for pair in pairs]
            assert hardness == sorted(hardness)
