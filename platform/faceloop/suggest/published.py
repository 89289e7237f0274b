"""The published tables as columns: which node a face belongs to, its cluster, its identity, and vectors to compare."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from faceloop.clustering.clusters import Clusters
from facestore.errors import ContractMismatch, DataError
from facestore.records import Assignment, Cluster, ClusterNode, Face, FaceEmbedding, Identity, TrackletTemplate
from facestore.tables import column_matrix, read_columns

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
NOBODY = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Rows by the group they are in."""

    rows: Int64Array  # (m,) sorted by group
    starts: Int64Array  # (groups + 1,) where each begins

    @classmethod
    def of(cls, group: Int64Array) -> "Groups":
        """`group` (n,) from 0, below it for a row in none."""
        rows = np.flatnonzero(group >= 0)
        rows = rows[np.argsort(group[rows], kind="stable")]
        counts = np.bincount(group[rows]) if len(rows) else np.zeros(0, np.int64)
        return cls(rows=rows, starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))

    def at(self, group: int) -> Int64Array:
        """Rows of one group, (k,); none for a group beyond the last."""
        return self.rows[self.starts[group] : self.starts[group + 1]] if group + 1 < len(self.starts) else self.rows[:0]


@dataclass(frozen=True)  # no slots: the sums are worked out when they are first asked for
class Published:
    """Arrays over faces (f), nodes (n, of the last clustering), clusters (c) and identities (p). Read-only."""

    face_ids: NDArray[np.bytes_]  # (f,) sorted
    tracklet_ids: NDArray[np.bytes_]  # (f,) of each face
    moment_of_face: Int64Array  # (f,) faces of one number are in one picture
    node_of_face: Int64Array  # (f,) NOBODY without one
    identity_of_face: Int64Array  # (f,) NOBODY without one
    vectors: Float32Array  # (n, d) unit norm
    weights: Float32Array  # (n,) > 0
    hubness: Float32Array  # (n,)
    confidence: Float32Array  # (n,) [0, 1] of its label, with the committee's word
    labels: Int64Array  # (n,) cluster, NOBODY where left out
    identity_ids: tuple[str, ...]  # (p,) active ones
    best_face_ids: tuple[str, ...]  # (p,)
    contract_id: str

    def row_of(self, face_id: str) -> int | None:
        """The face's row; None for a face that is not published."""
        name = face_id.encode()
        row = int(np.searchsorted(self.face_ids, name))
        return row if row < len(self.face_ids) and self.face_ids[row] == name else None

    def tracklet_of(self, face_id: str) -> str | None:
        row = self.row_of(face_id)
        return None if row is None else bytes(self.tracklet_ids[row]).decode()

    def node_of(self, face_id: str) -> int | None:
        """The node that a face was clustered in, if it was."""
        row = self.row_of(face_id)
        node = NOBODY if row is None else int(self.node_of_face[row])
        return None if node == NOBODY else node

    @cached_property
    def leaves(self) -> Clusters:
        """(n) each node alone."""
        return Clusters.of_nodes(self.vectors, self.weights).with_hubness(self.hubness)

    @cached_property
    def of_clusters(self) -> "Groups":
        """Rows of nodes by cluster."""
        return Groups.of(self.labels)

    @cached_property
    def of_identities(self) -> "Groups":
        """Rows of nodes by identity."""
        return Groups.of(self.identity_of_node)

    @cached_property
    def clusters(self) -> Clusters:
        """(c) by label; a label without nodes is an empty cluster of weight 1."""
        return _sums(self.leaves, self.labels, int(self.labels.max(initial=NOBODY)) + 1)

    @cached_property
    def cluster_means(self) -> Float32Array:
        """(c, d)"""
        return self.clusters.means()

    @cached_property
    def identity_of_node(self) -> Int64Array:
        """(n,) that of its first labelled face, NOBODY without one."""
        found = np.full(len(self.labels), NOBODY, np.int64)
        known = np.flatnonzero((self.identity_of_face >= 0) & (self.node_of_face >= 0))[::-1]
        found[self.node_of_face[known]] = self.identity_of_face[known]
        return found

    @cached_property
    def identities(self) -> Clusters:
        """(p) the sums of their nodes."""
        return _sums(self.leaves, self.identity_of_node, len(self.identity_ids))

    @cached_property
    def identity_means(self) -> Float32Array:
        """(p, d)"""
        return self.identities.means()


def read_published(*, faces: Path, embeddings: Path, clusters: Path, assignments: Path) -> Published:
    """Raises DataError for tables that are not what they should be or do not belong together, ContractMismatch for
    templates of several embedding contracts."""
    table = read_columns(faces, "faces", Face, ("face_id", "tracklet_id", "footage_id", "pts_ms")).sort_by("face_id")
    face_ids, tracklet_ids = _strings(table, "face_id"), _strings(table, "tracklet_id")
    nodes = read_columns(clusters, "nodes", ClusterNode).sort_by("node_id")
    node_ids = _strings(nodes, "node_id")
    templates = _Vectors.read(embeddings, node_ids)
    own = _places(face_ids, node_ids)
    identities = read_columns(assignments, "identities", Identity, ("identity_id", "is_active", "best_face_id"))
    identities = identities.filter(identities["is_active"]).sort_by("identity_id")
    return Published(
        face_ids=face_ids,
        tracklet_ids=tracklet_ids,
        moment_of_face=_moments(table),
        node_of_face=np.where(own >= 0, own, _places(tracklet_ids, node_ids)),
        identity_of_face=_identity_of_face(assignments, face_ids, _strings(identities, "identity_id")),
        vectors=templates.vectors,
        weights=templates.weights,
        hubness=nodes["hubness"].to_numpy().astype(np.float32),
        confidence=_confidence(clusters, nodes, node_ids),
        labels=nodes["cluster_id"].to_numpy().astype(np.int64),
        identity_ids=tuple(identities["identity_id"].to_pylist()),
        best_face_ids=tuple(identities["best_face_id"].to_pylist()),
        contract_id=templates.contract_id,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Vectors:
    vectors: Float32Array
    weights: Float32Array
    contract_id: str

    @classmethod
    def read(cls, embeddings: Path, node_ids: NDArray[np.bytes_]) -> "_Vectors":
        """Of each node: the template of its tracklet, or the vector of its face where people took one apart."""
        columns = ("tracklet_id", "contract_id", "weight", "embedding")
        table = read_columns(embeddings, "templates", TrackletTemplate, columns)
        contracts = sorted(set(pc.unique(table["contract_id"]).to_pylist()))
        if len(contracts) > 1:
            raise ContractMismatch(
                f"templates of {len(contracts)} embedding contracts; run embed again over all batches"
            )
        found = _places(_strings(table, "tracklet_id"), node_ids)
        matrix = column_matrix(table, "embedding")
        vectors = np.zeros((len(node_ids), matrix.shape[1]), np.float32)
        weights = np.ones(len(node_ids), np.float32)
        is_node = found >= 0
        vectors[found[is_node]] = matrix[is_node]
        weights[found[is_node]] = np.maximum(table["weight"].to_numpy()[is_node], 1e-6)
        missing = np.setdiff1d(np.arange(len(node_ids)), found[is_node])
        if len(missing):
            single = read_columns(embeddings, "faces", FaceEmbedding, ("face_id", "embedding"))
            single = single.filter(
                pc.is_in(single["face_id"], value_set=pa.array([name.decode() for name in node_ids[missing].tolist()]))
            )
            places = _places(_strings(single, "face_id"), node_ids)
            if len(places):
                vectors[places] = column_matrix(single, "embedding")
            if len(np.setdiff1d(missing, places)):
                raise DataError("clusters name nodes without a vector: another run of embed; run cluster again")
        return cls(vectors=vectors, weights=weights, contract_id=contracts[0] if contracts else "")


def _sums(leaves: Clusters, group: Int64Array, count: int) -> Clusters:
    is_in = np.flatnonzero(group >= 0)
    kept = Clusters(
        vector_sums=leaves.vector_sums[is_in], weights=leaves.weights[is_in], hubness_sums=leaves.hubness_sums[is_in]
    ).gathered(group[is_in], count)
    weights = np.where(kept.weights > 0, kept.weights, np.float32(1))
    return Clusters(vector_sums=kept.vector_sums, weights=weights, hubness_sums=kept.hubness_sums)


def _strings(table: pa.Table, column: str) -> NDArray[np.bytes_]:
    return np.array(table[column].to_pylist(), dtype=np.bytes_)


def _places(wanted: NDArray[np.bytes_], among: NDArray[np.bytes_]) -> Int64Array:
    """Row of each wanted name among sorted ones, NOBODY where it is not there."""
    if len(among) == 0 or len(wanted) == 0:
        return np.full(len(wanted), NOBODY, np.int64)
    places = np.minimum(np.searchsorted(among, wanted), len(among) - 1)
    return np.where(among[places] == wanted, places, NOBODY).astype(np.int64)


def _confidence(clusters: Path, nodes: pa.Table, node_ids: NDArray[np.bytes_]) -> Float32Array:
    """(n,) of the faces of each node, which share one; the node's own where none is published."""
    table = read_columns(clusters, "clusters", Cluster, ("face_id", "tracklet_id", "confidence"))
    own = _places(_strings(table, "face_id"), node_ids)
    node = np.where(own >= 0, own, _places(_strings(table, "tracklet_id"), node_ids))
    found: Float32Array = nodes["confidence"].to_numpy().astype(np.float32)
    found[node[node >= 0]] = table["confidence"].to_numpy()[node >= 0]
    return found


def _moments(table: pa.Table) -> Int64Array:
    footage = table["footage_id"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    both = np.stack([footage, table["pts_ms"].to_numpy().astype(np.int64)], axis=1)
    return np.asarray(np.unique(both, axis=0, return_inverse=True)[1].reshape(-1), np.int64)


def _identity_of_face(assignments: Path, face_ids: NDArray[np.bytes_], identity_ids: NDArray[np.bytes_]) -> Int64Array:
    table = read_columns(assignments, "assignments", Assignment, ("face_id", "identity_id"))
    table = table.filter(table["identity_id"].is_valid())
    rows = _places(_strings(table, "face_id"), face_ids)
    found = np.full(len(face_ids), NOBODY, np.int64)
    found[rows[rows >= 0]] = _places(_strings(table, "identity_id"), identity_ids)[rows >= 0]
    return found
