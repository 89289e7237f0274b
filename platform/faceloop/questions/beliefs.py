"""What to believe after people answered, when any answer may be a slip.

A *topic* is one thing asked about, once or again with other shots. Its probability starts at what geometry says
and is updated by Bayes with the annotators' error rate. An answer becomes a constraint only where the probability
passes a bound; so one answer settles what geometry half expected, and two or three what it did not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from faceloop.clustering.constraints import Constraints
from facestore.errors import ConfigError, DataError

Int64Array = NDArray[np.int64]
TopicKind = Literal["merge", "split", "outlier"]
_SUREST = 1e-6  # geometry alone never rules an answer out


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How far answers are believed. Raises ConfigError for a value outside its range."""

    error_rate: float  # of one answer, in (0, 0.5)
    certainty: float  # probability from which a topic is settled, in (0.5, 1)

    def __post_init__(self) -> None:
        if not 0 < self.error_rate < 0.5 or not 0.5 < self.certainty < 1:
            raise ConfigError(
                f"error rate {self.error_rate} and certainty {self.certainty}: "
                "give a rate inside (0, 0.5) and a certainty inside (0.5, 1)"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """Are these one person? Each time it is asked, the next shots are shown. Shots are rows of nodes."""

    kind: TopicKind
    first_shots: tuple[int, ...]  # at least 1, best first
    second_shots: tuple[int, ...]
    margin: float  # cosine above (same) or below the threshold when it was first asked
    evidence: tuple[float, ...]  # EVIDENCE, see chance.py
    chance: float  # that they are the same, before anybody was asked, in [0, 1]
    answers: tuple[bool, ...] = ()  # True: same

    def shots(self, time: int) -> tuple[int, int]:
        """The pair that is shown at the given time, from 0. After the last of a side its first one returns."""
        return self.first_shots[time % len(self.first_shots)], self.second_shots[time % len(self.second_shots)]

    def told(self, is_same: bool) -> "Topic":
        """The topic after one more answer."""
        return replace(self, answers=(*self.answers, is_same))

    def log_odds(self, trust: Trust) -> float:
        """Of the same person, after all answers."""
        weight = float(logit(1 - trust.error_rate))
        said = 2 * sum(self.answers) - len(self.answers)
        return float(logit(np.clip(self.chance, _SUREST, 1 - _SUREST))) + weight * said

    def probability(self, trust: Trust) -> float:
        """That they are the same, after all answers."""
        return float(expit(self.log_odds(trust)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Which topics became constraints that hold together, and which stay open."""

    constraints: Constraints
    is_settled: tuple[bool, ...]  # one a topic
    is_refused: tuple[bool, ...]  # certain by itself, but at odds with topics that are more certain


class _Sides:
    """Union-find over rows, with the sides that may never be joined. Linear but for the depth of small trees."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}
        self._apart: dict[int, set[int]] = {}

    def of(self, row: int) -> int:
        root = row
        while (above := self._parent.get(root, root)) != root:
            root = above
        while (above := self._parent.get(row, row)) != root:
            self._parent[row] = root
            row = above
        return root

    def join(self, first: int, second: int) -> bool:
        """Whether they could be joined."""
        one, other = self.of(first), self.of(second)
        if one == other:
            return True
        ours, theirs = self._apart.setdefault(one, set()), self._apart.setdefault(other, set())
        if other in ours:
            return False
        if len(ours) < len(theirs):
            one, other, ours, theirs = other, one, theirs, ours
        for enemy in theirs:
            self._apart[enemy].discard(other)
            self._apart[enemy].add(one)
        ours |= theirs
        self._parent[other] = one
        return True

    def part(self, first: int, second: int) -> bool:
        """Whether they could be kept apart."""
        one, other = self.of(first), self.of(second)
        if one == other:
            return False
        self._apart.setdefault(one, set()).add(other)
        self._apart.setdefault(other, set()).add(one)
        return True


def settle(topics: Sequence[Topic], given: Constraints, trust: Trust) -> Settled:
    """Turn topics into constraints, the most certain first; one that contradicts those before it is refused.

    `given` constraints are beyond doubt (two faces of one picture) and come first. The result always holds
    together: answers along a chain that cannot all be right leave out the weakest. Of a settled topic only the
    shots count about which people said what was settled. Raises DataError where `given` contradicts itself.
    """
    sides = _Sides()
    held = [sides.join(*pair) for pair in given.must_link.tolist()]
    held += [sides.part(*pair) for pair in given.cannot_link.tolist()]
    if not all(held):
        raise DataError("the given constraints contradict each other; correct them before people are asked")
    must: list[Int64Array] = [given.must_link.reshape(-1, 2)]
    cannot: list[Int64Array] = [given.cannot_link.reshape(-1, 2)]
    is_settled, is_refused = [False] * len(topics), [False] * len(topics)
    log_odds = np.array([topic.log_odds(trust) for topic in topics])
    for place in np.argsort(-np.abs(log_odds), kind="stable").tolist():
        topic = topics[place]
        is_same = bool(log_odds[place] > 0)
        if not topic.answers or expit(abs(log_odds[place])) < trust.certainty:
            continue
        pairs = [topic.shots(time) for time, answer in enumerate(topic.answers) if answer == is_same]
        act = sides.join if is_same else sides.part
        agreed = [pair for pair in pairs if act(*pair)]
        if agreed:
            (must if is_same else cannot).append(np.array(agreed, np.int64))
        is_refused[place] = len(agreed) < len(pairs)
        is_settled[place] = bool(pairs) and not is_refused[place]
    return Settled(
        constraints=Constraints(must_link=np.concatenate(must), cannot_link=np.concatenate(cannot)),
        is_settled=tuple(is_settled),
        is_refused=tuple(is_refused),
    )
