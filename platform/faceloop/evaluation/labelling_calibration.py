"""calibration_of: what a similarity means under one recogniser, measured on the gold faces themselves."""

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.calibration import Calibration
from faceloop.clustering.impostors import Unlabelled, measure_calibration, robust_fit
from faceloop.clustering.nodes import Nodes

Int64Array = NDArray[np.int64]
_MOST_ROWS = 2_000


def calibration_of(contract_id: str, nodes: Nodes, truth: Int64Array, *, min_quality: float) -> Calibration:
    """Both recognisers of a comparison are calibrated alike, on the same faces: never one by a shipped file.

    Without labels, as everywhere; where the faces show too few people for that, on pairs that `truth` (n,) holds to
    be strangers, which flatters both alike. Needs two people at least.
    """
    good = np.flatnonzero(nodes.quality >= min_quality)
    vectors = nodes.vectors[good]
    found = measure_calibration(
        Unlabelled(
            contract_id=contract_id,
            node_ids=tuple(nodes.node_ids[row] for row in good.tolist()),
            vectors=vectors,
            same_picture=np.empty((0, 2), np.int64),
            genuine=np.empty(0, np.float32),
            source="the gold faces, without their labels",
        )
    )
    if isinstance(found, Calibration):
        return found
    rows = good if len(np.unique(truth[good])) > 1 else np.arange(len(truth))
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _MOST_ROWS)).astype(np.int64))]
    similarity = nodes.vectors[rows] @ nodes.vectors[rows].T
    is_pair = np.triu(truth[rows][:, None] != truth[rows][None, :], 1)
    mean, sd = robust_fit(similarity[is_pair])
    return Calibration(
        contract_id=contract_id,
        impostor_mean=mean,
        impostor_sd=sd,
        impostor_pairs=int(is_pair.sum()),
        people=len(np.unique(truth[rows])),
        same_picture_mean=None,
        same_picture_pairs=0,
        genuine_mean=None,
        genuine_pairs=0,
        method="pairs of people known to differ",
        source=f"pairs of the gold people themselves, for {found}",
    )
