"""Other people's ways to cluster faces, on the same vectors or the same kNN graph as ours.

Each gives labels (n,) int64; -1 or a label of its own is a face left alone. Peers that need all pairs of faces
are for small n only. `foreign` runs a peer that lives in another environment.
"""

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components as components_of
from sklearn.cluster import DBSCAN, HDBSCAN, AgglomerativeClustering

from faceloop.clustering.knn import SearchParams, nearest

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]

WHISPER_ROUNDS = 30
EXACT = SearchParams(flat_rows_max=200_000, probes=32, block_rows=4096)
WORKER = Path(__file__).with_name("peer_worker.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnnGraph:
    """The neighbours of each face, best first, without itself; -1 and -inf where there are fewer."""

    index: Int64Array  # (n, k)
    similarity: Float32Array  # (n, k) cosine

    def __len__(self) -> int:
        return len(self.index)

    def first(self, k: int) -> "KnnGraph":
        """The graph of the k nearest."""
        return KnnGraph(index=self.index[:, :k], similarity=self.similarity[:, :k])


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Undirected links, each once, rows < cols."""

    faces: int
    rows: Int64Array  # (e,)
    cols: Int64Array  # (e,)
    weights: NDArray[np.float64]  # (e,) cosine

    def symmetric(self) -> csr_array:
        """(faces, faces), both directions."""
        both = np.concatenate([self.rows, self.cols]), np.concatenate([self.cols, self.rows])
        return csr_array((np.tile(self.weights, 2), both), shape=(self.faces, self.faces))


def knn_of(vectors: Float32Array, k: int) -> KnnGraph:
    """vectors (n, d) unit norm; the k nearest others of each."""
    n = len(vectors)
    found = nearest(vectors, vectors, min(k + 1, n), EXACT)
    is_self = found.index == np.arange(n)[:, None]
    is_self[~is_self.any(axis=1), -1] = True  # exact copies pushed it out: leave out the last instead
    kept = ~is_self
    return KnnGraph(
        index=found.index[kept].reshape(n, -1),
        similarity=np.clip(found.similarity[kept], None, 1).reshape(n, -1),
    )


def links_of(graph: KnnGraph, threshold: float) -> Links:
    """A link stands where either end has the other among its neighbours, at or above the threshold (> 0)."""
    n, k = graph.index.shape
    is_near = (graph.similarity >= threshold) & (graph.index >= 0)
    source, target = np.repeat(np.arange(n, dtype=np.int64), k)[is_near.ravel()], graph.index[is_near]
    keys, first = np.unique(np.minimum(source, target) * n + np.maximum(source, target), return_index=True)
    return Links(faces=n, rows=keys // n, cols=keys % n, weights=graph.similarity[is_near][first].astype(np.float64))


def connected_components(graph: KnnGraph, threshold: float) -> Int64Array:
    """Single linkage cut at the threshold, on the graph."""
    return np.asarray(components_of(links_of(graph, threshold).symmetric(), directed=False)[1], np.int64)


def knn_dbscan(graph: KnnGraph, threshold: float, min_samples: int) -> Int64Array:
    """DBSCAN (Ester et al. 1996) whose neighbourhoods are cut off at k; a border face joins its nearest core."""
    n = len(graph)
    is_near = (graph.similarity >= threshold) & (graph.index >= 0)
    is_core = is_near.sum(axis=1) + 1 >= min_samples  # the face itself counts, as in scikit-learn
    to_core = is_near & is_core[graph.index]
    between = to_core & is_core[:, None]
    source, place = np.nonzero(between)
    target = graph.index[source, place]
    linked = csr_array((np.ones(len(source), np.int8), (source, target)), shape=(n, n))
    labels = np.asarray(components_of(linked, directed=False)[1], np.int64)
    is_border = ~is_core & to_core.any(axis=1)
    nearest_core = graph.index[np.arange(n), to_core.argmax(axis=1)]
    return np.where(is_core, labels, np.where(is_border, labels[nearest_core], -1))


def chinese_whispers(graph: KnnGraph, threshold: float, seed: int) -> Int64Array:
    """Biemann 2006: in random order each face takes the label with the largest sum of link weights among its
    neighbours, until nothing changes or WHISPER_ROUNDS are over."""
    linked = links_of(graph, threshold).symmetric()
    labels = np.arange(len(graph), dtype=np.int64)
    heard = np.zeros(len(graph))
    rng = np.random.default_rng(seed)
    for _ in range(WHISPER_ROUNDS):
        order = rng.permutation(len(graph))
        if not _whisper(order, linked.indptr.astype(np.int64), linked.indices, linked.data, labels, heard):
            break
    return labels


@njit(cache=True)
def _whisper(
    order: Int64Array,
    starts: Int64Array,
    neighbours: NDArray[np.int32],
    weights: NDArray[np.float64],
    labels: Int64Array,
    heard: NDArray[np.float64],
) -> int:
    changes = 0
    for face in order:
        first, last = starts[face], starts[face + 1]
        for at in range(first, last):
            heard[labels[neighbours[at]]] += weights[at]
        best, loudest = labels[face], 0.0
        for at in range(first, last):
            label = labels[neighbours[at]]
            if heard[label] > loudest or (heard[label] == loudest and label < best):
                best, loudest = label, heard[label]
        for at in range(first, last):
            heard[labels[neighbours[at]]] = 0.0
        if best != labels[face]:
            labels[face] = best
            changes += 1
    return changes


def immich(graph: KnnGraph, threshold: float, min_faces: int) -> Int64Array:
    """The rule of Immich's face recognition job (its person service): faces come one by one; fewer than
    `min_faces` matches within the distance (itself included) defers a face to a second pass; a face takes the
    person of its best match that has one, and a core face without such a match founds a person."""
    labels = np.full(len(graph), -1, np.int64)
    _recognise(graph.index, graph.similarity, threshold, min_faces, labels)
    return labels


@njit(cache=True)
def _recognise(
    index: Int64Array, similarity: Float32Array, threshold: float, min_faces: int, labels: Int64Array
) -> None:
    n, k = index.shape
    people = 0
    for is_second_pass in (False, True):
        for face in range(n):
            near = 0
            while near < k and index[face, near] >= 0 and similarity[face, near] >= threshold:
                near += 1
            is_core = near + 1 >= min_faces
            if near == 0 or is_core == is_second_pass:
                continue
            for place in range(near):
                if labels[index[face, place]] >= 0:
                    labels[face] = labels[index[face, place]]
                    break
            if labels[face] < 0 and is_core:
                labels[face] = people
                people += 1


def dbscan(vectors: Float32Array, threshold: float, min_samples: int) -> Int64Array:
    """scikit-learn's, on all pairs; noise is -1."""
    distance = np.clip(1 - vectors @ vectors.T, 0, 2)
    return np.asarray(DBSCAN(eps=1 - threshold, min_samples=min_samples, metric="precomputed").fit_predict(distance))


def average_linkage(vectors: Float32Array, threshold: float) -> Int64Array:
    """scikit-learn's, on all pairs."""
    distance = np.clip(1 - vectors @ vectors.T, 0, 2)
    model = AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage="average", distance_threshold=1 - threshold
    )
    return np.asarray(model.fit_predict(distance), np.int64)


def hdbscan(vectors: Float32Array, min_cluster_size: int, min_samples: int) -> Int64Array:
    """scikit-learn's, Euclidean between unit vectors; noise is -1."""
    model = HDBSCAN(min_cluster_size=min_cluster_size, min_samples=min_samples, copy=True)
    return np.asarray(model.fit_predict(vectors), np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignRun:
    labels: Int64Array  # (n,)
    links_s: float  # CPU seconds of handing it the links, as one array
    cpu_s: float  # CPU seconds of the method itself


def foreign(python: Path, method: str, graph: KnnGraph, threshold: float, seed: int) -> ForeignRun:
    """Run `infomap` or `chinese-whispers` of another environment. Raises CalledProcessError when it fails."""
    links = links_of(graph, threshold)
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder) / "graph.npz", Path(folder) / "labels.npz"
        np.savez(given, rows=links.rows, cols=links.cols, weights=links.weights, faces=links.faces)
        subprocess.run([str(python), str(WORKER), method, str(seed), str(given), str(answer)], check=True)
        with np.load(answer) as found:
            return ForeignRun(labels=found["labels"], links_s=float(found["links_s"]), cpu_s=float(found["cpu_s"]))
