"""Slices: how the model does on the hard tenth. One rate for everybody hides who is let down.

A genuine pair belongs to a slice when either face lies in it: the harder face decides. The threshold is the one that
all gold gives at `far`, because production has one threshold; so a slice also shows its own false accepts.
"""

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from faceloop.evaluation.comparison import Difference, difference
from faceloop.evaluation.coverage_params import UNKNOWN, MeasuredAxis
from faceloop.evaluation.gold import Gold
from faceloop.evaluation.pair_scores import PairList, PairScores
from faceloop.evaluation.resampling import Draws, Float64Array, Interval, drawn_tars, rate_interval
from faceloop.evaluation.verification import Resampled
from facestore.errors import ConfigError

State = Literal["passed", "failed", "refused", "no_floor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceFacts:
    """What is known of a face that a slice may ask for; `bands` by kind of slice."""

    bands: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceSupport:
    least_pairs: int
    least_people: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceFigures:
    """One slice. Too small: `refused` says so, and there is no rate."""

    kind: str  # yaw, size, light, quality, occlusion, subset, or the name of an attribute
    band: str
    faces: int
    people: int  # with a genuine pair in the slice
    pairs: int
    tar: float | None
    interval: Interval | None
    false_accepts: float | None  # share of impostor pairs with a face in the slice, at the threshold of all gold
    current_tar: float | None  # of the current model, at its own threshold
    against_current: Difference
    floor: float | None
    state: State
    refused: str | None

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.band}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """One model on the gold: its pairs and what was measured on them."""

    scores: PairScores
    verified: Resampled


def facts_of(
    subset: str,
    values: Mapping[str, float],
    attributes: Mapping[str, str],
    measured: Mapping[str, MeasuredAxis],
    names: Collection[str],
) -> FaceFacts:
    """Bands of a face: its subset, each measured axis by the `values` of columns, each attribute in `names`.

    An attribute about which nobody said anything is `unknown`.
    """
    bands = {"subset": subset}
    for name, axis in measured.items():
        value = abs(values[axis.column]) if axis.is_absolute else values[axis.column]
        bands[name] = axis.bands()[bisect_right(axis.edges, value)]
    return FaceFacts(bands=bands | {name: attributes.get(name, UNKNOWN) for name in names})


def slices_of(
    gold: Gold,
    facts: Sequence[FaceFacts],
    candidate: Model,
    current: Model,
    draws: Draws,
    *,
    far_place: int,
    support: SliceSupport,
    floors: Mapping[str, float],
) -> tuple[SliceFigures, ...]:
    """Every slice that a face lies in, the worst first, then the refused.

    `far_place` is the FAR of both verifications that gives the thresholds; where it was refused, so is every slice.
    `floors` are least TARs by slice name, by kind, or for `all`; the nearest name counts. A floor for a slice that
    no face lies in is refused, not passed. Raises ConfigError for a floor that can name no slice.
    """
    kinds = sorted({kind for fact in facts for kind in fact.bands})
    for name in floors:
        if name != "all" and name.partition(":")[0] not in kinds:
            raise ConfigError(f"evaluate.floors.{name}: no such slice; kinds are all, {', '.join(kinds)}")
    found = []
    for kind in kinds:
        bands = np.array([fact.bands.get(kind, UNKNOWN) for fact in facts])
        empty = {name.partition(":")[2] for name in floors if name.startswith(f"{kind}:")}
        for band in sorted({*bands.tolist(), *empty}):
            floor = floors.get(f"{kind}:{band}", floors.get(kind, floors.get("all")))
            found.append(
                _figures(gold, kind, band, bands == band, candidate, current, draws, far_place, support, floor)
            )
    return tuple(sorted(found, key=lambda row: (row.tar is None, row.tar or 0.0, row.name)))


def failed_slices(rows: Sequence[SliceFigures]) -> list[str]:
    """Each floor that is not passed, with value and floor, or why it cannot be told; empty where all pass."""
    return [
        f"slice {row.name} TAR {row.tar:.4f}, floor {row.floor:g}"
        if row.tar is not None
        else f"slice {row.name} cannot be told ({row.refused}), floor {row.floor:g}"
        for row in rows
        if row.state in ("failed", "refused") and row.floor is not None
    ]


def _figures(
    gold: Gold,
    kind: str,
    band: str,
    is_in: NDArray[np.bool_],
    candidate: Model,
    current: Model,
    draws: Draws,
    far_place: int,
    support: SliceSupport,
    floor: float | None,
) -> SliceFigures:
    pairs = _touching(candidate.scores.genuine, is_in)
    people = len(np.unique(gold.identity[pairs.first]))
    count = int(pairs.stands_for.sum())
    refused = candidate.verified.figures.at[far_place].refused
    if refused is None and (count < support.least_pairs or people < support.least_people):
        refused = (
            f"{count:,} genuine pairs of {people:,} people; at least {support.least_pairs:,} pairs of "
            f"{support.least_people:,} people are needed"
        )
    tar, drawn = _tar(pairs, gold, candidate, draws, far_place)
    theirs, theirs_drawn = _tar(_touching(current.scores.genuine, is_in), gold, current, draws, far_place)
    if refused is not None:
        tar = theirs = None
    interval = (
        None if tar is None else rate_interval(tar, drawn, trials=count, people=people, confidence=draws.confidence)
    )
    if tar is None:
        state: State = "refused"
    elif floor is None:
        state = "no_floor"
    else:
        state = "passed" if tar >= floor else "failed"
    return SliceFigures(
        kind=kind,
        band=band,
        faces=int(is_in.sum()),
        people=people,
        pairs=count,
        tar=tar,
        interval=interval,
        false_accepts=None if tar is None else _false_accepts(gold, is_in, candidate, far_place),
        current_tar=theirs,
        against_current=difference(tar, theirs, (drawn, theirs_drawn), draws.confidence),
        floor=floor,
        state=state,
        refused=refused,
    )


def _touching(pairs: PairList, is_in: NDArray[np.bool_]) -> PairList:
    return pairs.chosen(np.asarray(is_in[pairs.first] | is_in[pairs.second]))


def _tar(pairs: PairList, gold: Gold, model: Model, draws: Draws, far_place: int) -> tuple[float | None, Float64Array]:
    step = model.verified.threshold_steps[far_place]
    drawn = drawn_tars(pairs, gold.identity, draws, model.verified.thresholds[:, far_place : far_place + 1])[:, 0]
    total = int(pairs.stands_for.sum())
    return (float(pairs.stands_for[pairs.steps >= step].sum() / total) if total else None), drawn


def _false_accepts(gold: Gold, is_in: NDArray[np.bool_], model: Model, far_place: int) -> float | None:
    tail = _touching(model.scores.impostors, is_in)
    accepted = int(tail.stands_for[tail.steps >= model.verified.threshold_steps[far_place]].sum())
    impostors = _impostor_pairs(gold.identity) - _impostor_pairs(gold.identity[~is_in])
    return accepted / impostors if impostors else None


def _impostor_pairs(identity: NDArray[np.int64]) -> int:
    sizes = np.bincount(identity) if len(identity) else np.zeros(1, np.int64)
    return int(sizes.sum() ** 2 - (sizes**2).sum()) // 2
