"""One side of the comparison: gold faces clustered with one recogniser, scored, and questioned to the end."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.bootstrap import bootstrap_scores
from faceloop.clustering.calibration import Calibration
from faceloop.clustering.constraints import Constraints
from faceloop.clustering.metrics import contingency, score_partition
from faceloop.clustering.nodes import Nodes
from faceloop.clustering.own_vectors import nodes_of_vectors
from faceloop.clustering.params import PartitionParams
from faceloop.clustering.partition import Partition, partition
from faceloop.clustering.sigmas import calibrated
from faceloop.evaluation.labelling_calibration import calibration_of
from faceloop.evaluation.labelling_figures import GoldFace, ModelVectors, SideFigures
from faceloop.evaluation.labelling_params import AskedParams, LabellingParams
from faceloop.questions.beliefs import Trust
from faceloop.questions.candidates import CandidateParams
from faceloop.questions.oracle import Oracle, SimulationParams, World, questions_to_reach, simulate
from faceloop.questions.selection import SelectionParams

Int64Array = NDArray[np.int64]
_ORACLE_ERROR_RATE = 0.01  # what selection presumes of a person who never errs, as `faceloop simulate`


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """The gold faces as the platform clusters them with one recogniser."""

    contract_id: str
    calibration: Calibration
    numbers: PartitionParams
    nodes: Nodes
    node_of_face: Int64Array  # (f,)
    result: Partition
    labels: Int64Array  # (f,) a node that was left out is a cluster of its own


def cluster_side(
    side: ModelVectors, faces: list[GoldFace], truth: Int64Array, order: Int64Array, params: LabellingParams
) -> Side:
    """Templates of tracklets, a calibration, the clustering. `order` (f,) are the rows of `faces` in the vectors;
    `truth` (f,) serves the calibration where people are few, never the clustering."""
    subsets, tracklets = (sorted(set(names)) for names in zip(*[(f.subset, _unit(f)) for f in faces], strict=True))
    own = nodes_of_vectors(
        side.vectors[order].astype(np.float32),
        tracklets=np.array([tracklets.index(_unit(face)) for face in faces], np.int64),
        subsets=np.array([subsets.index(face.subset) for face in faces], np.int64),
        quality=np.array([face.quality for face in faces], np.float32),
        normalise=True,
    )
    nodes, node_of_face = own.nodes, own.node_of_row
    _, first = np.unique(node_of_face, return_index=True)
    calibration = calibration_of(side.contract_id, nodes, truth[first], min_quality=params.clustering.min_quality)
    numbers = calibrated(params.clustering.sigmas(), calibration)
    nothing = np.empty((0, 2), np.int64)
    result = partition(nodes=nodes, constraints=Constraints(must_link=nothing, cannot_link=nothing), params=numbers)
    alone = result.labels.max(initial=-1) + 1 + np.arange(len(result.labels))
    return Side(
        contract_id=side.contract_id,
        calibration=calibration,
        numbers=numbers,
        nodes=nodes,
        node_of_face=node_of_face,
        result=result,
        labels=np.where(result.labels >= 0, result.labels, alone)[node_of_face],
    )


def side_figures(side: Side, truth: Int64Array, params: LabellingParams) -> SideFigures:
    """Scores over faces, what is labelled surely, and what a person would still be asked."""
    scores = score_partition(side.labels, truth)
    intervals = bootstrap_scores(side.labels, truth, resamples=params.resamples, seed=params.seed, level=params.level)
    label = side.result.labels[side.node_of_face]
    nodes_in = np.bincount(side.result.labels[side.result.labels >= 0], minlength=1)
    is_labelled = (label >= 0) & (side.result.confidence[side.node_of_face] >= params.sure_confidence)
    is_labelled &= nodes_in[np.maximum(label, 0)] > 1
    table = contingency(side.labels, truth)
    largest = np.full(len(table.cluster_sizes), -1, np.int64)
    by_count = np.argsort(table.counts, kind="stable")
    largest[table.cell_cluster[by_count]] = table.cell_identity[by_count]
    _, cluster = np.unique(side.labels, return_inverse=True)
    is_right = largest[cluster] == truth
    questions, minutes = _asked(side, truth, params.asked, params.seed)
    return SideFigures(
        contract_id=side.contract_id,
        calibration=side.calibration.source,
        impostor_mean=side.calibration.impostor_mean,
        impostor_sd=side.calibration.impostor_sd,
        pairwise_f=scores.pairwise_f,
        pairwise_f_interval=intervals.pairwise_f,
        bcubed_f=scores.bcubed_f,
        bcubed_f_interval=intervals.bcubed_f,
        clusters=scores.n_clusters,
        identities_split=scores.identities_split,
        clusters_mixed=scores.clusters_mixed,
        labelled_share=float(is_labelled.mean()),
        labelled_right=float(is_right[is_labelled].mean()) if is_labelled.any() else 1.0,
        questions=questions,
        minutes=minutes,
    )


def _asked(side: Side, truth: Int64Array, asked: AskedParams, seed: int) -> tuple[int | None, float | None]:
    """Questions, and minutes of a person, until pairwise F stays at the target."""
    if not asked.most:
        return None, None
    _, first, faces = np.unique(side.node_of_face, return_index=True, return_counts=True)
    nothing = np.empty((0, 2), np.int64)
    world = World(
        nodes=side.nodes,
        faces=faces.astype(np.int64),
        truth=truth[first],
        known=Constraints(must_link=nothing, cannot_link=nothing),
        partition_params=side.numbers,
    )
    selection = SelectionParams(
        candidates=CandidateParams(
            threshold=side.numbers.across_similarity,
            confidence_scale=side.numbers.confidence_scale,
            neighbours=asked.neighbours,
            search=side.numbers.search,
        ),
        trust=Trust(error_rate=_ORACLE_ERROR_RATE, certainty=asked.certainty),
        lowest_chance=asked.lowest_chance,
        merge_s=asked.seconds,
        split_s=asked.seconds,
        outlier_s=asked.seconds,
    )
    run = SimulationParams(strategy="expected_gain", questions=asked.most, batch_size=asked.batch, seed=seed)
    history = simulate(world, Oracle(truth=world.truth, error_rate=0.0), selection, run)
    reached = questions_to_reach(history, asked.target_f)
    minutes = next((progress.minutes for progress in history if progress.questions == reached), None)
    return reached, minutes


def _unit(face: GoldFace) -> str:
    return hashed(f"{face.tracklet_id} {face.identity_id}")


def hashed(name: str) -> str:
    """An id that says nothing."""
    return hashlib.sha256(name.encode()).hexdigest()
