"""What is clustered: tracklet templates with their weight, quality and subset."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facestore.errors import DataError

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
_UNIT_NORM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """One row a node, usually a tracklet; rows may come in any order. Raises DataError when malformed."""

    node_ids: tuple[str, ...]  # n unique sort keys
    vectors: Float32Array  # (n, d) unit norm templates
    weights: Float32Array  # (n,) > 0, quality-weighted number of faces behind the template
    quality: Float32Array  # (n,) in [0, 1]
    subset: NDArray[np.int32]  # (n,) code of the album, camera or session

    def __post_init__(self) -> None:
        n = len(self.node_ids)
        if len(set(self.node_ids)) != n:
            raise DataError("node ids repeat; give each node once")
        shapes = {len(self.vectors), len(self.weights), len(self.quality), len(self.subset)}
        if self.vectors.ndim != 2 or self.vectors.dtype != np.float32 or shapes != {n}:
            raise DataError(
                f"{n} node ids with vectors of shape {self.vectors.shape} ({self.vectors.dtype}) and columns "
                f"of lengths {sorted(shapes)}; give one float32 vector and one value a column for each node"
            )
        norms = np.linalg.norm(self.vectors, axis=1)
        is_bad = ~(np.abs(norms - 1) <= _UNIT_NORM_TOLERANCE)  # written so that NaN is bad
        if is_bad.any():
            row = int(np.flatnonzero(is_bad)[0])
            raise DataError(f"node {self.node_ids[row]} has a vector of norm {norms[row]}; give unit vectors")
        if not (np.isfinite(self.weights).all() and (self.weights > 0).all()):
            raise DataError("a node's weight is not a positive number; leave out nodes without faces")
        if not ((self.quality >= 0) & (self.quality <= 1)).all():
            raise DataError("a node's quality is outside [0, 1]; write a quality for every node")
        if (self.subset < 0).any():
            raise DataError("a subset code is negative; number the subsets from 0")

    def at(self, rows: Int64Array) -> "Nodes":
        """These rows, in this order."""
        return Nodes(
            node_ids=tuple(self.node_ids[row] for row in rows.tolist()),
            vectors=self.vectors[rows],
            weights=self.weights[rows],
            quality=self.quality[rows],
            subset=self.subset[rows],
        )
