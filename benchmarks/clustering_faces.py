"""Our clustering against DBSCAN, Chinese whispers and scikit-learn's average linkage, on given embeddings.

    python benchmarks/clustering_faces.py ROOT [--truth-except FILE]
    python benchmarks/clustering_faces.py EMBEDDINGS.npz
    python benchmarks/clustering_faces.py --synthetic 100000

ROOT was filled by `faceloop flow PHOTOS --root ROOT --truth folders`. EMBEDDINGS.npz holds `vectors`
(n, d) float32 unit norm, `labels` (n,) str and, if known, `quality` (n,) in [0, 1]. People fall into two
halves by the sha256 of their label. Our one setting was tuned on the tuning half. Peers stand twice: at
their best threshold of a sweep on the very part they are judged on, which favours them, and ("as tuned")
at the threshold that was best on the tuning half, as ours.
"""

import argparse
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import DBSCAN, AgglomerativeClustering

from faceloop.clustering.constraints import Constraints
from faceloop.clustering.metrics import PartitionScores, score_partition
from faceloop.clustering.nodes import Nodes
from faceloop.clustering.params import PartitionParams
from faceloop.clustering.partition import partition
from faceloop.params import read_params, section
from faceloop.reports.material import read_boxes
from faceloop.reports.truth import TruthSpec, know
from faceloop.stages.cluster import Params as ClusterParams
from facestore.records import FaceEmbedding, Footage
from facestore.tables import column_matrix, read_columns, read_table

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]

PARAMS = Path(__file__).parents[1] / "params.yaml"
OURS = section(read_params(PARAMS), "cluster", ClusterParams).partition()
NO_CONSTRAINTS = Constraints(must_link=np.empty((0, 2), np.int64), cannot_link=np.empty((0, 2), np.int64))
SIMILARITIES = np.round(np.arange(0.30, 0.701, 0.01), 2)
SLIPS = (-0.08, -0.05, -0.03, 0.03, 0.05, 0.08)
WHISPER_ROUNDS = 30
WHISPER_SEEDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Faces:
    vectors: Float32Array  # (n, d) unit norm
    identity: Int64Array  # (n,)
    quality: Float32Array  # (n,) in [0, 1]

    def at(self, rows: NDArray[np.bool_]) -> "Faces":
        return Faces(vectors=self.vectors[rows], identity=self.identity[rows], quality=self.quality[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    method: str
    setting: str
    scores: PartitionScores
    cpu_s: float

    @property
    def merit(self) -> float:
        return self.scores.pairwise_f + self.scores.bcubed_f


def ours(faces: Faces, params: PartitionParams) -> Int64Array:
    n = len(faces.identity)
    nodes = Nodes(
        node_ids=tuple(f"{row:09d}" for row in range(n)),
        vectors=faces.vectors,
        weights=np.ones(n, np.float32),
        quality=faces.quality,
        subset=np.zeros(n, np.int32),
    )
    return partition(nodes=nodes, constraints=NO_CONSTRAINTS, params=params).labels


def dbscan(similarity: Float32Array, threshold: float) -> Int64Array:
    """min_samples=2 is the kindest for small identities; noise counts as single faces."""
    distance = np.clip(1 - similarity, 0, 2)
    found = DBSCAN(eps=1 - threshold, min_samples=2, metric="precomputed").fit_predict(distance)
    return np.asarray(found, np.int64)


def average_linkage(similarity: Float32Array, threshold: float) -> Int64Array:
    model = AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage="average", distance_threshold=1 - threshold
    )
    return np.asarray(model.fit_predict(np.clip(1 - similarity, 0, 2)), np.int64)


def chinese_whispers(similarity: Float32Array, threshold: float, seed: int) -> Int64Array:
    """Biemann 2006: in random order each face takes the label with the largest sum of edge weights
    among its neighbours, for a fixed number of rounds."""
    n = len(similarity)
    is_edge = (similarity >= threshold) & ~np.eye(n, dtype=np.bool_)
    neighbours = [np.flatnonzero(row) for row in is_edge]
    weights = [similarity[face, others] for face, others in enumerate(neighbours)]
    labels = np.arange(n, dtype=np.int64)
    connected = np.asarray([face for face in range(n) if len(neighbours[face])], np.int64)
    rng = np.random.default_rng(seed)
    for _ in range(WHISPER_ROUNDS):
        before = labels.copy()
        for face in rng.permutation(connected):
            heard, where = np.unique(labels[neighbours[face]], return_inverse=True)
            labels[face] = heard[np.bincount(where, weights[face]).argmax()]
        if np.array_equal(before, labels):
            break
    return labels


def measured(method: str, setting: str, faces: Faces, cluster: Callable[[], Int64Array]) -> Outcome:
    start_s = time.process_time()
    labels = cluster()
    cpu_s = time.process_time() - start_s
    return Outcome(method=method, setting=setting, scores=score_partition(labels, faces.identity), cpu_s=cpu_s)


def sweep_peers(faces: Faces) -> dict[str, list[Outcome]]:
    """Every peer at every threshold."""
    similarity = np.clip(faces.vectors @ faces.vectors.T, -1, 1)
    sweeps: dict[str, list[Outcome]] = {"DBSCAN": [], "Chinese whispers": [], "average linkage": []}
    for t in SIMILARITIES.tolist():
        sweeps["DBSCAN"].append(measured("DBSCAN", f"eps {1 - t:.2f}", faces, partial(dbscan, similarity, t)))
        sweeps["average linkage"].append(
            measured("average linkage", f"{t:.2f}", faces, partial(average_linkage, similarity, t))
        )
        for seed in range(WHISPER_SEEDS):
            setting = f"{t:.2f}, seed {seed}"
            run = measured("Chinese whispers", setting, faces, partial(chinese_whispers, similarity, t, seed))
            sweeps["Chinese whispers"].append(run)
    return sweeps


def best(outcomes: list[Outcome]) -> Outcome:
    return max(outcomes, key=lambda outcome: outcome.merit)


def slipped(faces: Faces) -> Iterator[Outcome]:
    """Ours with its thresholds off: how much a wrong calibration costs."""
    for slip in SLIPS:
        params = replace(
            OURS,
            within_similarity=OURS.within_similarity + slip,
            across_similarity=OURS.across_similarity + slip,
            attach_similarity=OURS.attach_similarity + slip,
            hubness_similarity=OURS.hubness_similarity + slip,
        )
        yield measured("ours, thresholds off", f"{slip:+.2f}", faces, partial(ours, faces, params))


def row(part: str, outcome: Outcome) -> str:
    s = outcome.scores
    ratios = [
        s.pairwise_precision,
        s.pairwise_recall,
        s.pairwise_f,
        s.bcubed_precision,
        s.bcubed_recall,
        s.bcubed_f,
        s.nmi,
    ]
    cells = " | ".join(f"{100 * value:.2f}" for value in ratios)
    return (
        f"| {part} | {outcome.method} | {outcome.setting} | {cells} | {s.identities_split} | "
        f"{s.clusters_mixed} | {s.n_clusters} ({s.n_identities}) | {outcome.cpu_s:.2f} |"
    )


def read_root(root: Path, except_file: Path | None) -> tuple[Float32Array, NDArray[np.str_]]:
    """Vectors and people of the main face of each photo, from a root that `faceloop flow --truth folders` filled."""
    known = know(
        TruthSpec(file=None, except_file=except_file),
        list(read_table(root / "footage", "footage", Footage)),
        read_boxes(root / "faces"),
        {},
        [],
    )
    table = read_columns(root / "embeddings", "faces", FaceEmbedding, ("face_id", "embedding"))
    people = [known.person_of_face.get(face_id) for face_id in table["face_id"].to_pylist()]
    has_truth = np.array([person is not None for person in people])
    names = np.array([person for person in people if person is not None], dtype=np.str_)
    return column_matrix(table, "embedding")[has_truth], names


def read_faces(path: Path, except_file: Path | None) -> tuple[Faces, NDArray[np.bool_]]:
    """The faces, and which belong to the tuning half (even sha256 of the label)."""
    quality = None
    if path.is_dir():
        vectors, names = read_root(path, except_file)
    else:
        with np.load(path) as stored:
            vectors = stored["vectors"].astype(np.float32)
            names = stored["labels"].astype(str)
            quality = stored.get("quality")
    people, identity = np.unique(names, return_inverse=True)
    is_even = [int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2 == 0 for name in people.tolist()]
    faces = Faces(
        vectors=vectors,
        identity=identity.astype(np.int64),
        quality=np.ones(len(names), np.float32) if quality is None else np.asarray(quality, np.float32),
    )
    return faces, np.asarray(is_even, np.bool_)[identity]


def synthetic_faces(n: int, dim: int = 128, seed: int = 0) -> Faces:
    """Unit vectors of people with heavy-tailed numbers of faces (Pareto): anisotropic centres, so that
    look-alikes grow in number; faces of varying closeness to their centre; 5 % hard ones."""
    rng = np.random.default_rng(seed)
    sizes = np.minimum(np.round(4 * (rng.pareto(1.15, n) + 1)), 3000).astype(np.int64)
    identity = np.repeat(np.arange(n, dtype=np.int64), sizes)[:n]
    spread = (1 + np.arange(dim)) ** -0.3
    centres = _unit(rng.standard_normal((int(identity.max()) + 1, dim)) * spread)
    closeness = np.clip(rng.normal(0.8, 0.06, n), 0.4, 0.97)
    closeness = np.where(rng.random(n) < 0.05, rng.uniform(0.4, 0.7, n), closeness)[:, None]
    noise = _unit(rng.standard_normal((n, dim)))
    vectors = _unit(closeness * centres[identity] + np.sqrt(1 - closeness**2) * noise)
    shuffled = rng.permutation(n)
    return Faces(
        vectors=vectors.astype(np.float32)[shuffled],
        identity=identity[shuffled],
        quality=np.ones(n, np.float32),
    )


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("faces", nargs="?", type=Path, help="a root of faceloop flow, or an .npz file")
    source.add_argument("--synthetic", type=int, metavar="FACES", help="time ours on made-up vectors")
    parser.add_argument("--truth-except", type=Path, help="photos whose folder lies, one path a line")
    options = parser.parse_args()
    print("| part | method | setting | P | R | pairwise F | BP | BR | BCubed F | NMI | split | mixed", end="")
    print(" | clusters (people) | cpu s |\n|---|---|---|" + "--:|" * 11)
    if options.synthetic:
        faces = synthetic_faces(options.synthetic)
        print(row(f"synthetic {options.synthetic}", measured("ours", "default", faces, partial(ours, faces, OURS))))
        return
    tuned: dict[str, str] = {}
    everyone, is_tuning = read_faces(options.faces, options.truth_except)
    for part, rows in (("tuning", is_tuning), ("held out", ~is_tuning), ("all", is_tuning | True)):
        faces = everyone.at(rows)
        print(row(part, measured("ours", "default", faces, partial(ours, faces, OURS))))
        for method, outcomes in sweep_peers(faces).items():
            if part == "tuning":
                tuned[method] = best(outcomes).setting
            as_tuned = next(outcome for outcome in outcomes if outcome.setting == tuned[method])
            print(row(part, replace(best(outcomes), method=f"{method}, best")))
            print(row(part, replace(as_tuned, method=f"{method}, as tuned")), flush=True)
        for outcome in slipped(faces):
            print(row(part, outcome))


if __name__ == "__main__":
    main()
