"""Where a label comes from: people, tracklet, key, cluster, machine."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from faceloop.identity.labels import NOT_CLUSTERED, Labelling, Sighting, label_faces
from faceloop.identity.resolve import resolve
from faceloop.identity.standing import standing_of
from facestore.decisions import Decision, Verb, decide
from facestore.records import Assignment

START = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = {0: "anna", 1: "bert"}


def _sighting(face: str, cluster: int, tracklet: str | None = None, confidence: float = 0.8) -> Sighting:
    return Sighting(
        face_id=face,
        tracklet_id=tracklet or f"t-{face}",
        footage_id="clip",
        pts_ms=0,
        subset="gate",
        quality=0.9,
        cluster_id=cluster,
        confidence=confidence,
        status="clustered",
    )


def _said(minute: int, verb: Verb, face: str, other: str | None = None, identity: str | None = None) -> Decision:
    at = START + timedelta(minutes=minute)
    return decide(verb, face_id=face, other_face_id=other, identity_id=identity, annotator="ann", decided_at=at)


def _labelling(
    sightings: list[Sighting], said: list[Decision], keys: dict[str, int] | None = None, accept: float | None = None
) -> Labelling:
    standing = standing_of(said, aliases={"old": "anna"}, faces={sighting.face_id for sighting in sightings})
    return label_faces(
        sightings, NAMES, standing, group_of_face=keys or {}, min_confidence=0.2, accept_threshold=accept
    )


def _labels(
    sightings: list[Sighting], said: list[Decision], keys: dict[str, int] | None = None, accept: float | None = None
) -> dict[str, Assignment]:
    return {row.face_id: row for row in _labelling(sightings, said, keys, accept).assignments}


def _origin(row: Assignment) -> tuple[str | None, str, str, str | None]:
    return row.identity_id, row.state, row.source, row.via


def test_without_people_a_sure_face_is_proposed_and_an_unsure_one_unknown() -> None:
    rows = _labels([_sighting("a", 0), _sighting("b", 0, confidence=0.1), _sighting("c", 7)], [])
    assert _origin(rows["a"]) == ("anna", "proposed", "auto", None)
    assert _origin(rows["b"]) == _origin(rows["c"]) == (None, "unknown", "auto", None)


def test_a_word_spreads_over_tracklet_key_and_cluster_and_says_so() -> None:
    said = _said(1, "is", "a", identity="anna")
    faces = [_sighting("a", 0, "t1"), _sighting("b", 0, "t1", 0.1), _sighting("c", 0), _sighting("d", 0)]
    rows = _labels(faces, [said], keys={"a": 4, "d": 4})
    assert _origin(rows["a"]) == ("anna", "confirmed", "human", "face")
    assert _origin(rows["b"]) == ("anna", "confirmed", "propagated", "tracklet")
    assert _origin(rows["c"]) == ("anna", "proposed", "propagated", "cluster")
    assert _origin(rows["d"]) == ("anna", "confirmed", "propagated", "key")
    assert {row.decision_id for row in rows.values()} == {said.decision_id}
    assert [rows[name].confidence for name in "abcd"] == [1.0, 1.0, 0.8, 1.0]


def test_a_word_that_is_taken_back_is_gone_everywhere() -> None:
    said = _said(1, "is", "a", identity="anna")
    gone = decide("retract", retracts=said.decision_id, annotator="ann", decided_at=START + timedelta(minutes=2))
    faces = [_sighting("a", 0, "t1"), _sighting("b", 0, "t1"), _sighting("c", 0)]
    effective = resolve([said, gone], aliases={}, policy="latest").effective
    assert _labels(faces, list(effective)) == _labels(faces, [])


def test_a_name_outweighs_the_cluster_also_under_the_name_of_a_merged_identity() -> None:
    rows = _labels([_sighting("a", 1), _sighting("b", 1)], [_said(1, "is", "a", identity="old")])
    assert rows["a"].identity_id == "anna"
    assert rows["b"].identity_id == "bert"


def test_faces_that_people_tie_share_one_identity_where_most_of_them_are() -> None:
    faces = [_sighting("a", 0), _sighting("b", 0), _sighting("c", 1, confidence=0.0)]
    rows = _labels(faces, [_said(1, "same", "a", "b"), _said(2, "same", "b", "c")])
    assert {row.identity_id for row in rows.values()} == {"anna"}
    assert {row.state for row in rows.values()} == {"confirmed"}


def test_no_face_and_nobody_of_interest_are_out_and_say_which_word_did_it() -> None:
    said = [_said(1, "not_a_face", "a"), _said(2, "ignore", "b")]
    rows = _labels([_sighting("a", 0), _sighting("b", 0), _sighting("c", 0)], said)
    assert _origin(rows["a"]) == (None, "rejected", "human", "face")
    assert _origin(rows["b"]) == (None, "ignored", "human", "face")
    assert [rows[name].decision_id for name in "ab"] == [one.decision_id for one in said]
    assert rows["c"].identity_id == "anna"


def test_faces_that_differ_never_share_an_identity_whatever_the_clusters_say() -> None:
    found = _labelling([_sighting("a", 0), _sighting("b", 0)], [_said(1, "different", "a", "b")])
    assert sorted(str(row.identity_id) for row in found.assignments) == ["None", "anna"]
    assert found.kept_apart == 1


def test_a_face_without_a_cluster_takes_the_name_of_its_tracklet_unless_two_are_in_it() -> None:
    lone = _sighting("x", NOT_CLUSTERED, "t1", 0.0)
    one = [_said(1, "is", "a", identity="anna")]
    assert _origin(_labels([lone, _sighting("a", 0, "t1")], one)["x"]) == (
        "anna",
        "confirmed",
        "propagated",
        "tracklet",
    )
    two = [*one, _said(2, "is", "b", identity="bert")]
    rows = _labels([lone, _sighting("a", 0, "t1"), _sighting("b", 1, "t1")], two)
    assert rows["x"].identity_id is None


def test_a_machine_label_above_the_threshold_is_accepted_as_the_machines_own() -> None:
    rows = _labels([_sighting("a", 0, confidence=0.95), _sighting("b", 0, confidence=0.9)], [], accept=0.95)
    assert _origin(rows["a"]) == ("anna", "confirmed", "auto", None)
    assert rows["b"].state == "proposed"


def test_a_tie_by_way_of_a_face_that_is_gone_still_holds() -> None:
    said = [_said(1, "same", "a", "gone"), _said(2, "same", "gone", "b")]
    found = _labelling([_sighting("a", 0), _sighting("b", 1)], said)
    assert len({row.identity_id for row in found.assignments}) == 1


faces = st.sampled_from("abcdefgh")
words = st.one_of(
    st.tuples(st.sampled_from(["same", "different"]), faces, faces).filter(lambda said: said[1] != said[2]),
    st.tuples(st.just("is"), faces, st.sampled_from(["anna", "bert", "old"])),
    st.tuples(st.sampled_from(["not_a_face", "ignore"]), faces, st.none()),
)


@given(
    st.dictionaries(faces, st.tuples(st.integers(-1, 3), st.sampled_from("tuvw"), st.floats(0, 1))),
    st.lists(words, max_size=10),
    st.dictionaries(faces, st.integers(0, 2)),
    st.randoms(use_true_random=False),
)
def test_no_standing_decision_is_violated_by_any_clusters_and_the_order_of_faces_does_not_matter(
    seen: dict[str, tuple[int, str, float]],
    spoken: list[tuple[Verb, str, str | None]],
    keys: dict[str, int],
    random: object,
) -> None:
    sightings = [_sighting(face, cluster, tracklet, sure) for face, (cluster, tracklet, sure) in seen.items()]
    said = []
    for minute, (verb, face, other) in enumerate(spoken):
        is_pair = verb in {"same", "different"}
        said.append(_said(minute, verb, face, other if is_pair else None, other if verb == "is" else None))
    effective = resolve(said, aliases={"old": "anna"}, policy="latest").effective
    rows = _labels(sightings, list(effective), keys)
    assert set(rows) == set(seen)
    for one in effective:
        row, mate = rows.get(one.face_id or ""), rows.get(one.other_face_id or "")
        match one.verb:
            case "is" if row:
                assert row.identity_id == {"old": "anna"}.get(one.identity_id or "", one.identity_id)
            case "same" if row and mate:
                assert row.identity_id == mate.identity_id
            case "different" if row and mate:
                assert row.identity_id is None or row.identity_id != mate.identity_id
            case "not_a_face" | "ignore" if row:
                assert row.identity_id is None
    random.shuffle(sightings)  # type: ignore[attr-defined]
    assert _labels(sightings, list(effective), keys) == rows
