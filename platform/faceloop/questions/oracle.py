"""A person made of truth: answers questions from true labels, sometimes wrongly, at so many seconds an answer.

`simulate` runs the loop that people will run: ask, believe, cluster again, ask. So a strategy can be judged, and
purity drawn against minutes, before anybody's time is spent.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.clustered import Clustered
from faceloop.clustering.constraints import Constraints
from faceloop.clustering.metrics import score_partition
from faceloop.clustering.nodes import Nodes
from faceloop.clustering.params import PartitionParams
from faceloop.clustering.partition import partition
from faceloop.questions.beliefs import Settled, Topic, settle
from faceloop.questions.selection import Pick, SelectionParams, Strategy, batch, make_pool
from facestore.errors import ConfigError, DataError

IntArray = NDArray[np.integer[Any]]
Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle:
    """Knows who everybody is. Every answer is wrong with `error_rate`, independently of the others."""

    truth: IntArray  # (n,) true identity of each node
    error_rate: float  # in [0, 0.5)

    def __post_init__(self) -> None:
        if not 0 <= self.error_rate < 0.5:
            raise ConfigError(f"an oracle with error rate {self.error_rate} is of no use; give one in [0, 0.5)")

    def is_same(self, first: int, second: int, rng: np.random.Generator) -> bool:
        """The answer about two nodes. Draws one number, right or wrong."""
        is_slip = rng.random() < self.error_rate
        return bool(self.truth[first] == self.truth[second]) != is_slip


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where things stand after so many answers. Scores are over faces, in [0, 1]."""

    questions: int
    minutes: float  # of a person
    pairwise_precision: float
    pairwise_recall: float
    pairwise_f: float
    bcubed_f: float
    clusters: int
    wrong_answers: int
    wrong_constraints: int  # settled topics whose constraint is not true


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationParams:
    """Raises ConfigError for a value outside its range."""

    strategy: Strategy
    questions: int  # to ask in all, >= 0; fewer where nothing is left to ask
    batch_size: int  # answers between two partitions, >= 1
    seed: int

    def __post_init__(self) -> None:
        if self.questions < 0 or self.batch_size < 1:
            raise ConfigError("a simulation needs at least 0 questions in batches of at least 1; correct the numbers")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is to be put right: nodes with the truth about them."""

    nodes: Nodes
    faces: Int64Array  # (n,) faces behind each node, >= 1
    truth: IntArray  # (n,) true identity
    known: Constraints  # beyond doubt: two faces of one picture
    partition_params: PartitionParams

    def __post_init__(self) -> None:
        if not len(self.faces) == len(self.truth) == len(self.nodes.node_ids) or len(self.truth) == 0:
            raise DataError("a world to simulate needs at least one node, with its faces and its true identity")


def simulate(
    world: World,
    oracle: Oracle,
    selection: SelectionParams,
    params: SimulationParams,
    say: Callable[[Progress], None] = lambda progress: None,
) -> list[Progress]:
    """Ask, believe, cluster again, until the questions are used up or nothing is left to ask.

    The first entry is before any answer; then one a batch. The same seed gives the same run. `say` hears each.
    """
    shuffle, slip = (np.random.default_rng([params.seed, stream]) for stream in (0, 1))
    topics: list[Topic] = []
    asked, seconds, wrong = 0, 0.0, 0
    history: list[Progress] = []
    while True:
        settled = settle(topics, world.known, selection.trust)
        found = partition(nodes=world.nodes, constraints=settled.constraints, params=world.partition_params)
        now = _scores(world, found.labels)
        history.append(
            replace(
                now,
                questions=asked,
                minutes=seconds / 60,
                wrong_answers=wrong,
                wrong_constraints=_wrong_constraints(topics, settled, oracle, selection),
            )
        )
        say(history[-1])
        if asked >= params.questions:
            return history
        clustered = Clustered(
            nodes=world.nodes,
            labels=found.labels,
            hubness=found.hubness,
            faces=world.faces,
            constraints=settled.constraints,
        )
        pool = make_pool(
            clustered,
            found.confidence,
            topics,
            settled,
            selection,
            with_settled=params.strategy == "expected_gain",
        )
        picks = batch(pool.ranked(params.strategy, shuffle), min(params.batch_size, params.questions - asked))
        if not picks:
            return history
        for pick in picks:
            first, second = pick.topic.shots(len(pick.topic.answers))
            is_same = oracle.is_same(first, second, slip)
            wrong += is_same != bool(oracle.truth[first] == oracle.truth[second])
            _take(topics, pick, is_same)
            seconds += selection.seconds(pick.topic.kind)
        asked += len(picks)


def questions_to_reach(history: list[Progress], pairwise_f: float) -> int | None:
    """Answers after which the score was reached and never lost again; None where it was not."""
    reached = None
    for progress in reversed(history):
        if progress.pairwise_f < pairwise_f:
            break
        reached = progress.questions
    return reached


def _take(topics: list[Topic], pick: Pick, is_same: bool) -> None:
    told = pick.topic.told(is_same)
    if pick.place is None:
        topics.append(told)
    else:
        topics[pick.place] = told


def _scores(world: World, labels: Int64Array) -> Progress:
    faces = np.repeat(np.arange(len(labels)), world.faces)
    # A node that was left out is a cluster of its own, not one a face.
    own = np.where(labels >= 0, labels, labels.max(initial=-1) + 1 + np.arange(len(labels)))
    scores = score_partition(own[faces], world.truth[faces])
    return Progress(
        questions=0,
        minutes=0.0,
        pairwise_precision=scores.pairwise_precision,
        pairwise_recall=scores.pairwise_recall,
        pairwise_f=scores.pairwise_f,
        bcubed_f=scores.bcubed_f,
        clusters=scores.n_clusters,
        wrong_answers=0,
        wrong_constraints=0,
    )


def _wrong_constraints(topics: list[Topic], settled: Settled, oracle: Oracle, selection: SelectionParams) -> int:
    wrong = 0
    for topic, is_settled in zip(topics, settled.is_settled, strict=True):
        first, second = topic.shots(0)
        is_same = topic.log_odds(selection.trust) > 0
        wrong += is_settled and is_same != bool(oracle.truth[first] == oracle.truth[second])
    return wrong
