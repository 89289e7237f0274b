"""Two trainings side by side: which params differ, which figures, and whether their ranges part."""

from collections.abc import Mapping
from dataclasses import dataclass

from faceloop.experiments.recording import Trained
from facestore.ids import JsonValue

_BOUNDS = (".low", ".high")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamDifference:
    """A key whose values differ; `None` too where one run has no such key."""

    key: str
    first: JsonValue
    second: JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class FigurePair:
    """One figure of both evaluations with its interval, where it has one. `has_parted`: the two intervals share
    nothing; None where a side has none. Parting is strict: a paired test on the same faces finds smaller differences.
    """

    name: str
    first: float
    second: float
    first_interval: tuple[float, float] | None
    second_interval: tuple[float, float] | None
    has_parted: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`is_same_gold`: both were evaluated on one release under one section `evaluate`; else they sat two exams."""

    params: tuple[ParamDifference, ...]
    figures: tuple[FigurePair, ...]
    is_same_gold: bool


def compare(first: Trained, second: Trained) -> Comparison:
    """Figures are those that both evaluations state; a refused one has no line."""
    one, other = (flattened(run.training.params) for run in (first, second))
    keys = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    a, b = first.evaluation, second.evaluation
    pairs = _pairs(a.figures, b.figures) if a is not None and b is not None else ()
    is_same = a is not None and b is not None and (a.release, _exam(a.params)) == (b.release, _exam(b.params))
    differences = [ParamDifference(key=key, first=one.get(key), second=other.get(key)) for key in keys]
    return Comparison(params=tuple(differences), figures=pairs, is_same_gold=is_same)


def flattened(tree: JsonValue, prefix: str = "") -> dict[str, JsonValue]:
    """`section.key` to its value; lists stay whole."""
    if not isinstance(tree, dict):
        return {prefix: tree}
    flat: dict[str, JsonValue] = {}
    for name, value in tree.items():
        flat |= flattened(value, f"{prefix}.{name}" if prefix else str(name))
    return flat


def _exam(params: JsonValue) -> JsonValue:
    return params.get("evaluate") if isinstance(params, dict) else None


def _pairs(first: JsonValue, second: JsonValue) -> tuple[FigurePair, ...]:
    if not isinstance(first, dict) or not isinstance(second, dict):
        return ()
    names = sorted(name for name in first.keys() & second.keys() if not name.endswith(_BOUNDS))
    return tuple(_pair(name, first, second) for name in names if _is_shown(name, first, second))


def _is_shown(name: str, first: Mapping[str, JsonValue], second: Mapping[str, JsonValue]) -> bool:
    """What differs, and whatever has a range."""
    values = (first[name], second[name])
    return all(isinstance(value, int | float) for value in values) and (
        values[0] != values[1] or f"{name}.low" in first or f"{name}.low" in second
    )


def _pair(name: str, first: Mapping[str, JsonValue], second: Mapping[str, JsonValue]) -> FigurePair:
    one, other = _interval(name, first), _interval(name, second)
    has_parted = None if one is None or other is None else one[1] < other[0] or other[1] < one[0]
    return FigurePair(
        name=name,
        first=_number(first[name]),
        second=_number(second[name]),
        first_interval=one,
        second_interval=other,
        has_parted=has_parted,
    )


def _interval(name: str, figures: Mapping[str, JsonValue]) -> tuple[float, float] | None:
    low, high = figures.get(f"{name}.low"), figures.get(f"{name}.high")
    return None if low is None or high is None else (_number(low), _number(high))


def _number(value: JsonValue) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
