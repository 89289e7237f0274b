"""Nodes with the labels they were given: what proposals and cleaning look at."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.clusters import Clusters
from faceloop.clustering.constraints import Constraints, checked_pairs
from faceloop.clustering.nodes import Nodes
from facestore.errors import DataError

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clustered:
    """The outcome of a partition, one entry a node in the order of `nodes`. Raises DataError when malformed."""

    nodes: Nodes
    labels: Int64Array  # (n,) cluster >= 0, -1 left out
    hubness: Float32Array  # (n,) that was taken off the node's similarities
    faces: Int64Array  # (n,) faces behind the node
    constraints: Constraints

    def __post_init__(self) -> None:
        n = len(self.nodes.node_ids)
        lengths = [len(self.labels), len(self.hubness), len(self.faces)]
        if set(lengths) != {n}:
            raise DataError(f"{n} nodes with labels, hubness and faces of lengths {lengths}; give one entry a node")
        if n and self.labels.min() < -1:
            raise DataError("a label is below -1; number clusters from 0 and leave nodes out with -1")
        for pairs in (self.constraints.must_link, self.constraints.cannot_link):
            checked_pairs(pairs, n)

    @property
    def count(self) -> int:
        """One more than the largest label."""
        return int(self.labels.max(initial=-1)) + 1

    def in_id_order(self) -> tuple["Clustered", Int64Array]:
        """The same with its rows sorted by node id, and the row each came from: sums no longer depend on row order."""
        ids = self.nodes.node_ids
        order = np.asarray(sorted(range(len(ids)), key=ids.__getitem__), np.int64)
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        ordered = Clustered(
            nodes=self.nodes.at(order),
            labels=self.labels[order],
            hubness=self.hubness[order],
            faces=self.faces[order],
            constraints=Constraints(
                must_link=rank[self.constraints.must_link].reshape(-1, 2),
                cannot_link=rank[self.constraints.cannot_link].reshape(-1, 2),
            ),
        )
        return ordered, order

    def leaves(self) -> Clusters:
        """Each node as a cluster of one, with its hubness."""
        return Clusters.of_nodes(self.nodes.vectors, self.nodes.weights).with_hubness(self.hubness)

    def clusters(self) -> Clusters:
        """The clusters by label, (count); a label without nodes is an empty cluster of weight 1."""
        is_in = self.labels >= 0
        kept = Clusters.of_nodes(self.nodes.vectors[is_in], self.nodes.weights[is_in])
        joined = kept.with_hubness(self.hubness[is_in]).gathered(self.labels[is_in], self.count)
        return Clusters(
            vector_sums=joined.vector_sums,
            weights=np.where(joined.weights > 0, joined.weights, np.float32(1)),
            hubness_sums=joined.hubness_sums,
        )
