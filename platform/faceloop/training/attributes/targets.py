"""Which answers a head learns from, as arrays. No torch here.

A target matrix has, for every head, its columns (one a value, or one number) and then one that says whether anybody
answered: what is missing is masked, and two rows can be mixed column by column.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.training.attributes.attribute_params import AttributeSupportParams, HeadKind, HeadParams
from facestore.records import Split

Float32Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What one head says. `mean` and `spread` are those of a number's train answers; 0 and 1 of classes."""

    name: str
    kind: HeadKind
    values: tuple[str, ...]
    weights: tuple[float, ...]  # of the values in the loss, mean 1 over train answers
    mean: float
    spread: float

    @property
    def width(self) -> int:
        """Outputs of this head."""
        return len(self.values) if self.kind == "classes" else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What people said of an item (a face, or a tracklet)."""

    item: str
    person: str
    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Heads that can be trained, the answers that count, and why the others do not."""

    heads: tuple[Head, ...]
    answers: tuple[Answer, ...]
    dropped: Counter[str]
    untrained: Mapping[str, str]  # head → reason


def choose_heads(
    answers: Sequence[Answer],
    split_of: Mapping[str, Split],
    wanted: Sequence[HeadParams],
    support: AttributeSupportParams,
    *,
    has_class_weights: bool,
) -> Chosen:
    """Values that too few train faces show are left out, and so are heads with too few answers or a single value.

    `split_of` maps people. Class weights are inverse square roots of frequency: whole inverses let one rare and wrong
    answer weigh as much as hundreds.
    """
    known = {head.name for head in wanted}
    dropped = Counter({"unlisted_attribute": sum(answer.name not in known for answer in answers)})
    heads: list[Head] = []
    kept: list[Answer] = []
    untrained: dict[str, str] = {}
    for head in wanted:
        said = sorted((one for one in answers if one.name == head.name), key=lambda one: one.item)
        readable = [one for one in said if _is_readable(one.value, head)]
        dropped["unlisted_value" if head.kind == "classes" else "no_number"] += len(said) - len(readable)
        counted = Counter(one.value for one in readable if split_of[one.person] == "train")
        if head.kind == "classes":
            values = tuple(value for value in head.values if counted[value] >= support.faces_per_value)
            enough = [one for one in readable if one.value in values]
            dropped["rare_value"] += len(readable) - len(enough)
            readable = enough
        else:
            values = ()
        train = [one.value for one in readable if split_of[one.person] == "train"]
        if len(train) < support.train_faces or len(set(train)) < 2:
            untrained[head.name] = "no_answers" if not said else "too_few_answers"
            dropped["too_few_answers"] += len(readable)
            continue
        heads.append(_head(head, values, train, has_class_weights))
        kept += readable
    return Chosen(heads=tuple(heads), answers=tuple(kept), dropped=+dropped, untrained=untrained)


def _is_readable(value: str, head: HeadParams) -> bool:
    return value in head.values if head.kind == "classes" else number_of(value) is not None


def number_of(value: str) -> float | None:
    """A finite number that somebody wrote, or None."""
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _head(head: HeadParams, values: tuple[str, ...], train: Sequence[str], has_class_weights: bool) -> Head:
    if head.kind == "number":
        numbers = np.array([number_of(value) for value in train], np.float64)
        return Head(
            name=head.name, kind="number", values=(), weights=(), mean=float(numbers.mean()),
            spread=max(float(numbers.std()), 1e-6),
        )  # fmt: skip
    shares = np.array([train.count(value) for value in values], np.float64) / len(train)
    weights = 1 / np.sqrt(shares) if has_class_weights else np.ones(len(values))
    weights /= float((shares * weights).sum())
    return Head(name=head.name, kind="classes", values=values, weights=tuple(weights.tolist()), mean=0.0, spread=1.0)


def columns_of(heads: Sequence[Head]) -> dict[str, slice]:
    """Where the columns of each head begin and end in a target matrix; its mask stands at `stop`."""
    found, start = {}, 0
    for head in heads:
        found[head.name] = slice(start, start + head.width)
        start += head.width + 1
    return found


def target_matrix(items: Sequence[str], answers: Sequence[Answer], heads: Sequence[Head]) -> Float32Array:
    """(items, columns of all heads and their masks) float32."""
    places, columns = {item: row for row, item in enumerate(items)}, columns_of(heads)
    matrix = np.zeros((len(items), sum(head.width + 1 for head in heads)), np.float32)
    by_name = {head.name: head for head in heads}
    for answer in answers:
        head, row = by_name[answer.name], places[answer.item]
        where = columns[answer.name]
        if head.kind == "classes":
            matrix[row, where.start + head.values.index(answer.value)] = 1
        else:
            matrix[row, where.start] = number_of(answer.value)
        matrix[row, where.stop] = 1
    return matrix
