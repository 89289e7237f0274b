"""committee: how many recognisers agree with a label, each by its own similarities and its own calibration.

Recognisers that were trained on other data make other mistakes: where they agree a label is surer than either says
alone, where they differ a person should look (query by committee: Seung et al. 1992).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.calibration import Calibration
from faceloop.clustering.knn import SearchParams, nearest
from facestore.errors import ConfigError, DataError

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
_LOOKED_AT = 2  # nearest clusters of each tracklet: its own may be one of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """Templates of one recogniser, in any order; a tracklet it could not embed is missing."""

    contract_id: str
    tracklet_ids: tuple[str, ...]  # m
    vectors: Float32Array  # (m, d) unit norm


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Votes for the label of each tracklet, in the order of the given ids."""

    votes: Int64Array  # (n,) members that agree
    members: Int64Array  # (n,) members that could judge: they saw the tracklet, and it has company

    def differing(self) -> Int64Array:
        """Members that do not agree, (n,)."""
        return self.members - self.votes

    def words(self, row: int) -> str | None:
        """`differs in 1 of 2 models`; None where all agree or nobody could judge."""
        against = int(self.differing()[row])
        return f"differs in {against} of {int(self.members[row])} models" if against else None


def agreement(
    tracklet_ids: Sequence[str],
    labels: Int64Array,
    opinions: Sequence[Opinion],
    calibrations: Mapping[str, Calibration],
    *,
    same_sigmas: float,
    search: SearchParams,
) -> Agreement:
    """Ask each recogniser about `labels` (n,), clusters 0 and up, -1: not clustered.

    A member agrees when the tracklet's mean similarity to the rest of its cluster is `same_sigmas` or more above
    strangers, and no other cluster is nearer. It judges neither a tracklet that it has no template of nor one whose
    cluster it sees nobody else of. The cost is one search of clusters a member.

    Raises ConfigError for a contract without calibration, DataError where labels and ids differ in number.
    """
    if len(labels) != len(tracklet_ids):
        raise DataError(f"{len(tracklet_ids)} tracklets with {len(labels)} labels; give one label each")
    votes, members = np.zeros(len(labels), np.int64), np.zeros(len(labels), np.int64)
    row_of = {tracklet: row for row, tracklet in enumerate(tracklet_ids)}
    for opinion in opinions:
        if opinion.contract_id not in calibrations:
            raise ConfigError(
                f"recogniser {opinion.contract_id} of the committee has no calibration; "
                "write one with `faceloop calibrate --out FILE`"
            )
        known = np.array([row_of.get(tracklet, -1) for tracklet in opinion.tracklet_ids], np.int64)
        is_asked = known >= 0
        is_asked[is_asked] = labels[known[is_asked]] >= 0
        rows = known[is_asked]
        if not len(rows):
            continue
        threshold = calibrations[opinion.contract_id].cosine(same_sigmas)
        agrees, can_judge = _vote(opinion.vectors[is_asked], labels[rows], threshold, search)
        votes[rows] += agrees & can_judge
        members[rows] += can_judge
    return Agreement(votes=votes, members=members)


def _vote(
    vectors: Float32Array, labels: Int64Array, threshold: float, search: SearchParams
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(agrees, can judge) of each tracklet, (m,) both."""
    _, codes = np.unique(labels, return_inverse=True)
    counts = np.bincount(codes)
    sums = np.zeros((len(counts), vectors.shape[1]), np.float32)
    np.add.at(sums, codes, vectors)
    rest = sums[codes] - vectors
    can_judge: NDArray[np.bool_] = counts[codes] > 1
    own = np.einsum("md,md->m", vectors, rest) / np.maximum(counts[codes] - 1, 1)
    near = nearest(vectors, (sums / counts[:, None]).astype(np.float32), _LOOKED_AT, search)
    is_other = (near.index >= 0) & (near.index != codes[:, None])
    rival = np.where(is_other, near.similarity, -np.inf).max(axis=1)
    agrees: NDArray[np.bool_] = (own >= threshold) & (own >= rival)
    return agrees, can_judge
