"""Our clustering against other people's on embeddings of real photos, at one setting for every recogniser.

    python -m benchmarks.clustering_faces SOURCE [SOURCE ...] [--truth-except FILE] [--peers-python PYTHON]

SOURCE is a root that `faceloop flow PHOTOS --root ROOT --truth folders` filled, or an .npz with `vectors` (n, d)
float32 unit norm, `labels` (n,) str and, if known, `quality` (n,) in [0, 1]. People fall into two halves by the
sha256 of their label. Our one setting was chosen on the tuning half. Peers stand twice: at their best setting of a
sweep on the very part they are judged on, which favours them, and ("as tuned") at the setting that was best on the
tuning half, as ours. Brackets are 95 % intervals over resamples of the people.
"""

import argparse
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from benchmarks import peers
from benchmarks.outcomes import Outcome, best, measured, ours, outcome
from benchmarks.thresholds import calibrated_params, slipped
from numpy.typing import NDArray

from faceloop.clustering.bootstrap import Interval, bootstrap_scores
from faceloop.clustering.params import PartitionParams
from faceloop.reports.material import read_boxes
from faceloop.reports.truth import TruthSpec, know
from facestore.records import FaceEmbedding, Footage
from facestore.tables import column_matrix, read_columns, read_table

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]

SIMILARITIES = tuple(np.round(np.arange(0.20, 0.801, 0.01), 2).tolist())
SLIPS = (-0.08, -0.05, -0.03, 0.03, 0.05, 0.08)
WHISPER_SEEDS = 3
INFOMAP_NEIGHBOURS = (10, 40)
RESAMPLES = 1000
HEADER = (
    "| part | method | setting | pairwise F | BCubed F | P | R | BP | BR | split | mixed | clusters (people) "
    "| cpu s |\n|---|---|---|---|---|" + "--:|" * 8
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faces:
    vectors: Float32Array  # (n, d) unit norm
    identity: Int64Array  # (n,)
    quality: Float32Array  # (n,) in [0, 1]
    is_tuning: NDArray[np.bool_]  # (n,) even sha256 of the label

    def at(self, rows: NDArray[np.bool_]) -> "Faces":
        return Faces(
            vectors=self.vectors[rows],
            identity=self.identity[rows],
            quality=self.quality[rows],
            is_tuning=self.is_tuning[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An outcome with its intervals."""

    found: Outcome
    pairwise_f: Interval
    bcubed_f: Interval

    def row(self, part: str) -> str:
        s = self.found.scores
        ratios = (s.pairwise_precision, s.pairwise_recall, s.bcubed_precision, s.bcubed_recall)
        return (
            f"| {part} | {self.found.method} | {self.found.setting} | {_with(s.pairwise_f, self.pairwise_f)} | "
            f"{_with(s.bcubed_f, self.bcubed_f)} | " + " | ".join(f"{100 * ratio:.2f}" for ratio in ratios) + " | "
            f"{s.identities_split} | {s.clusters_mixed} | {s.n_clusters} ({s.n_identities}) | {self.found.cpu_s:.2f} |"
        )


def judged(found: Outcome, faces: Faces) -> Judged:
    drawn = bootstrap_scores(found.labels, faces.identity, resamples=RESAMPLES, seed=0)
    return Judged(found=found, pairwise_f=drawn.pairwise_f, bcubed_f=drawn.bcubed_f)


def run_ours(faces: Faces, params: PartitionParams, method: str = "ours", setting: str = "default") -> Outcome:
    subset = np.zeros(len(faces.identity), np.int32)
    return measured(method, setting, faces.identity, partial(ours, faces.vectors, faces.quality, subset, params))


def sweep_peers(faces: Faces, python: Path | None) -> dict[str, list[Outcome]]:
    """Every peer at every setting. Graph peers see all pairs."""
    graph = peers.knn_of(faces.vectors, len(faces.identity) - 1)
    methods: dict[str, list[tuple[str, Callable[[], Int64Array]]]] = {
        "DBSCAN": [
            (f"{t}, {m} samples", partial(peers.dbscan, faces.vectors, t, m)) for t in SIMILARITIES for m in (2, 3)
        ],
        "HDBSCAN": [
            (f"{size}, {m} samples", partial(peers.hdbscan, faces.vectors, size, m))
            for size, m in ((2, 1), (2, 2), (2, 3), (3, 1), (3, 3))
        ],
        "average linkage": [(f"{t}", partial(peers.average_linkage, faces.vectors, t)) for t in SIMILARITIES],
        "Immich's rule": [
            (f"{t}, {m} faces", partial(peers.immich, graph, t, m)) for t in SIMILARITIES for m in (2, 3)
        ],
        "Chinese whispers": [
            (f"{t}, seed {seed}", partial(peers.chinese_whispers, graph, t, seed))
            for t in SIMILARITIES
            for seed in range(WHISPER_SEEDS)
        ],
    }
    sweeps = {
        method: [measured(method, setting, faces.identity, run) for setting, run in settings]
        for method, settings in methods.items()
    }
    if python is not None:
        sweeps["PyPI infomap"] = [
            _infomap(python, graph.first(k), t, k, faces) for k in INFOMAP_NEIGHBOURS for t in SIMILARITIES[::2]
        ]
    return sweeps


def _infomap(python: Path, graph: peers.KnnGraph, threshold: float, k: int, faces: Faces) -> Outcome:
    run = peers.foreign(python, "infomap", graph, threshold, seed=0)
    return outcome("PyPI infomap", f"{threshold}, k {k}", run.labels, faces.identity, run.links_s + run.cpu_s)


def compare(name: str, everyone: Faces, python: Path | None) -> Iterator[str]:
    """The table of one recogniser, and a verdict for each part that is no tuning."""
    params = calibrated_params(name, everyone.vectors)
    thresholds = f"within {params.within_similarity:.3f}, across {params.across_similarity:.3f}"
    yield f"\n### {name}\n\nOur thresholds: {thresholds} (calibrated on these vectors, no label read).\n\n{HEADER}"
    tuned: dict[str, str] = {}
    verdicts = []
    for part, rows in (
        ("tuning", everyone.is_tuning),
        ("held out", ~everyone.is_tuning),
        ("all", everyone.is_tuning | True),
    ):
        faces = everyone.at(rows)
        mine = judged(run_ours(faces, params), faces)
        yield mine.row(part)
        in_hindsight, as_tuned = [], []
        for method, outcomes in sweep_peers(faces, python).items():
            if part == "tuning":
                tuned[method] = best(outcomes).setting
            peer = next(found for found in outcomes if found.setting == tuned[method])
            in_hindsight.append(judged(best(outcomes), faces))
            as_tuned.append(judged(peer, faces))
            yield replace(in_hindsight[-1], found=replace(best(outcomes), method=f"{method}, best")).row(part)
            if part != "tuning":
                yield replace(as_tuned[-1], found=replace(peer, method=f"{method}, as tuned")).row(part)
        for slip in SLIPS:
            yield judged(run_ours(faces, slipped(params, slip), "ours, thresholds off", f"{slip:+.2f}"), faces).row(
                part
            )
        if part != "tuning":
            verdicts += [verdict(part, mine, as_tuned, "as tuned"), verdict(part, mine, in_hindsight, "in hindsight")]
    yield "\n" + "\n".join(verdicts)


def verdict(part: str, mine: Judged, others: list[Judged], how: str) -> str:
    """Whether ours is the best, inside of the best one's interval, or below it, for each F."""
    lines = []
    for score in ("pairwise_f", "bcubed_f"):
        top = max(others, key=lambda judged: float(getattr(judged.found.scores, score)))
        own, theirs = float(getattr(mine.found.scores, score)), float(getattr(top.found.scores, score))
        interval: Interval = getattr(top, score)
        place = "the best" if own >= theirs else "within the best one's interval" if own >= interval.low else "below"
        lines.append(
            f"- {part}, {score.replace('_f', ' F')}: ours {100 * own:.2f} is **{place}**; "
            f"best peer {how}: {top.found.method} {_with(theirs, interval)}"
        )
    return "\n".join(lines)


def _with(score: float, interval: Interval) -> str:
    return f"{100 * score:.2f} [{100 * interval.low:.2f}, {100 * interval.high:.2f}]"


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


def read_faces(path: Path, except_file: Path | None) -> Faces:
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
    return Faces(
        vectors=vectors,
        identity=identity.astype(np.int64),
        quality=np.ones(len(names), np.float32) if quality is None else np.asarray(quality, np.float32),
        is_tuning=np.asarray(is_even, np.bool_)[identity],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sources", nargs="+", type=Path, help="roots of faceloop flow, or .npz files")
    parser.add_argument("--truth-except", type=Path, help="photos whose folder lies, one path a line")
    parser.add_argument("--peers-python", type=Path, help="interpreter that has infomap")
    options = parser.parse_args()
    if options.peers_python is None:
        print("Skipped: PyPI infomap; name an interpreter that has it with --peers-python.")
    for source in options.sources:
        for line in compare(source.stem, read_faces(source, options.truth_except), options.peers_python):
            print(line, flush=True)


if __name__ == "__main__":
    main()
