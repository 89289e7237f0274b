"""What does adding faces cost, and how near is the outcome to a full run?

    python -m benchmarks.incremental [--faces 100000] [--dim 128] [--source FILE.npz] [--twenty]

Made-up footage (synthetic.py), or the photos of an .npz with `vectors`, `labels` and `quality`. A random share of the
faces is held back; the rest is clustered in full, then the share is added by `partition_incremental` at once. With
`--twenty`, 1 % is added twenty times, each run building on the one before. The peer is our own full run over all faces
in the same process: CPU seconds, and pairwise F of each against truth and against each other. "Known only" is a full
run over the known faces against the full run over all, on the known ones: how far two full runs differ by themselves.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from benchmarks.synthetic import synthetic_faces
from benchmarks.thresholds import OURS, calibration_of
from numpy.typing import NDArray

from faceloop.clustering.constraints import Constraints
from faceloop.clustering.earlier import Earlier
from faceloop.clustering.incremental import Touched, partition_incremental
from faceloop.clustering.metrics import score_partition
from faceloop.clustering.nodes import Nodes
from faceloop.clustering.params import PartitionParams
from faceloop.clustering.partition import Partition, partition

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
Result = TypeVar("Result")
SHARES = (0.01, 0.05, 0.20)
NO_PAIRS = np.empty((0, 2), np.int64)
FREE = Constraints(must_link=NO_PAIRS, cannot_link=NO_PAIRS)
ROUNDS = 3  # of each timing; the median counts
HEADER = (
    "| added | cpu s | of a full run | F to truth | full run's | BCubed F to truth | full run's | F to full run | "
    "known only | clusters looked at | grown | kept |\n|---|" + "--:|" * 11
)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    nodes: Nodes
    truth: Int64Array  # (n,)
    params: PartitionParams


def made_up(faces: int, dim: int) -> World:
    found = synthetic_faces(faces, dim, seed=3)
    is_good = found.quality >= OURS.min_quality
    calibration = calibration_of("made-up footage", found.vectors[is_good])
    return _world(found.vectors, found.identity, found.quality, found.subset, OURS.partition(calibration))


def photos(source: Path) -> World:
    with np.load(source) as table:
        vectors, labels, quality = table["vectors"], table["labels"], table["quality"]
    subset = np.zeros(len(vectors), np.int32)
    return _world(vectors, labels, quality, subset, OURS.partition(calibration_of(source.stem, vectors)))


def _world(
    vectors: Float32Array,
    labels: NDArray[Any],
    quality: Float32Array,
    subset: NDArray[np.int32],
    params: PartitionParams,
) -> World:
    nodes = Nodes(
        node_ids=tuple(sha256(str(row).encode()).hexdigest()[:32] for row in range(len(vectors))),
        vectors=vectors,
        weights=np.ones(len(vectors), np.float32),
        quality=quality,
        subset=subset,
    )
    return World(nodes=nodes, truth=np.unique(labels, return_inverse=True)[1].astype(np.int64), params=params)


def full(nodes: Nodes, params: PartitionParams) -> Partition:
    return partition(nodes=nodes, constraints=FREE, params=params)


def added(nodes: Nodes, earlier: Earlier, params: PartitionParams) -> tuple[Partition, Touched]:
    return partition_incremental(nodes=nodes, constraints=FREE, params=params, earlier=earlier)


def remembered(nodes: Nodes, outcome: Partition) -> Earlier:
    return Earlier(
        node_ids=nodes.node_ids,
        labels=outcome.labels,
        subcentres=outcome.subcentres,
        confidence=outcome.confidence,
        hubness=outcome.hubness,
        drop_reasons=outcome.drop_reasons,
        constraints=FREE,
        params_key="same",
        added_since_full=0,
    )


def timed(ask: Callable[[], Result]) -> tuple[Result, float]:
    """The answer, and the median CPU seconds of a few times."""
    seconds = []
    for _ in range(ROUNDS):
        start_s = time.process_time()
        answer = ask()
        seconds.append(time.process_time() - start_s)
    return answer, float(np.median(seconds))


def agreement(left: Int64Array, right: Int64Array) -> str:
    """Pairwise F in percent over the nodes that both clustered."""
    both = (left >= 0) & (right >= 0)
    return f"{100 * score_partition(left[both], right[both]).pairwise_f:.2f}"


def row(
    name: str,
    world: World,
    outcome: Partition,
    everything: Partition,
    known: str,
    cpu_s: float,
    full_cpu_s: float,
    touched: Touched,
) -> str:
    ours, theirs = score_partition(outcome.labels, world.truth), score_partition(everything.labels, world.truth)
    return (
        f"| {name} | {cpu_s:.2f} | {100 * cpu_s / full_cpu_s:.1f} % | {100 * ours.pairwise_f:.2f} | "
        f"{100 * theirs.pairwise_f:.2f} | {100 * ours.bcubed_f:.2f} | {100 * theirs.bcubed_f:.2f} | "
        f"{agreement(outcome.labels, everything.labels)} | {known} | "
        f"{touched.clusters_looked_at} | {touched.clusters_grown} | {touched.clusters_kept} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--twenty", action="store_true", help="also add 1 %% twenty times")
    options = parser.parse_args()
    world = photos(options.source) if options.source else made_up(options.faces, options.dim)
    n = len(world.truth)
    full(world.nodes.at(np.arange(min(n, 2000))), world.params)  # compile
    everything, full_cpu_s = timed(lambda: full(world.nodes, world.params))
    clusters = len(np.unique(everything.labels[everything.labels >= 0]))
    print(f"{n} faces, {clusters} clusters; a full run takes {full_cpu_s:.2f} cpu s\n\n{HEADER}")
    shuffled = np.random.default_rng(5).permutation(n)
    for share in SHARES:
        rows = np.sort(shuffled[max(1, round(n * share)) :])
        base = full(world.nodes.at(rows), world.params)
        earlier = remembered(world.nodes.at(rows), base)
        (outcome, touched), cpu_s = timed(partial(added, world.nodes, earlier, world.params))
        known = agreement(base.labels, everything.labels[rows])
        print(row(f"{100 * share:.0f} %", world, outcome, everything, known, cpu_s, full_cpu_s, touched), flush=True)
    if options.twenty:
        step = max(1, n // 100)
        rows = np.sort(shuffled[20 * step :])
        outcome, total_s = full(world.nodes.at(rows), world.params), 0.0
        known = agreement(outcome.labels, everything.labels[rows])
        for at in range(19, -1, -1):
            earlier = remembered(world.nodes.at(rows), outcome)
            rows = np.sort(shuffled[at * step :])
            nodes = world.nodes.at(rows)
            start_s = time.process_time()
            outcome, touched = added(nodes, earlier, world.params)
            total_s += time.process_time() - start_s
        print(row("1 % twenty times", world, outcome, everything, known, total_s, full_cpu_s, touched), flush=True)


if __name__ == "__main__":
    main()
