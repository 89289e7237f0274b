"""What a clustering benchmark reports: labels scored, CPU seconds, and how ours is called."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.constraints import Constraints
from faceloop.clustering.metrics import PartitionScores, score_partition
from faceloop.clustering.nodes import Nodes
from faceloop.clustering.params import PartitionParams
from faceloop.clustering.partition import partition

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]

HEADER = (
    "| faces | method | setting | P | R | pairwise F | BP | BR | BCubed F | NMI | split | mixed | "
    "clusters (people) | cpu s |\n|---|---|---|" + "--:|" * 11
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One method at one setting on one set of faces."""

    method: str
    setting: str
    labels: Int64Array  # (n,)
    scores: PartitionScores
    cpu_s: float  # of the partition

    @property
    def merit(self) -> float:
        """What "best" means everywhere: the sum of the two F."""
        return self.scores.pairwise_f + self.scores.bcubed_f

    def row(self, faces: str) -> str:
        s = self.scores
        pairs = [s.pairwise_precision, s.pairwise_recall, s.pairwise_f]
        ratios = [*pairs, s.bcubed_precision, s.bcubed_recall, s.bcubed_f, s.nmi]
        cells = " | ".join(f"{100 * value:.2f}" for value in ratios)
        return (
            f"| {faces} | {self.method} | {self.setting} | {cells} | {s.identities_split} | {s.clusters_mixed} | "
            f"{s.n_clusters} ({s.n_identities}) | {self.cpu_s:.2f} |"
        )


def outcome(method: str, setting: str, labels: Int64Array, truth: Int64Array, cpu_s: float) -> Outcome:
    """Score labels (n,) against truth (n,)."""
    return Outcome(method=method, setting=setting, labels=labels, scores=score_partition(labels, truth), cpu_s=cpu_s)


def measured(method: str, setting: str, truth: Int64Array, cluster: Callable[[], Int64Array]) -> Outcome:
    """Run a method in this process and score it."""
    start_s = time.process_time()
    labels = cluster()
    return outcome(method, setting, labels, truth, time.process_time() - start_s)


def best(outcomes: list[Outcome]) -> Outcome:
    return max(outcomes, key=lambda found: found.merit)


def ours(
    vectors: Float32Array, quality: Float32Array, subset: NDArray[np.int32], params: PartitionParams
) -> Int64Array:
    """Our labels (n,), each face a node without constraints; -1 where left out."""
    n = len(vectors)
    nodes = Nodes(
        node_ids=tuple(f"{row:09d}" for row in range(n)),
        vectors=vectors,
        weights=np.ones(n, np.float32),
        quality=quality,
        subset=subset,
    )
    none = np.empty((0, 2), np.int64)
    return partition(nodes=nodes, constraints=Constraints(must_link=none, cannot_link=none), params=params).labels


@dataclass(slots=True)
class SearchClock:
    """CPU and wall seconds inside faiss, k-means for its indexes included."""

    cpu_s: float = 0.0
    wall_s: float = 0.0
    depth: int = 0

    def timed(self, method: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            self.depth += 1
            cpu_s, wall_s = time.process_time(), time.perf_counter()
            try:
                return method(*arguments, **named)
            finally:
                self.depth -= 1
                if self.depth == 0:
                    self.cpu_s += time.process_time() - cpu_s
                    self.wall_s += time.perf_counter() - wall_s

        return call


@contextmanager
def search_clock() -> Iterator[SearchClock]:
    """Time every search, training and filling of a faiss index while the block runs."""
    clock = SearchClock()
    owners: list[object] = [thing for thing in vars(faiss).values() if isinstance(thing, type)]
    replaced: list[tuple[object, str, object]] = []
    for owner, names in [*((owner, ("search", "train", "add", "range_search")) for owner in owners), (faiss, ("knn",))]:
        for name in names:
            if callable(found := vars(owner).get(name)):
                replaced.append((owner, name, found))
                setattr(owner, name, clock.timed(found))
    try:
        yield clock
    finally:
        for owner, name, found in replaced:
            setattr(owner, name, found)
