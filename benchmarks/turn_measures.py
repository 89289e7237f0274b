"""What a turn of the wheel came to: paired differences of TAR and of clusters, purity of labels, questions saved."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.bootstrap import resampled_scores
from faceloop.clustering.metrics import contingency, score_partition
from faceloop.commands.simulate import read_world, selection_params
from faceloop.evaluation.comparison import difference
from faceloop.evaluation.pair_scores import score_pairs
from faceloop.evaluation.resampling import Draws
from faceloop.evaluation.verification import Resampled, Support, verify
from faceloop.params import section
from faceloop.questions.oracle import Oracle, Progress, SimulationParams, simulate
from faceloop.questions.plan_params import SelectParams
from faceloop.reports.truth import TruthSpec
from faceloop.runner import Workspace

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]

FARS = (1e-2, 1e-3)
CONFIDENCE = 0.95
REPLICATES = 2000
SUPPORT = Support(least_false_accepts=30, least_people=3, least_genuine_pairs=100, least_identities=20)
ANSWER_S = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One figure of the old and of the new model on the same faces; the interval is of the difference, paired."""

    name: str
    old: float | None
    new: float | None
    low: float | None
    high: float | None
    verdict: str

    def row(self) -> str:
        cells = ["refused" if value is None else f"{value:.4f}" for value in (self.old, self.new)]
        if self.old is None or self.new is None or self.low is None or self.high is None:
            return f"| {self.name} | {cells[0]} | {cells[1]} | | | {self.verdict} |"
        gain = f"{self.new - self.old:+.4f} | {self.low:+.4f} to {self.high:+.4f}"
        return f"| {self.name} | {cells[0]} | {cells[1]} | {gain} | {self.verdict.replace('_', ' ')} |"


def compare_pairs(name: str, old: Float32Array, new: Float32Array, person: Int64Array) -> list[Compared]:
    """TAR at each FAR, all pairs of rows; people are drawn, the same for both, and thresholds found anew."""
    people = int(person.max()) + 1
    draws = Draws.seeded(people, replicates=REPLICATES, seed=0, confidence=CONFIDENCE)
    before, after = (_verified(vectors, person, draws) for vectors in (old, new))
    rows = []
    for place, far in enumerate(FARS):
        pair = before.figures.at[place].tar, after.figures.at[place].tar
        found = difference(pair[1], pair[0], (after.tars[:, place], before.tars[:, place]), CONFIDENCE)
        rows.append(
            Compared(
                name=f"TAR @ FAR {far:g}, {name}",
                old=pair[0],
                new=pair[1],
                low=found.interval.low if found.interval else None,
                high=found.interval.high if found.interval else None,
                verdict=found.verdict,
            )
        )
    return rows


def compare_clusters(old: Int64Array, new: Int64Array, person: Int64Array) -> list[Compared]:
    """Pairwise and BCubed F of two labellings (n,), -1 left out; the same people drawn for both."""
    scores = [score_partition(labels, person) for labels in (old, new)]
    drawn = [resampled_scores(contingency(labels, person), resamples=REPLICATES, seed=0) for labels in (old, new)]
    rows = []
    for name, column, before, after in (
        ("pairwise F", 2, scores[0].pairwise_f, scores[1].pairwise_f),
        ("pairwise precision", 0, scores[0].pairwise_precision, scores[1].pairwise_precision),
        ("pairwise recall", 1, scores[0].pairwise_recall, scores[1].pairwise_recall),
        ("BCubed F", 5, scores[0].bcubed_f, scores[1].bcubed_f),
    ):
        found = difference(after, before, (drawn[1][:, column], drawn[0][:, column]), CONFIDENCE)
        rows.append(
            Compared(
                name=f"clusters, {name}",
                old=before,
                new=after,
                low=found.interval.low if found.interval else None,
                high=found.interval.high if found.interval else None,
                verdict=found.verdict,
            )
        )
    return rows


def purity(labels: Iterable[tuple[str, str]], person_of_photo: Mapping[str, str]) -> tuple[int, float]:
    """Of (identity, photo) labels with known truth: how many, and the share that names its identity's main person."""
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for identity, photo in labels:
        if photo in person_of_photo:
            votes[identity][person_of_photo[photo]] += 1
    known = sum(count.total() for count in votes.values())
    right = sum(max(count.values()) for count in votes.values())
    return known, right / known if known else float("nan")


def ask(work: Workspace, truth: TruthSpec, *, questions: int, batch: int, seeds: int) -> list[list[Progress]]:
    """`faceloop simulate` on a root: answers without error, asked in the order of expected gain."""
    world = read_world(work, truth)
    asking = section(work.tree, "select", SelectParams)
    selection = selection_params(world.partition_params, asking, error_rate=0.0, seconds=ANSWER_S)
    return [
        simulate(
            world,
            Oracle(truth=world.truth, error_rate=0.0),
            selection,
            SimulationParams(strategy="expected_gain", questions=questions, batch_size=batch, seed=seed),
        )
        for seed in range(seeds)
    ]


def _verified(vectors: Float32Array, person: Int64Array, draws: Draws) -> Resampled:
    scores = score_pairs(vectors, person, np.arange(len(person)), largest_far=max(FARS), most_listed=4_000_000)
    return verify(scores, draws, FARS, SUPPORT)
