from hypothesis import given
from hypothesis import strategies as st

from faceloop.identity.matching import match_identities, new_identity
from facestore.ids import identity_id


def test_a_cluster_keeps_the_identity_that_holds_most_of_its_faces() -> None:
    found = match_identities(
        {0: ["a", "b", "c"], 1: ["d"]},
        earlier={"a": "p1", "b": "p1", "c": "p2", "d": "p2"},
        active={"p1", "p2"},
        taken={"p1", "p2"},
    )
    assert found.identity_of == {0: "p1", 1: "p2"}
    assert found.successor_of == {}


def test_of_two_identities_in_one_cluster_the_smaller_retires_and_names_its_successor() -> None:
    found = match_identities(
        {0: ["a", "b", "c"]},
        earlier={"a": "p1", "b": "p1", "c": "p2"},
        active={"p1", "p2"},
        taken={"p1", "p2"},
    )
    assert found.identity_of == {0: "p1"}
    assert found.successor_of == {"p2": "p1"}


def test_a_split_identity_stays_with_the_larger_part_and_the_rest_gets_a_new_id() -> None:
    found = match_identities({0: ["a"], 1: ["b", "c"]}, earlier=dict.fromkeys("abc", "p1"), active={"p1"}, taken={"p1"})
    assert found.identity_of[1] == "p1"
    assert found.identity_of[0] == identity_id("a", 0)
    assert found.seed_of == {identity_id("a", 0): "a"}


def test_a_retired_id_is_never_minted_again() -> None:
    first = new_identity("seed", set())
    assert new_identity("seed", {first}) != first


def test_an_identity_whose_faces_are_all_gone_retires_without_a_successor() -> None:
    found = match_identities({}, earlier={"a": "p1"}, active={"p1"}, taken={"p1"})
    assert found.successor_of == {"p1": None}


faces = st.sampled_from("abcdefghij")


@given(
    st.dictionaries(faces, st.integers(0, 3)),
    st.dictionaries(faces, st.sampled_from(["p1", "p2", "p3"])),
    st.dictionaries(faces, st.sampled_from(["p1", "p2", "p3", "q1", "q2"])),
)
def test_ids_are_one_to_one_and_a_second_run_changes_nothing(
    cluster_of: dict[str, int], earlier: dict[str, str], former: dict[str, str]
) -> None:
    faces_of: dict[int, list[str]] = {}
    for face, cluster in cluster_of.items():
        faces_of.setdefault(cluster, []).append(face)
    active, taken = {"p1", "p2", "p3"}, {"p1", "p2", "p3", "q1", "q2"}
    found = match_identities(faces_of, earlier, active, taken, former=former)
    assert set(found.identity_of) == set(faces_of)
    assert len(set(found.identity_of.values())) == len(faces_of)
    assert set(found.seed_of) == set(found.identity_of.values()) - taken
    labels = {face: found.identity_of[cluster] for face, cluster in cluster_of.items()}
    names = set(found.identity_of.values())
    before = {face: name for face, name in {**former, **earlier}.items() if labels.get(face) != name}
    again = match_identities(faces_of, labels, names, names | taken, former=before)
    assert again.identity_of == found.identity_of


def test_the_identity_that_people_name_comes_first_also_a_retired_one() -> None:
    found = match_identities(
        {0: ["a", "b", "c"], 1: ["d"]},
        earlier=dict.fromkeys("abc", "p1"),
        active={"p1"},
        taken={"p1", "p2"},
        claims={0: "p2"},
    )
    assert found.identity_of == {0: "p2", 1: identity_id("d", 0)}
    assert found.successor_of == {"p1": "p2"}


def test_an_identity_that_was_absorbed_returns_with_most_of_its_faces() -> None:
    parts = {0: ["a", "b", "c"], 1: ["d", "e"]}
    absorbed = dict.fromkeys("abcde", "p1")
    found = match_identities(parts, absorbed, {"p1"}, {"p1", "p2"}, former=dict.fromkeys("de", "p2"))
    assert found.identity_of == {0: "p1", 1: "p2"}


def test_who_was_there_keeps_the_id_however_many_came_by_the_end_of_another() -> None:
    parts = {0: ["a"], 1: ["d", "e", "f"]}
    absorbed = dict.fromkeys("adef", "p1")
    found = match_identities(parts, absorbed, {"p1"}, {"p1", "p2"}, former=dict.fromkeys("def", "p2"))
    assert found.identity_of == {0: "p1", 1: "p2"}


def test_an_identity_that_people_merged_away_does_not_return_by_itself() -> None:
    parts = {0: ["a", "b"], 1: ["d", "e"]}
    found = match_identities(
        parts,
        dict.fromkeys("abde", "p1"),
        {"p1"},
        {"p1", "p2"},
        former=dict.fromkeys("de", "p2"),
        gone={"p2"},
    )
    assert found.identity_of == {0: "p1", 1: identity_id("d", 0)}


def test_what_broke_off_gives_way_to_the_identity_that_it_broke_off_from() -> None:
    earlier = {"a": "p1", "b": "p2", "c": "p2", "d": "p2"}
    former = dict.fromkeys("bcd", "p1")
    found = match_identities({0: ["a", "b", "c", "d"]}, earlier, {"p1", "p2"}, {"p1", "p2"}, former=former)
    assert found.identity_of == {0: "p1"}
    assert found.successor_of == {"p2": "p1"}
