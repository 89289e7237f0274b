"""Which drafts are asked, and in which order: worth, variety, balance, and when to stop.

Greedy over a look-ahead of the best that is left, so the cost is linear in drafts. No two of one plan tell about each
other: one question about the inside of a cluster, one about each unknown, and no circle of identities.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from faceloop.questions.drafts import Draft
from faceloop.questions.expectation import Expectation
from faceloop.questions.plan_params import SelectParams
from faceloop.questions.selection import Strategy
from faceloop.questions.situation import Situation

Float32Array = NDArray[np.float32]
StopReason = Literal["nothing_left", "over_budget", "little_gain", "target_reached"]
_LOOK_AHEAD = 64
_YAW_BANDS_DEG = (-25.0, 25.0)
_QUALITY_BANDS = (0.5, 0.75)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Questions about who is who, in the order in which they are asked."""

    chosen: tuple[Draft, ...]
    repeating: int  # drafts left out because a chosen one tells about them
    left: int  # other drafts left out
    stop: StopReason
    before: Expectation
    after: Expectation

    @property
    def seconds(self) -> float:
        """Of people."""
        return sum(draft.seconds for draft in self.chosen)


def arrange(
    drafts: Sequence[Draft], situation: Situation, before: Expectation, params: SelectParams, *, budget_s: float
) -> Plan:
    """`drafts` are all that could be asked, most worth first; `before` is what is expected without any answer."""
    waiting = iter(_ordered(drafts, params.strategy, params.seed))
    told, variety = _Told(situation), _Variety(situation, params)
    front: list[Draft] = []
    chosen: list[Draft] = []
    repeating, spent_s, parted, joined = 0, 0.0, 0.0, 0.0
    stop: StopReason = "nothing_left"
    by_gain = params.strategy == "expected_gain"
    accuracy = 1 - params.error_rate
    while True:
        while len(front) < _LOOK_AHEAD and (draft := next(waiting, None)) is not None:
            front.append(draft)
        fresh = [draft for draft in front if not told.tells(draft)]
        repeating += len(front) - len(fresh)
        if len(fresh) < len(front):
            front = fresh
            continue
        if not front:
            break
        if before.after(parted, joined).pairwise_f >= params.target_f and by_gain:
            stop = "target_reached"
            break
        if by_gain and front[0].rate * 60 < params.min_gain_per_minute:
            stop = "little_gain"
            break
        best = variety.best(front) if by_gain else variety.first(front)
        if spent_s + best.seconds > budget_s:
            stop = "over_budget"
            break
        front.remove(best)
        chosen.append(best)
        told.take(best)
        variety.take(best)
        spent_s += best.seconds
        if best.is_inside:
            parted += accuracy * best.gain
        else:
            joined += accuracy * best.gain
    left = len(drafts) - len(chosen) - repeating
    return Plan(
        chosen=tuple(chosen),
        repeating=repeating,
        left=left,
        stop=stop,
        before=before,
        after=before.after(parted, joined),
    )


def _ordered(drafts: Sequence[Draft], strategy: Strategy, seed: int) -> Iterable[Draft]:
    match strategy:
        case "expected_gain":
            return drafts
        case "margin":
            return [drafts[place] for place in np.argsort([draft.margin for draft in drafts], kind="stable").tolist()]
        case "random":
            return [drafts[place] for place in np.random.default_rng(seed).permutation(len(drafts)).tolist()]


class _Told:
    """What the plan will tell: clusters looked into, unknowns asked about, identities that may be joined."""

    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self._inside: set[int] = set()
        self._unknown: set[int] = set()
        self._parent: dict[int, int] = {}

    def tells(self, draft: Draft) -> bool:
        """Whether answers to the plan already say something about this."""
        if draft.is_inside:
            return draft.label in self._inside
        if not self._unknown.isdisjoint(self._unknowns(draft)):
            return True
        known = {draft.label, *(option.label for option in draft.options)} - set(self._unknowns(draft))
        return len(known) == len(draft.labels) and len({self._root(label) for label in known}) < len(known)

    def take(self, draft: Draft) -> None:
        if draft.is_inside:
            self._inside.add(draft.label)
            return
        unknown = self._unknowns(draft)
        self._unknown.update(unknown)
        if not unknown:
            for option in draft.options:
                self._parent[self._root(option.label)] = self._root(draft.label)

    def _unknowns(self, draft: Draft) -> list[int]:
        return [label for label in sorted(draft.labels) if self._situation.identity(label) is None]

    def _root(self, label: int) -> int:
        while (above := self._parent.get(label, label)) != label:
            label = above
        return label


@dataclass(slots=True)
class _Asked:
    """How often each slice was asked about."""

    nodes: Counter[tuple[str, str]] = field(default_factory=Counter)  # dimension and slice → nodes there are
    all_nodes: int = 0
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    total: int = 0


class _Variety:
    """No near-identical questions within a window; what has had its share weighs less."""

    def __init__(self, situation: Situation, params: SelectParams) -> None:
        self._situation = situation
        self._params = params
        self._alike = situation.calibration.cosine(params.alike_sigmas)
        self._last: deque[Draft] = deque(maxlen=params.window)
        self._recent_labels: set[int] = set()
        self._recent_vectors = situation.given.nodes.vectors[:0]
        self._asked = _Asked()
        for row, shots in enumerate(situation.shots):
            if shots:
                self._asked.nodes.update(self._slices(row))
                self._asked.all_nodes += 1

    def best(self, front: Sequence[Draft]) -> Draft:
        """The most worth, once balanced, of those that are unlike the last ones; of all, where none is."""
        return min(front, key=lambda draft: (self._is_alike(draft), -draft.rate * self._weight(draft)))

    def first(self, front: Sequence[Draft]) -> Draft:
        """The first that is unlike the last ones; the first of all, where none is."""
        return next((draft for draft in front if not self._is_alike(draft)), front[0])

    def take(self, draft: Draft) -> None:
        self._last.append(draft)
        self._recent_labels = set().union(*(seen.labels for seen in self._last))
        self._recent_vectors = np.concatenate([self._recent_vectors[:0], *map(self._vectors, self._last)])
        self._asked.total += 1
        self._asked.counts.update(self._slices(draft.rows[0]))

    def _is_alike(self, draft: Draft) -> bool:
        if not self._recent_labels.isdisjoint(draft.labels):
            return True
        return bool((self._vectors(draft) @ self._recent_vectors.T).max(initial=-1.0) >= self._alike)

    def _vectors(self, draft: Draft) -> Float32Array:
        return self._situation.given.nodes.vectors[[draft.rows[0], draft.options[0].rows[0]]]

    def _weight(self, draft: Draft) -> float:
        """At most 1: (share of the questions so far ÷ share of the faces) to the power of -balance, by slice."""
        weight = 1.0
        for part in self._slices(draft.rows[0]):
            due = 1 + self._asked.total * self._asked.nodes[part] / self._asked.all_nodes
            weight *= min(1.0, ((1 + self._asked.counts[part]) / due) ** -self._params.balance)
        return weight

    def _slices(self, row: int) -> tuple[tuple[str, str], ...]:
        sight = self._situation.best_sight(row)
        yaw = int(np.searchsorted(_YAW_BANDS_DEG, sight.yaw))
        quality = int(np.searchsorted(_QUALITY_BANDS, sight.quality))
        return ("subset", sight.subset), ("yaw", str(yaw)), ("quality", str(quality))
