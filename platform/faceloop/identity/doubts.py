"""doubts: what of a clustering people should look at, as proposals that name faces."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from faceloop.clustering.calibration import Calibration
from faceloop.clustering.cleaning import CleaningParams, outliers
from faceloop.clustering.clustered import Clustered
from faceloop.clustering.knn import SearchParams
from faceloop.clustering.proposals import ClusterProposal, ProposalParams, propose_merges, propose_splits
from faceloop.identity.roster import Roster, SeenFace
from faceloop.params import StageParams
from facestore.records import Proposal

Int64Array = NDArray[np.int64]


class DoubtParams(StageParams):
    """Sigmas are standard deviations above strangers, deviations those of a cluster's own spread."""

    merge_sigmas: float  # clusters at least so similar may be one person
    split_sigmas: float  # halves less similar than this may be two
    min_half_nodes: int = Field(ge=1)
    edge_deviations: float = Field(gt=0)
    outlier_deviations: float = Field(gt=0)
    outlier_sigmas: float  # a member less similar than this to the rest may be a stranger
    rival_margin_sigmas: float = Field(ge=0)
    min_centre_nodes: int = Field(ge=2)
    prior_nodes: int = Field(ge=1)
    neighbours: int = Field(ge=1)
    limit: int = Field(ge=0)


def doubts(
    given: Clustered,
    faces: Sequence[SeenFace],
    roster: Roster,
    params: DoubtParams,
    calibration: Calibration,
    search: SearchParams,
    *,
    run_id: str,
) -> list[Proposal]:
    """Merges, splits and outliers worth a look, the strongest of each kind first.

    A node that a must-link ties is vouched for and no outlier.
    """
    proposing = ProposalParams(
        merge_similarity=calibration.cosine(params.merge_sigmas),
        split_similarity=calibration.cosine(params.split_sigmas),
        min_half_nodes=params.min_half_nodes,
        neighbours=params.neighbours,
        limit=params.limit,
        search=search,
    )
    cleaning = CleaningParams(
        edge_deviations=params.edge_deviations,
        outlier_deviations=params.outlier_deviations,
        min_similarity=calibration.cosine(params.outlier_sigmas),
        rival_margin=calibration.difference(params.rival_margin_sigmas),
        min_centre_nodes=params.min_centre_nodes,
        prior_nodes=params.prior_nodes,
        limit=params.limit,
        search=search,
    )
    is_vouched = np.zeros(len(given.labels), np.bool_)
    is_vouched[given.constraints.must_link.ravel()] = True
    found = [
        *propose_merges(given, proposing),
        *propose_splits(given, proposing),
        *outliers(given, is_vouched, cleaning),
    ]
    best = best_faces(faces, roster.node_of_face)
    return [_named(proposal, best, run_id) for proposal in found]


def best_faces(faces: Iterable[SeenFace], node_of_face: Mapping[str, int]) -> dict[int, str]:
    """The best crop of each node: highest quality, then smallest id."""
    best: dict[int, SeenFace] = {}
    for face in faces:
        node = node_of_face.get(face.face_id)
        if node is not None and (node not in best or _rank(face) < _rank(best[node])):
            best[node] = face
    return {node: face.face_id for node, face in best.items()}


def _rank(face: SeenFace) -> tuple[bool, float, str]:
    return not face.has_crop, -face.quality, face.face_id


def _named(found: ClusterProposal, best: Mapping[int, str], run_id: str) -> Proposal:
    return Proposal(
        kind=found.kind,
        first_cluster=found.first_label,
        second_cluster=found.second_label,
        first_face_id=best[found.first_row],
        second_face_id=best[found.second_row],
        score=found.score,
        faces=found.faces,
        reason=found.reason,
        run_id=run_id,
    )
