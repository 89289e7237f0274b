"""Our clustering on made-up embeddings, beside other people's: time, memory, growth and quality.

    python -m benchmarks.clustering --faces 20000 100000 --dims 128 [--recipe footage] [--peers-python PYTHON]

Faces below the quality floor are left out beforehand, for everybody. Ours runs with params.yaml, its thresholds
calibrated to the vectors without labels. Peers run at the setting of a
sweep that is best by the truth. "kNN" is all time inside faiss, "partition" all the rest; peers get their graph
for nothing. PYTHON is the interpreter of an environment with PyPI `infomap`, `chinese-whispers` and `networkx`.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import numpy as np
from benchmarks import peers
from benchmarks.outcomes import HEADER, Outcome, best, measured, ours, outcome, search_clock
from benchmarks.synthetic import QUALITY_FLOOR, RECIPES, SyntheticFaces, synthetic_faces
from benchmarks.thresholds import calibrated_params

from faceloop.clustering.metrics import score_partition

WARM_UP_FACES = 2_000
SIMILARITIES = tuple(np.round(np.arange(0.34, 0.721, 0.04), 2).tolist())
INFOMAP_SIMILARITIES = (0.42, 0.46, 0.5, 0.54, 0.58)  # its best lies inside, and it is slow
NEIGHBOURS = 80
PAIRS_MAX = 6_000  # faces up to which methods on all pairs run


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of ours in a process of its own."""

    faces: int
    dim: int
    nodes: int  # above the quality floor
    knn_cpu_s: float
    partition_cpu_s: float
    wall_s: float
    peak_mb: float  # of the process, its vectors included
    vectors_mb: float
    pairwise_f: float
    bcubed_f: float
    clusters: int
    people: int

    @property
    def cpu_s(self) -> float:
        return self.knn_cpu_s + self.partition_cpu_s

    def row(self) -> str:
        return (
            f"| {self.faces} | {self.dim} | {self.nodes} | {self.knn_cpu_s:.1f} | {self.partition_cpu_s:.1f} | "
            f"{self.cpu_s:.1f} | {self.wall_s:.1f} | {self.peak_mb:.0f} ({self.vectors_mb:.0f}) | "
            f"{100 * self.pairwise_f:.2f} | {100 * self.bcubed_f:.2f} | {self.clusters} ({self.people}) |"
        )


def drawn(faces: int, dim: int, recipe: str, seed: int) -> SyntheticFaces:
    return synthetic_faces(faces, dim, seed=seed, recipe=RECIPES[recipe], min_quality=QUALITY_FLOOR)


def run_ours(faces: int, dim: int, recipe: str, seed: int, *, has_subsets: bool) -> Run:
    small = drawn(WARM_UP_FACES, dim, recipe, seed)
    params = calibrated_params(recipe, small.vectors)
    ours(small.vectors, small.quality, small.subset, params)  # compiles what is compiled
    given = drawn(faces, dim, recipe, seed)
    subset = given.subset if has_subsets else np.zeros_like(given.subset)
    params = calibrated_params(recipe, given.vectors)
    start_s, wall_s = time.process_time(), time.perf_counter()
    with search_clock() as clock:
        labels = ours(given.vectors, given.quality, subset, params)
    cpu_s, wall_s = time.process_time() - start_s, time.perf_counter() - wall_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    scores = score_partition(labels, given.identity)
    return Run(
        faces=faces,
        dim=dim,
        nodes=len(labels),
        knn_cpu_s=clock.cpu_s,
        partition_cpu_s=cpu_s - clock.cpu_s,
        wall_s=wall_s,
        peak_mb=peak_mb,
        vectors_mb=given.vectors.nbytes / 2**20,
        pairwise_f=scores.pairwise_f,
        bcubed_f=scores.bcubed_f,
        clusters=scores.n_clusters,
        people=scores.n_identities,
    )


def our_outcome(given: SyntheticFaces, recipe: str) -> Outcome:
    """Ours, its CPU seconds without those inside faiss, as the peers'."""
    params = calibrated_params(recipe, given.vectors)
    ours(given.vectors[:500], given.quality[:500], given.subset[:500], params)  # compiles what is compiled
    with search_clock() as clock:
        found = measured(
            "**ours**",
            "default",
            given.identity,
            partial(ours, given.vectors, given.quality, given.subset, params),
        )
    return replace(found, cpu_s=found.cpu_s - clock.cpu_s)


def run_peers(given: SyntheticFaces, python: Path | None) -> Iterator[Outcome]:
    """The best outcome of each peer."""
    truth = given.identity
    warm_up = peers.knn_of(given.vectors[:100], 10)
    peers.chinese_whispers(warm_up, 0.3, 0)
    peers.immich(warm_up, 0.3, 3)
    graph = peers.knn_of(given.vectors, NEIGHBOURS)
    yield best(
        [
            measured("connected components", f"{t}", truth, partial(peers.connected_components, graph, t))
            for t in SIMILARITIES
        ]
    )
    yield best(
        [
            measured("kNN-DBSCAN", f"{t}, {m} samples", truth, partial(peers.knn_dbscan, graph, t, m))
            for t in SIMILARITIES
            for m in (2, 5)
        ]
    )
    yield best(
        [
            measured("Immich's rule", f"{t}, {m} faces", truth, partial(peers.immich, graph, t, m))
            for t in SIMILARITIES
            for m in (2, 3)
        ]
    )
    for k in (NEIGHBOURS // 2, NEIGHBOURS):
        near = graph.first(k)
        yield best(
            [
                measured("Chinese whispers", f"{t}, k {k}", truth, partial(peers.chinese_whispers, near, t, 0))
                for t in SIMILARITIES
            ]
        )
        if python is not None:
            yield best([from_elsewhere(python, "infomap", near, t, k, truth) for t in INFOMAP_SIMILARITIES])
    if len(truth) > PAIRS_MAX:
        return
    if python is not None:
        yield best([from_elsewhere(python, "chinese-whispers", graph, t, NEIGHBOURS, truth) for t in SIMILARITIES])
    yield best(
        [
            measured("DBSCAN (scikit-learn)", f"{t}, {m} samples", truth, partial(peers.dbscan, given.vectors, t, m))
            for t in SIMILARITIES
            for m in (2, 5)
        ]
    )
    yield best(
        [
            measured("average linkage (scikit-learn)", f"{t}", truth, partial(peers.average_linkage, given.vectors, t))
            for t in SIMILARITIES
        ]
    )
    yield best(
        [
            measured(
                "HDBSCAN (scikit-learn)", f"{size}, {m} samples", truth, partial(peers.hdbscan, given.vectors, size, m)
            )
            for size, m in ((2, 1), (2, 2), (3, 3), (5, 5))
        ]
    )


def from_elsewhere(
    python: Path, method: str, graph: peers.KnnGraph, threshold: float, k: int, truth: peers.Int64Array
) -> Outcome:
    run = peers.foreign(python, method, graph, threshold, seed=0)
    setting = f"{threshold}, k {k}; {run.links_s:.1f} s of it for links"
    return outcome(f"PyPI {method}", setting, run.labels, truth, run.links_s + run.cpu_s)


def in_own_process(job: str, faces: int, dim: int, options: argparse.Namespace) -> str:
    command = [sys.executable, "-m", "benchmarks.clustering", "--job", job, "--faces", str(faces), "--dims", str(dim)]
    command += ["--recipe", options.recipe, "--seed", str(options.seed)]
    if options.no_subsets:
        command.append("--no-subsets")
    if options.peers_python:
        command += ["--peers-python", str(options.peers_python)]
    root, stdout = Path(__file__).parents[1], subprocess.PIPE if job == "ours" else None
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}  # waiting threads must not count as work
    return subprocess.run(command, check=True, cwd=root, stdout=stdout, text=True, env=environment).stdout or ""


def growth(runs: list[Run]) -> Iterator[str]:
    """How the cost grows between the sizes of each dimension: the exponent of faces."""
    for small, large in pairwise(runs):
        if small.dim == large.dim and small.faces < large.faces:
            size = np.log(large.faces / small.faces)
            whole, rest = np.log(large.cpu_s / small.cpu_s), np.log(large.partition_cpu_s / small.partition_cpu_s)
            yield (
                f"{small.faces} to {large.faces} faces of {small.dim}: cost grows with exponent {whole / size:.2f}, "
                f"partition alone {rest / size:.2f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--faces", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--dims", type=int, nargs="+", default=[128])
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="footage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peers-up-to", type=int, default=100_000, help="faces up to which peers run too")
    parser.add_argument("--peers-python", type=Path, help="interpreter that has infomap")
    parser.add_argument("--no-subsets", action="store_true", help="ours is not told the album or camera")
    parser.add_argument("--job", choices=("ours", "peers"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job == "ours":
        run = run_ours(
            options.faces[0], options.dims[0], options.recipe, options.seed, has_subsets=not options.no_subsets
        )
        print(json.dumps(asdict(run)))
        return
    if options.job == "peers":
        given = drawn(options.faces[0], options.dims[0], options.recipe, options.seed)
        print(our_outcome(given, options.recipe).row(str(options.faces[0])), flush=True)
        for found in run_peers(given, options.peers_python):
            print(found.row(str(options.faces[0])), flush=True)
        return
    world = f"{options.recipe}{', no subsets' if options.no_subsets else ''}, seed {options.seed}"
    names = ("numpy", "numba", "faiss-cpu", "scikit-learn")
    print(f"{world}; {platform.processor() or platform.machine()};", end=" ")
    print(", ".join(f"{name} {version(name)}" for name in names))
    print(
        "\n| faces | dim | nodes | kNN cpu s | partition cpu s | cpu s | wall s | peak MB (vectors) | pairwise F | ",
        end="",
    )
    print("BCubed F | clusters (people) |\n|" + "--:|" * 11)
    runs = []
    for dim in options.dims:
        for faces in options.faces:
            runs.append(Run(**json.loads(in_own_process("ours", faces, dim, options))))
            print(runs[-1].row(), flush=True)
    print("\n" + "\n".join(growth(runs)))
    if min(options.faces) > options.peers_up_to:
        return
    if not options.peers_python:
        print("\nSkipped: PyPI infomap; name an interpreter that has it with --peers-python.")
    for dim in options.dims:
        print(f"\nBeside peers on vectors of {dim}:\n\n{HEADER}", flush=True)
        for faces in options.faces:
            if faces <= options.peers_up_to:
                in_own_process("peers", faces, dim, options)  # prints as it goes


if __name__ == "__main__":
    main()
