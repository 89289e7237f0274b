"""Our one setting on the vectors at hand: calibrated to their strangers without labels, or deliberately off."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.calibration import Calibration, Shortage
from faceloop.clustering.impostors import Unlabelled, measure_calibration
from faceloop.clustering.params import PartitionParams
from faceloop.params import read_params, section
from faceloop.stages.cluster import Params as ClusterParams

Float32Array = NDArray[np.float32]

OURS = section(read_params(Path(__file__).parents[1] / "params.yaml"), "cluster", ClusterParams)
SLIPPING = ("micro_similarity", "within_similarity", "across_similarity", "attach_similarity", "hubness_similarity")


def calibration_of(name: str, vectors: Float32Array) -> Calibration:
    """Measured on vectors (n, d) of a recogniser, no labels read. Raises SystemExit where they hold too few people."""
    found = measure_calibration(
        Unlabelled(
            contract_id=name,
            node_ids=tuple(f"{row:09d}" for row in range(len(vectors))),
            vectors=vectors,
            same_picture=np.empty((0, 2), np.int64),
            genuine=np.empty(0, np.float32),
            source=name,
        )
    )
    if isinstance(found, Shortage):
        raise SystemExit(f"{name}: {found}")
    return found


def calibrated_params(name: str, vectors: Float32Array) -> PartitionParams:
    """Section `cluster` of params.yaml, in cosines of this recogniser; every given face takes part."""
    return replace(OURS.partition(calibration_of(name, vectors)), min_quality=0.0)


def slipped(params: PartitionParams, slip: float) -> PartitionParams:
    """All thresholds off by this cosine: how much a wrong calibration costs."""
    return replace(params, **{name: getattr(params, name) + slip for name in SLIPPING})
