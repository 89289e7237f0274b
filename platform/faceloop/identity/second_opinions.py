"""What the other recognisers of a committee say of the clusters, as evidence: confidence, and questions.

Agreement of models is evidence, not proof: two may agree on all faces of a wrongly mixed cluster.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import expit, logit

from faceloop.clustering.calibration import Calibration, Shortage
from faceloop.clustering.impostors import Unlabelled, measure_calibration
from faceloop.clustering.knn import SearchParams
from faceloop.clustering.nodes import Nodes
from faceloop.identity.committee import Agreement, Opinion, agreement
from faceloop.params import StageParams
from facestore.records import Proposal, TrackletTemplate
from facestore.tables import column_matrix, read_columns

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
CalibrationOf = Callable[[str, Callable[[], Calibration | Shortage]], Calibration]
_CLIP = 1e-6


class CommitteeParams(StageParams):
    """What a recogniser's word is worth, in log-odds of a label's confidence."""

    same_sigmas: float  # a member agrees when the tracklet is so much like the rest of its cluster
    agrees: float = Field(ge=0)
    differs: float = Field(ge=0)
    limit: int = Field(ge=0)  # proposals at most


def read_opinions(embeddings: Path) -> list[Opinion]:
    """Templates of the committee, one opinion a contract; none without a committee."""
    table = read_columns(embeddings, "committee", TrackletTemplate, ("tracklet_id", "contract_id", "embedding"))
    contracts = np.array(table["contract_id"].to_pylist(), dtype=np.str_)
    found = []
    for contract in sorted(set(contracts.tolist())):
        part = table.filter(contracts == contract)
        ids = tuple(part["tracklet_id"].to_pylist())
        found.append(Opinion(contract_id=contract, tracklet_ids=ids, vectors=column_matrix(part, "embedding")))
    return found


def ask_committee(
    nodes: Nodes,
    labels: Int64Array,
    own: Calibration,
    opinions: Sequence[Opinion],
    calibration_of: CalibrationOf,
    params: CommitteeParams,
    search: SearchParams,
) -> Agreement | None:
    """Votes of all recognisers on each node's label, the clustering one among them; None without a committee.

    Raises ConfigError for a recogniser that has no calibration and too few people to measure one.
    """
    if not opinions:
        return None
    calibrations = {own.contract_id: own}
    for opinion in opinions:
        calibrations[opinion.contract_id] = calibration_of(opinion.contract_id, partial(_measured, opinion))
    mine = Opinion(contract_id=own.contract_id, tracklet_ids=nodes.node_ids, vectors=nodes.vectors)
    return agreement(
        nodes.node_ids, labels, [mine, *opinions], calibrations, same_sigmas=params.same_sigmas, search=search
    )


def weighed(confidence: Float32Array, votes: Agreement, params: CommitteeParams) -> Float32Array:
    """Confidence (n,) with the committee's word: each vote moves its log-odds. Unchanged where nobody could judge."""
    against = votes.differing()
    shift = params.agrees * votes.votes - params.differs * against
    odds = logit(np.clip(confidence.astype(np.float64), _CLIP, 1 - _CLIP)) + shift
    moved: Float32Array = np.where(votes.members > 0, expit(odds), confidence).astype(np.float32)
    return moved


def differing(
    votes: Agreement,
    labels: Int64Array,
    best_face: dict[int, str],
    faces: Int64Array,
    params: CommitteeParams,
    *,
    run_id: str,
) -> list[Proposal]:
    """Outlier proposals, reason `models_differ`, most votes against first: the node beside the one of its cluster that
    most models agree on."""
    against = votes.differing()
    rows = np.flatnonzero((against > 0) & (labels >= 0))
    steady: dict[int, int] = {}
    for row in np.lexsort((np.arange(len(labels)), against)).tolist():
        if labels[row] >= 0 and votes.members[row] > 0:
            steady.setdefault(int(labels[row]), row)
    ranked = sorted(rows.tolist(), key=lambda row: (-against[row] / votes.members[row], -against[row], best_face[row]))
    return [
        Proposal(
            kind="outlier",
            first_cluster=int(labels[row]),
            second_cluster=int(labels[row]),
            first_face_id=best_face[row],
            second_face_id=best_face[steady[int(labels[row])]],
            score=float(against[row] / votes.members[row]),
            faces=int(faces[row]),
            reason="models_differ",
            run_id=run_id,
        )
        for row in ranked[: params.limit]
    ]


def _measured(opinion: Opinion) -> Calibration | Shortage:
    return measure_calibration(
        Unlabelled(
            contract_id=opinion.contract_id,
            node_ids=tuple(opinion.tracklet_ids),
            vectors=opinion.vectors,
            same_picture=np.empty((0, 2), np.int64),
            genuine=np.empty(0, np.float32),
            source="the faces that were clustered",
        )
    )
