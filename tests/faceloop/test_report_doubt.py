"""Doubt: clusters that almost joined and members that almost fell out, the most contradictory first."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from faceloop.clustering.knn import SearchParams
from faceloop.reports.doubt import Moments, doubtful_pairs, group
from faceloop.reports.histograms import genuine_impostor_histogram
from faceloop.reports.material import Tracklets
from facereview.questions import SamePersonQuestion

SEARCH = SearchParams(flat_rows_max=1000, probes=4, block_rows=64)
THRESHOLD = 0.4


def at(degrees: float) -> list[float]:
    return [float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))]


def tracklets(degrees: list[float], clusters: list[int], identities: list[str | None] | None = None) -> Tracklets:
    count = len(degrees)
    return Tracklets(
        ids=tuple(f"t{row}" for row in range(count)),
        vectors=np.array([at(angle) for angle in degrees], dtype=np.float32).reshape(count, 2),
        weights=np.ones(count, dtype=np.float32),
        best_face_ids=tuple(f"f{row}" for row in range(count)),
        cluster_ids=np.array(clusters, dtype=np.int64),
        identity_ids=tuple(identities or [None if c < 0 else f"person-{c}" for c in clusters]),
    )


def alone(_: object) -> set[tuple[str, int]]:
    return set()


def asked(
    found: Tracklets, moments: Moments = alone, *, limit: int = 10, max_margin: float = 2.0
) -> list[SamePersonQuestion]:
    return doubtful_pairs(found, moments, threshold=THRESHOLD, limit=limit, max_margin=max_margin, search=SEARCH)


def test_the_two_nearest_clusters_come_first_with_the_two_tracklets_that_face_each_other() -> None:
    # cosines between lone tracklets: 0° / 60° = 0.5, 60° / 170° = -0.34, 0° / 170° = -0.98
    first = asked(tracklets([0, 60, 170], [0, 1, 2]))[0]
    assert {first.left.face_id, first.right.face_id} == {"f0", "f1"}
    assert np.isclose(first.similarity, 0.5, atol=1e-5)
    assert np.isclose(first.margin, THRESHOLD - 0.5, atol=1e-5)
    assert first.reason == "bridge_between_identities"


def test_a_member_far_from_its_cluster_is_asked_against_a_typical_one() -> None:
    # member 2 has mean cosine (cos 80° + cos 75°) / 2 to the rest: below the threshold
    first = asked(tracklets([0, 5, 80], [0, 0, 0]))[0]
    assert first.reason == "weak_member"
    assert {first.left.face_id, first.right.face_id} == {"f1", "f2"}
    expected = (np.cos(np.radians(80)) + np.cos(np.radians(75))) / 2
    assert np.isclose(first.similarity, expected, atol=1e-5)
    assert first.margin < 0


def test_clusters_that_share_a_picture_are_not_asked_about() -> None:
    def one_picture(tracklet_ids: object) -> set[tuple[str, int]]:
        return {("clip", 0)}

    assert asked(tracklets([0, 30], [0, 1]), one_picture) == []
    assert len(asked(tracklets([0, 30], [0, 1]))) == 1


def test_reasons_say_how_many_sides_have_an_identity() -> None:
    names: list[list[str | None]] = [["a", "b"], ["a", None], [None, None]]
    reasons = [asked(tracklets([0, 60], [0, 1], pair))[0].reason for pair in names]
    assert reasons == ["bridge_between_identities", "unknown_near_identity", "unknown_pair"]


def test_a_pair_far_from_the_threshold_is_no_doubt() -> None:
    assert asked(tracklets([0, 170], [0, 1]), max_margin=0.2) == []


def test_tracklets_left_out_of_clustering_are_not_asked_about() -> None:
    assert asked(tracklets([0, 1], [0, -1])) == []
    assert group(tracklets([0], [-1])) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 359), st.integers(-1, 4)), min_size=0, max_size=14), st.integers(0, 6))
def test_questions_are_ordered_distinct_and_bounded(rows: list[tuple[int, int]], limit: int) -> None:
    found = tracklets([float(angle) for angle, _ in rows], [cluster for _, cluster in rows])
    questions = asked(found, limit=limit)
    margins = [question.margin for question in questions]
    assert margins == sorted(margins)
    assert len(questions) <= limit
    pairs = [tuple(sorted((str(q.left.identity_id), str(q.right.identity_id)))) for q in questions]
    assert len(set(pairs)) == len(pairs), "an identity pair was asked about twice"
    assert len({question.key for question in questions}) == len(questions)


def test_own_similarity_leaves_the_tracklet_itself_out() -> None:
    grouping = group(tracklets([0, 60, 10], [0, 0, 1]))
    assert grouping is not None
    own = grouping.own_similarity()
    assert np.allclose(own[:2], 0.5, atol=1e-6)
    assert np.isnan(own[2]), "a lone tracklet has no own similarity"
    rival = grouping.rival_similarity(SEARCH)
    assert np.isclose(rival[2], (np.cos(np.radians(10)) + np.cos(np.radians(50))) / 2, atol=1e-5)


def test_genuine_pairs_lie_right_of_impostor_pairs() -> None:
    found = tracklets([0, 0, 90, 90], [0, 0, 1, 1])
    histogram = genuine_impostor_histogram(found, {"t0": "a", "t1": "a", "t2": "b", "t3": "b"})
    genuine, impostor = histogram.series
    assert sum(genuine.counts) == 2
    assert genuine.counts[-1] == 2, "equal vectors have cosine 1"
    assert sum(impostor.counts) == impostor.counts[histogram.edges.index(0.0)] > 0
