from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from faceloop.clustering.cleaning import CORE, EDGE, NO_BAND, OUTLIER, CleaningParams, node_bands, outliers
from faceloop.clustering.clustered import Clustered
from faceloop.clustering.constraints import Constraints
from faceloop.clustering.knn import SearchParams
from faceloop.clustering.nodes import Nodes
from facestore.errors import ConfigError

PARAMS = CleaningParams(
    edge_deviations=2.0,
    outlier_deviations=4.0,
    min_similarity=0.4,
    rival_margin=0.0,
    min_centre_nodes=3,
    prior_nodes=5,
    limit=100,
    search=SearchParams(flat_rows_max=10_000, probes=8, block_rows=512),
)


def pairs(*rows: tuple[int, int]) -> NDArray[np.int64]:
    return np.array(rows, np.int64).reshape(-1, 2)


def clustered(vectors: NDArray[Any], labels: list[int], must_link: NDArray[np.int64] | None = None) -> Clustered:
    n = len(vectors)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return Clustered(
        nodes=Nodes(
            node_ids=tuple(f"node-{row:03d}" for row in range(n)),
            vectors=unit.astype(np.float32),
            weights=np.ones(n, np.float32),
            quality=np.linspace(0.2, 0.9, n).astype(np.float32),
            subset=np.zeros(n, np.int32),
        ),
        labels=np.array(labels, np.int64),
        hubness=np.zeros(n, np.float32),
        faces=np.full(n, 3, np.int64),
        constraints=Constraints(must_link=pairs() if must_link is None else must_link, cannot_link=pairs()),
    )


def around_axes(people: int, faces: int) -> NDArray[np.float64]:
    axes = np.repeat(np.eye(people + 2)[:people], faces, axis=0)
    return np.asarray(axes + 0.1 * np.random.default_rng(1).standard_normal(axes.shape))


def nobody(given_clusters: Clustered) -> NDArray[np.bool_]:
    return np.zeros(len(given_clusters.labels), np.bool_)


def a_stranger_among_eight() -> Clustered:
    """Two people of eight nodes; node 3 of the first is neither of them."""
    vectors = around_axes(2, 8)
    vectors[3] = [0, 0, 1, 0.2]
    return clustered(vectors, [0] * 8 + [1] * 8)


def test_the_angle_is_that_to_the_others_of_the_cluster() -> None:
    radians = np.deg2rad([0.0, 10.0, 50.0])
    bands = node_bands(clustered(np.stack([np.cos(radians), np.sin(radians)], axis=1), [0, 0, 0]), PARAMS)
    assert bands.angle_deg.tolist() == pytest.approx([30.0, 15.0, 45.0], abs=1e-2)


def test_a_stranger_is_proposed_beside_the_best_core_shot() -> None:
    given_clusters = a_stranger_among_eight()
    (found,) = outliers(given_clusters, nobody(given_clusters), PARAMS)
    assert (found.kind, found.reason, found.first_row, found.second_row) == ("outlier", "far_from_core", 3, 7)
    assert (found.first_label, found.second_label, found.faces) == (0, 0, 3)


def test_a_node_of_another_cluster_is_proposed_as_nearer_to_it() -> None:
    vectors = around_axes(2, 8)
    given_clusters = clustered(vectors, [0] * 8 + [0] + [1] * 7)
    (found,) = outliers(given_clusters, nobody(given_clusters), PARAMS)
    assert (found.reason, found.first_row, found.first_label) == ("nearer_to_other", 8, 0)
    assert node_bands(given_clusters, PARAMS).rival_label[8] == 1


def test_whom_people_vouched_for_or_tied_is_never_proposed() -> None:
    given_clusters = a_stranger_among_eight()
    vouched = nobody(given_clusters)
    vouched[3] = True
    assert outliers(given_clusters, vouched, PARAMS) == []
    tied = replace(given_clusters, constraints=Constraints(must_link=pairs((3, 5)), cannot_link=pairs()))
    assert outliers(tied, nobody(tied), PARAMS) == []


def test_a_person_with_two_looks_has_no_outliers() -> None:
    looks = np.concatenate([around_axes(2, 8)[:8], around_axes(2, 8)[8:] + np.array([0.6, 0, 0, 0])])
    bands = node_bands(clustered(looks, [0] * 16), PARAMS)
    assert not (bands.band == OUTLIER).any()
    assert bands.angle_deg.max() < 25


def test_a_lone_or_left_out_node_has_no_band() -> None:
    bands = node_bands(clustered(np.eye(3), [0, -1, 1]), PARAMS)
    assert bands.band.tolist() == [NO_BAND] * 3
    assert np.isnan(bands.angle_deg).all()
    nothing = clustered(np.empty((0, 2)), [])
    assert outliers(nothing, nobody(nothing), PARAMS) == []


def test_bands_follow_the_spread_of_the_cluster_itself() -> None:
    vectors = around_axes(1, 40)
    vectors[7] += [0, 0.45, 0]
    bands = node_bands(clustered(vectors, [0] * 40), PARAMS)
    assert bands.band[7] == EDGE  # far for this cluster, but not below the threshold
    assert (bands.band == CORE).sum() >= 35


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), n=st.integers(0, 40), count=st.integers(1, 4))
def test_bands_are_the_same_in_any_order_and_proposals_are_of_free_nodes_with_company(
    seed: int, n: int, count: int
) -> None:
    rng = np.random.default_rng(seed)
    given_clusters = clustered(rng.standard_normal((n, 4)), rng.integers(-1, count, n).tolist())
    is_vouched = rng.random(n) < 0.3
    found = outliers(given_clusters, is_vouched, PARAMS)
    for one in found:
        assert not is_vouched[one.first_row]
        assert given_clusters.labels[one.first_row] == given_clusters.labels[one.second_row] >= 0
        assert one.first_row != one.second_row
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    order = rng.permutation(n)
    turned = Clustered(
        nodes=given_clusters.nodes.at(order),
        labels=given_clusters.labels[order],
        hubness=given_clusters.hubness[order],
        faces=given_clusters.faces[order],
        constraints=given_clusters.constraints,
    )
    bands, again = node_bands(given_clusters, PARAMS), node_bands(turned, PARAMS)
    assert again.band.tolist() == bands.band[order].tolist()
    np.testing.assert_array_equal(again.angle_deg, bands.angle_deg[order])


def test_params_out_of_order_are_refused() -> None:
    with pytest.raises(ConfigError, match="edge"):
        replace(PARAMS, outlier_deviations=1.0)
    with pytest.raises(ConfigError, match="min_centre_nodes"):
        replace(PARAMS, min_centre_nodes=1)
