"""Do proposals point at what is wrong?

    python -m benchmarks.doubts [--source FILE.npz] [--faces 20000]

An .npz with `vectors`, `labels`, `quality` and `is_error` (labels known to be wrong): its labels are taken for
clusters; how many of the outliers that `cleaning.outliers` proposes are wrong labels? The peer is a ranking by
similarity to the cluster alone. Made-up footage: true people as clusters, then 100 of them cut in two (does a merge
find them?), up to 100 mixed with the person nearest to them (a split?), and 200 faces moved to the nearest other
person (outliers?). Faces that were proposed before any was moved are left out of the last row: they are blurred, and
resemble other blurred faces more than their person.
"""

import argparse
from pathlib import Path

import numpy as np
from benchmarks.synthetic import synthetic_faces
from benchmarks.thresholds import OURS, calibration_of
from numpy.typing import NDArray

from faceloop.clustering.cleaning import CleaningParams, node_bands, outliers
from faceloop.clustering.clustered import Clustered
from faceloop.clustering.constraints import Constraints
from faceloop.clustering.knn import SearchParams, nearest
from faceloop.clustering.nodes import Nodes
from faceloop.clustering.proposals import ProposalParams, propose_merges, propose_splits

BoolArray = NDArray[np.bool_]
Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
NO_PAIRS = np.empty((0, 2), np.int64)
SEARCH = SearchParams(flat_rows_max=200_000, probes=32, block_rows=4096)
HEADER = "| question | wrong places | proposals | right among the first 10 | 20 | 50 | 100 | all |\n|---|" + "--:|" * 7


def clustered(vectors: Float32Array, labels: Int64Array, quality: Float32Array) -> Clustered:
    n = len(vectors)
    nodes = Nodes(
        node_ids=tuple(f"{row:09d}" for row in range(n)),
        vectors=vectors,
        weights=np.ones(n, np.float32),
        quality=quality,
        subset=np.zeros(n, np.int32),
    )
    return Clustered(
        nodes=nodes,
        labels=labels,
        hubness=np.zeros(n, np.float32),
        faces=np.ones(n, np.int64),
        constraints=Constraints(must_link=NO_PAIRS, cannot_link=NO_PAIRS),
    )


def row(question: str, wrong: int, hits: list[bool]) -> str:
    firsts = " | ".join(str(sum(hits[:count])) if len(hits) >= count else "" for count in (10, 20, 50, 100))
    return f"| {question} | {wrong} | {len(hits)} | {firsts} | {sum(hits)} |"


def cleaning(threshold: float) -> CleaningParams:
    return CleaningParams(
        edge_deviations=2.0,
        outlier_deviations=3.0,
        min_similarity=threshold,
        rival_margin=0.0,
        min_centre_nodes=3,
        prior_nodes=10,
        limit=100_000,
        search=SEARCH,
    )


def proposing(threshold: float) -> ProposalParams:
    return ProposalParams(
        merge_similarity=threshold - 0.1,
        split_similarity=threshold,
        min_half_nodes=2,
        neighbours=8,
        limit=100_000,
        search=SEARCH,
    )


def photos(source: Path) -> None:
    with np.load(source) as table:
        labels = np.unique(table["labels"], return_inverse=True)[1].astype(np.int64)
        given, is_error = clustered(table["vectors"], labels, table["quality"]), table["is_error"]
    threshold = OURS.partition(calibration_of(source.stem, given.nodes.vectors)).across_similarity
    found = outliers(given, np.zeros(len(labels), np.bool_), cleaning(threshold))
    print(row(f"wrong labels of {source.stem}", int(is_error.sum()), [bool(is_error[one.first_row]) for one in found]))
    own = node_bands(given, cleaning(threshold)).own
    ranked = np.argsort(np.where(np.isnan(own), np.inf, own), kind="stable")[: len(found)]
    print(row("the same, by similarity to the cluster alone", int(is_error.sum()), is_error[ranked].tolist()))


def made_up(faces: int) -> None:
    drawn = synthetic_faces(faces, 128, seed=3)
    drawn = drawn.at(drawn.quality >= OURS.min_quality)
    threshold = OURS.partition(calibration_of("made-up", drawn.vectors)).across_similarity
    truth = np.unique(drawn.identity, return_inverse=True)[1].astype(np.int64)
    sizes, rng = np.bincount(truth), np.random.default_rng(0)
    nobody = np.zeros(len(truth), np.bool_)

    cut, labels = rng.permutation(np.flatnonzero(sizes >= 6))[:100], truth.copy()
    for place, person in enumerate(cut.tolist()):
        rows = np.flatnonzero(truth == person)
        labels[rows[: len(rows) // 2]] = len(sizes) + place
    merges = propose_merges(clustered(drawn.vectors, labels, drawn.quality), proposing(threshold))
    print(row("people cut in two: merges", len(cut), [truth[one.first_row] == truth[one.second_row] for one in merges]))

    whole = clustered(drawn.vectors, truth, drawn.quality)
    people = np.flatnonzero(sizes >= 3)
    means = whole.clusters().means()
    chosen, labels, mixed = rng.permutation(people)[:100], truth.copy(), set[int]()
    nearest_other = people[nearest(means[chosen], means[people], 2, SEARCH).index[:, 1]]
    for person, other in zip(chosen.tolist(), nearest_other.tolist(), strict=True):
        if not mixed & {person, other}:
            labels[truth == other] = person
            mixed |= {person, other}
    splits = propose_splits(clustered(drawn.vectors, labels, drawn.quality), proposing(threshold))
    print(row("people mixed: splits", len(mixed) // 2, [one.first_label in mixed for one in splits]))

    moved, labels = rng.permutation(np.flatnonzero(sizes[truth] >= 4))[:200], truth.copy()
    near = people[nearest(drawn.vectors[moved], means[people], 2, SEARCH).index]
    labels[moved] = np.where(near[:, 0] == truth[moved], near[:, 1], near[:, 0])
    was_moved = nobody.copy()
    was_moved[moved] = True
    blurred = {one.first_row for one in outliers(whole, nobody, cleaning(threshold))}
    found = outliers(clustered(drawn.vectors, labels, drawn.quality), nobody, cleaning(threshold))
    hits = [bool(was_moved[one.first_row]) for one in found if one.first_row not in blurred or was_moved[one.first_row]]
    print(row(f"faces moved: outliers (less {len(blurred)} that were proposed before)", len(moved), hits))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, nargs="*", default=[])
    parser.add_argument("--faces", type=int, default=20_000)
    options = parser.parse_args()
    print(HEADER)
    for source in options.source:
        photos(source)
    made_up(options.faces)


if __name__ == "__main__":
    main()
