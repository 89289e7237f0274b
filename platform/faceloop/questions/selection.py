"""Which questions to ask next: those whose answers put most pairs of faces right for a second of a person's time.

One currency for all kinds: a merge gains p(same) × pairs that come together, a split or an outlier (1 − p) × wrong
pairs that part. A topic that was answered but is not beyond doubt competes in the same currency, so what much hangs
on is asked again, with other shots. The rule is expected error reduction (Roy and McCallum 2001) for one answer.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.clustered import Clustered
from faceloop.questions.beliefs import Settled, Topic, TopicKind, Trust
from faceloop.questions.candidates import CandidateParams, Candidates, find_candidates
from faceloop.questions.chance import EVIDENCE, Chance, learn
from facestore.errors import ConfigError

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Strategy = Literal["expected_gain", "margin", "random"]
KINDS: tuple[TopicKind, ...] = ("merge", "split", "outlier")
# Before any answer. What clustering has joined is seldom wrong, even at margin 0.
_PRIOR: dict[TopicKind, Chance] = {
    "merge": Chance(offset=1.0, weights=(1.0, 1.5, 0.7)),
    "split": Chance(offset=3.0, weights=(1.0, 0.0, 0.0)),
    "outlier": Chance(offset=3.0, weights=(1.0, 0.0, 0.0)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionParams:
    """Raises ConfigError for a value outside its range."""

    candidates: CandidateParams
    trust: Trust
    lowest_chance: float  # what geometry is surer of than this, either way, is not asked, in (0, 0.5)
    merge_s: float  # seconds of a person for one answer, > 0
    split_s: float
    outlier_s: float

    def __post_init__(self) -> None:
        if not 0 < self.lowest_chance < 0.5 or min(self.merge_s, self.split_s, self.outlier_s) <= 0:
            raise ConfigError("lowest_chance lies inside (0, 0.5) and seconds are above 0; correct the params")

    def seconds(self, kind: TopicKind) -> float:
        """What one answer costs."""
        return {"merge": self.merge_s, "split": self.split_s, "outlier": self.outlier_s}[kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """One question: a topic, and if it was asked before, its place among the earlier topics."""

    topic: Topic
    place: int | None
    labels: tuple[int, int]  # clusters of the two shots
    similarity: float
    gain_per_s: float  # pairs of faces


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """All questions that could be asked now: those never asked by kind, then those to ask again."""

    new: tuple[Candidates, ...]
    chance: Float64Array  # (m,) of the new ones, in order, that both sides are one person
    gain_per_s: Float64Array  # (m,)
    again: tuple[Pick, ...]

    def __len__(self) -> int:
        return len(self.chance) + len(self.again)

    def ranked(self, strategy: Strategy, rng: np.random.Generator) -> Iterator[Pick]:
        """In the order of a strategy: gain a second; smallest margin; at random. Equal ones keep the pool's order."""
        match strategy:
            case "expected_gain":
                order = np.append(-self.gain_per_s, [-pick.gain_per_s for pick in self.again])
            case "margin":
                margins = [np.abs(found.margin) for found in self.new]
                order = np.concatenate([*margins, [abs(pick.topic.margin) for pick in self.again]])
            case "random":
                order = rng.random(len(self))
        return (self._pick(place) for place in np.argsort(order, kind="stable").tolist())

    def _pick(self, place: int) -> Pick:
        if place >= len(self.chance):
            return self.again[place - len(self.chance)]
        row = place
        for found in self.new:
            if row < len(found):
                break
            row -= len(found)
        topic = Topic(
            kind=found.kind,
            first_shots=tuple(found.first_shots[row][found.first_shots[row] >= 0].tolist()),
            second_shots=tuple(found.second_shots[row][found.second_shots[row] >= 0].tolist()),
            margin=float(found.margin[row]),
            evidence=tuple(found.evidence[row].tolist()),
            chance=float(self.chance[place]),
        )
        return Pick(
            topic=topic,
            place=None,
            labels=(int(found.first_label[row]), int(found.second_label[row])),
            similarity=float(found.similarity[row]),
            gain_per_s=float(self.gain_per_s[place]),
        )


def make_pool(
    given: Clustered,
    confidence: Float32Array,
    topics: Sequence[Topic],
    settled: Settled,
    params: SelectionParams,
    *,
    with_settled: bool,
) -> Pool:
    """What could be asked about the partition `given`, whose constraints are those that the `settled` topics gave.

    `confidence` (n,) is the partition's. Open topics may be asked again; with `with_settled`, so may those that
    are settled but not beyond doubt.
    """
    chances = learned_chances(topics, settled)
    new: list[Candidates] = []
    chance: list[Float64Array] = [np.empty(0)]
    gain: list[Float64Array] = [np.empty(0)]
    for found in find_candidates(given, confidence, params.candidates):
        same = chances[found.kind].of(found.evidence)
        worth = same if found.kind == "merge" else 1 - same
        is_asked = (worth >= params.lowest_chance) & ~_is_asked_before(found, given, topics, settled)
        new.append(found.at(is_asked))
        chance.append(same[is_asked])
        gain.append((worth * found.pairs / params.seconds(found.kind))[is_asked])
    return Pool(
        new=tuple(new),
        chance=np.concatenate(chance),
        gain_per_s=np.concatenate(gain),
        again=tuple(_again(given, topics, settled, params, with_settled=with_settled)),
    )


def learned_chances(topics: Sequence[Topic], settled: Settled) -> Mapping[TopicKind, Chance]:
    """P(same person) for each kind of question, moved by the settled topics of that kind."""
    chances = {}
    for kind in KINDS:
        seen = [
            (topic.evidence, 2 * sum(topic.answers) > len(topic.answers))
            for topic, is_settled in zip(topics, settled.is_settled, strict=True)
            if is_settled and topic.kind == kind
        ]
        chances[kind] = learn(
            _PRIOR[kind],
            np.array([evidence for evidence, _ in seen], np.float64).reshape(-1, EVIDENCE),
            np.array([is_same for _, is_same in seen], np.bool_),
        )
    return chances


def prior_chance(kind: TopicKind) -> Chance:
    """P(same person) before anybody has answered."""
    return _PRIOR[kind]


def batch(ranked: Iterable[Pick], size: int) -> list[Pick]:
    """The first `size` picks of which no two touch one cluster: their answers would tell about each other.

    Filled up from the rest where there are too few.
    """
    chosen: list[Pick] = []
    rest: list[Pick] = []
    busy: set[int] = set()
    for pick in ranked:
        if len(chosen) == size:
            return chosen
        if busy.isdisjoint(pick.labels):
            chosen.append(pick)
            busy.update(pick.labels)
        elif len(rest) < size:
            rest.append(pick)
    return chosen + rest[: size - len(chosen)]


def _is_asked_before(found: Candidates, given: Clustered, topics: Sequence[Topic], settled: Settled) -> BoolArray:
    """Which candidates are about the same clusters, or the same member, as a topic that is open or closed."""
    open_rows, halved_rows = [], []
    for topic, is_settled in zip(topics, settled.is_settled, strict=True):
        if not is_settled:
            open_rows.append(topic.shots(0))
        elif topic.kind == "split":
            halved_rows.append(topic.shots(0))
    rows = np.array(open_rows, np.int64).reshape(-1, 2)
    match found.kind:
        case "merge":
            labels = np.sort(given.labels[rows], axis=1)
            base = given.count + 1
            asked = np.isin(found.first_label * base + found.second_label, labels[:, 0] * base + labels[:, 1])
        case "split":
            labels = given.labels[np.concatenate([rows, np.array(halved_rows, np.int64).reshape(-1, 2)])]
            asked = np.isin(found.first_label, labels[labels[:, 0] == labels[:, 1], 0])
        case "outlier":
            asked = np.isin(found.first_shots[:, 0], rows)
    return np.asarray(asked, np.bool_)


def _again(
    given: Clustered, topics: Sequence[Topic], settled: Settled, params: SelectionParams, *, with_settled: bool
) -> Iterator[Pick]:
    faces = np.bincount(given.labels[given.labels >= 0], given.faces[given.labels >= 0], given.count)
    for place, topic in enumerate(topics):
        if settled.is_settled[place] and not with_settled:
            continue
        first, second = topic.shots(len(topic.answers))
        labels = int(given.labels[first]), int(given.labels[second])
        if min(labels) < 0:
            continue
        part = float(given.faces[first]) if topic.kind == "outlier" else float(faces[labels[0]]) / 2
        hangs = faces[labels[0]] * faces[labels[1]] if labels[0] != labels[1] else part * (faces[labels[0]] - part)
        doubt = topic.probability(params.trust)
        if settled.is_settled[place]:
            doubt = min(doubt, 1 - doubt)  # that the settled answer is wrong
        elif settled.is_refused[place]:
            doubt = 0.5
        elif labels[0] == labels[1]:
            doubt = 1 - doubt  # that the machine, which has joined them, is wrong
        yield Pick(
            topic=topic,
            place=place,
            labels=labels,
            similarity=topic.margin + params.candidates.threshold,
            gain_per_s=doubt * float(hangs) / params.seconds(topic.kind),
        )
