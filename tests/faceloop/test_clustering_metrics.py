from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import normalized_mutual_info_score

from faceloop.clustering.metrics import score_partition
from facestore.errors import DataError


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def test_a_perfect_partition_scores_one_whatever_its_numbers() -> None:
    scores = score_partition(ints(7, 7, 3, 3, 5), ints(0, 0, 1, 1, 2))
    assert scores.pairwise_f == scores.bcubed_f == 1.0
    assert scores.nmi == pytest.approx(1.0)
    assert (scores.identities_split, scores.clusters_mixed, scores.n_clusters) == (0, 0, 3)


def test_one_cluster_for_two_pairs_is_a_third_right_pairwise_and_half_right_per_face() -> None:
    scores = score_partition(ints(0, 0, 0, 0), ints(0, 0, 1, 1))
    assert scores.pairwise_precision == pytest.approx(2 / 6)
    assert scores.pairwise_recall == 1.0
    assert (scores.bcubed_precision, scores.bcubed_recall) == (0.5, 1.0)
    assert (scores.clusters_mixed, scores.identities_split, scores.nmi) == (1, 0, 0.0)


def test_left_out_faces_are_clusters_of_their_own() -> None:
    scores = score_partition(ints(-1, -1, 4), ints(0, 0, 0))
    assert (scores.n_clusters, scores.identities_split) == (3, 1)
    assert (scores.pairwise_precision, scores.pairwise_recall) == (1.0, 0.0)


def test_labels_of_different_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="same length"):
        score_partition(ints(0, 1), ints(0))


def test_no_faces_are_refused() -> None:
    with pytest.raises(DataError, match="at least 1"):
        score_partition(ints(), ints())


labelled = st.lists(st.tuples(st.integers(-1, 4), st.integers(0, 4)), min_size=1, max_size=14)


@given(labelled)
def test_scores_equal_their_definition_over_all_pairs_and_faces(rows: list[tuple[int, int]]) -> None:
    cluster = [label if label >= 0 else 100 + face for face, (label, _) in enumerate(rows)]
    identity = [person for _, person in rows]
    faces = range(len(rows))
    joined = [cluster[a] == cluster[b] for a, b in combinations(faces, 2)]
    same = [identity[a] == identity[b] for a, b in combinations(faces, 2)]
    right = sum(j and s for j, s in zip(joined, same, strict=True))
    both = [[cluster[a] == cluster[b] and identity[a] == identity[b] for b in faces] for a in faces]
    precision = [sum(both[a]) / cluster.count(cluster[a]) for a in faces]
    recall = [sum(both[a]) / identity.count(identity[a]) for a in faces]

    scores = score_partition(ints(*(label for label, _ in rows)), ints(*identity))

    assert scores.pairwise_precision == pytest.approx(right / sum(joined) if any(joined) else 1.0)
    assert scores.pairwise_recall == pytest.approx(right / sum(same) if any(same) else 1.0)
    assert scores.bcubed_precision == pytest.approx(np.mean(precision))
    assert scores.bcubed_recall == pytest.approx(np.mean(recall))
    assert scores.nmi == pytest.approx(normalized_mutual_info_score(identity, cluster), abs=1e-9)
    split = sum(len({c for c, i in zip(cluster, identity, strict=True) if i == p}) > 1 for p in set(identity))
    mixed = sum(len({i for c, i in zip(cluster, identity, strict=True) if c == k}) > 1 for k in set(cluster))
    assert (scores.identities_split, scores.clusters_mixed) == (split, mixed)
    assert (scores.n_clusters, scores.n_identities) == (len(set(cluster)), len(set(identity)))
