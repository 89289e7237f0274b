from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from faceloop.clustering.constraints import Constraints
from faceloop.clustering.incoherent import incoherent_clusters
from faceloop.clustering.knn import SearchParams
from faceloop.clustering.nodes import Nodes
from faceloop.clustering.params import PartitionParams
from faceloop.clustering.partition import partition
from faceloop.clustering.ties import NO_PAIRS, Ties

PEOPLE, FACES = 12, 60
PARAMS = PartitionParams(
    neighbours=16,
    micro_similarity=0.9999,
    within_similarity=0.5,
    across_similarity=0.5,
    attach_similarity=0.3,
    attach_margin=0.1,
    min_quality=0.3,
    full_quality=0.0,
    quality_toll=0.0,
    hubness_share=1.0,
    hubness_similarity=0.5,
    hubness_skipped=1,
    hubness_cohort=5,
    hubness_prior=2,
    confidence_scale=0.05,
    search=SearchParams(flat_rows_max=10_000, probes=8, block_rows=512),
)


def crowds(blur_quality: float) -> Nodes:
    """PEOPLE people of FACES faces each on orthogonal axes; the faces of the last one are blurred, and two of them
    are nearly the same picture."""
    rng = np.random.default_rng(0)
    centres = np.repeat(np.eye(PEOPLE + 2)[:PEOPLE], FACES, axis=0)
    vectors = centres + 0.1 * rng.standard_normal(centres.shape)
    vectors[-1] = vectors[-2] + 1e-3
    quality = rng.uniform(0.7, 0.9, len(vectors))
    quality[-FACES:] = blur_quality
    return Nodes(
        node_ids=tuple(f"{row:04d}" for row in range(len(vectors))),
        vectors=(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32),
        weights=np.ones(len(vectors), np.float32),
        quality=quality.astype(np.float32),
        subset=np.zeros(len(vectors), np.int32),
    )


def labels_of(nodes: Nodes, must_link: NDArray[np.int64]) -> tuple[NDArray[np.int64], tuple[str | None, ...]]:
    found = partition(nodes=nodes, constraints=Constraints(must_link=must_link, cannot_link=NO_PAIRS), params=PARAMS)
    return found.labels, found.drop_reasons


def test_a_crowd_of_poor_faces_is_taken_apart_and_what_is_alike_beyond_doubt_stays() -> None:
    labels, reasons = labels_of(crowds(0.4), NO_PAIRS)
    assert labels[:-FACES].tolist() == np.repeat(np.arange(PEOPLE - 1), FACES).tolist()
    assert labels[-FACES:-2].tolist() == [-1] * (FACES - 2)
    assert labels[-2:].tolist() == [PEOPLE - 1] * 2
    assert reasons == (None,) * ((PEOPLE - 1) * FACES) + ("incoherent",) * (FACES - 2) + (None, None)


def test_a_crowd_that_is_only_a_little_poorer_stays() -> None:
    labels, reasons = labels_of(crowds(0.78), NO_PAIRS)
    assert labels.tolist() == np.repeat(np.arange(PEOPLE), FACES).tolist()
    assert set(reasons) == {None}


def test_a_crowd_that_a_person_has_spoken_about_stays() -> None:
    tied = np.array([[PEOPLE * FACES - 5, PEOPLE * FACES - 9]])
    labels, _ = labels_of(crowds(0.4), tied)
    assert labels.tolist() == np.repeat(np.arange(PEOPLE), FACES).tolist()


def test_a_crowd_tied_to_another_cluster_stays() -> None:
    labels, _ = labels_of(crowds(0.4), np.array([[0, PEOPLE * FACES - 9]]))
    assert labels[-FACES:].tolist() == [0] * FACES


def test_with_few_crowds_there_is_no_usual_quality() -> None:
    nodes = crowds(0.4)
    few = nodes.at(np.arange(len(nodes.node_ids) - 4 * FACES, len(nodes.node_ids)))
    labels, _ = labels_of(replace(few), NO_PAIRS)
    assert labels.tolist() == np.repeat(np.arange(4), FACES).tolist()


@given(seed=st.integers(0, 500))
def test_no_cluster_with_a_tied_node_is_ever_incoherent(seed: int) -> None:
    rng = np.random.default_rng(seed)
    of_node = np.repeat(np.arange(15), 55)
    quality = (rng.random(15)[of_node] * 0.5 + rng.random(len(of_node)) * 0.5).astype(np.float32)
    is_tied = rng.random(len(of_node)) < 0.01
    ties = Ties.between(rng.integers(0, 15, (3, 2)), NO_PAIRS, 15)
    found = incoherent_clusters(of_node, quality, ties, is_tied)
    spoken_about = np.isin(ties.group_of, ties.group_of[of_node[is_tied]])
    assert not (found & spoken_about).any()
    free = incoherent_clusters(of_node, quality, ties, np.zeros(len(of_node), np.bool_))
    assert (found == (free & ~spoken_about)).all()
