"""How alike tracklets are to their own cluster and to others; genuine against impostor pairs."""

import numpy as np

from faceloop.clustering.knn import SearchParams
from faceloop.reports.grouping import group
from faceloop.reports.histograms import genuine_impostor_histogram
from faceloop.reports.material import Tracklets

SEARCH = SearchParams(flat_rows_max=1000, probes=4, block_rows=64)


def at(degrees: float) -> list[float]:
    return [float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))]


def tracklets(degrees: list[float], clusters: list[int]) -> Tracklets:
    count = len(degrees)
    return Tracklets(
        ids=tuple(f"t{row}" for row in range(count)),
        vectors=np.array([at(angle) for angle in degrees], dtype=np.float32).reshape(count, 2),
        weights=np.ones(count, dtype=np.float32),
        best_face_ids=tuple(f"f{row}" for row in range(count)),
        cluster_ids=np.array(clusters, dtype=np.int64),
        identity_ids=tuple(None if cluster < 0 else f"person-{cluster}" for cluster in clusters),
    )


def test_nothing_clustered_is_no_grouping() -> None:
    assert group(tracklets([0], [-1])) is None


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
