"""The protocol of LFW: given pairs in folds, accuracy by the best threshold of the other folds.

Huang et al., "Labeled Faces in the Wild", 2007 ("unrestricted, labelled outside data": the model never saw the folds).
`pairs.txt`: a line `FOLDS PAIRS`, then for each fold PAIRS lines `NAME I J` and PAIRS lines `NAME I NAME J`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facestore.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenPair:
    """Two photos as PERSON/FILE."""

    fold: int
    first: str
    second: str
    is_genuine: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """Accuracy over folds. The standard error is over folds, as LFW reports it; one fold has none."""

    pairs: int
    folds: int
    accuracy: float
    standard_error: float | None
    thresholds: tuple[float, ...]  # cosine, by fold


def read_pairs(path: Path, photos: Sequence[str]) -> tuple[GivenPair, ...]:
    """The pairs of a file, over photos PERSON/FILE whose stem is PERSON_0001 as in LFW (the number as given, too).

    Raises DataError that names the line: not of 3 or 4 fields, a number that is none, a photo that is not there.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); give a pairs.txt") from error
    known = {name.rpartition(".")[0]: name for name in photos}
    folds, count = _header(path, lines)
    body = [(number, line) for number, line in enumerate(lines[1:], start=2) if line.strip()]
    if len(body) != folds * 2 * count:
        raise DataError(
            f"{path}: {len(body)} pairs, line 1 says {folds} × 2 × {count} = {folds * 2 * count}; mend the file"
        )
    pairs = []
    for place, (number, line) in enumerate(body):
        is_genuine = place % (2 * count) < count
        first, second = _pair(path, number, line, is_genuine)
        pair = tuple(_photo(path, number, known, name, index) for name, index in (first, second))
        pairs.append(GivenPair(fold=place // (2 * count), first=pair[0], second=pair[1], is_genuine=is_genuine))
    return tuple(pairs)


def accuracy_by_folds(
    similarities: NDArray[np.float32], is_genuine: NDArray[np.bool_], fold: NDArray[np.int64]
) -> Folded:
    """Accuracy of each fold at the threshold that is best on the others; all arrays (pairs,).

    One fold alone is judged by its own threshold, as LFW's development view. Raises DataError without a pair.
    """
    if not len(similarities) == len(is_genuine) == len(fold) or not len(fold):
        raise DataError("accuracy by folds needs pairs: similarity, truth and fold of each")
    names = np.unique(fold)
    accuracies, thresholds = [], []
    for name in names:
        is_tested = fold == name
        is_fitted = ~is_tested if len(names) > 1 else is_tested
        threshold = best_threshold(similarities[is_fitted], is_genuine[is_fitted])
        accuracies.append(float(np.mean((similarities[is_tested] >= threshold) == is_genuine[is_tested])))
        thresholds.append(threshold)
    error = float(np.std(accuracies, ddof=1) / np.sqrt(len(names))) if len(names) > 1 else None
    return Folded(
        pairs=len(fold),
        folds=len(names),
        accuracy=float(np.mean(accuracies)),
        standard_error=error,
        thresholds=tuple(thresholds),
    )


def best_threshold(similarities: NDArray[np.float32], is_genuine: NDArray[np.bool_]) -> float:
    """The similarity from which saying yes is right most often; of several, the middle one."""
    order = np.argsort(similarities, kind="stable")
    rising, truth = similarities[order].astype(np.float32), is_genuine[order]
    starts = np.flatnonzero(np.append(True, np.diff(rising) > 0))  # equal ones are accepted together
    rejected_before = np.concatenate([[0], np.cumsum(~truth)])[starts]
    accepted_from = (np.count_nonzero(truth) - np.concatenate([[0], np.cumsum(truth)]))[starts]
    right = np.append(rejected_before + accepted_from, np.count_nonzero(~truth))
    choices = np.append(rising[starts], np.nextafter(rising[-1], np.float32(np.inf)))
    best = np.flatnonzero(right == right.max())
    return float(choices[best[len(best) // 2]])


def _header(path: Path, lines: Sequence[str]) -> tuple[int, int]:
    fields = lines[0].split() if lines else []
    if not 1 <= len(fields) <= 2 or not all(field.isdecimal() and int(field) > 0 for field in fields):
        raise DataError(f"{path}, line 1: expected FOLDS PAIRS or PAIRS, found {' '.join(fields)!r}; mend the line")
    return (1, int(fields[0])) if len(fields) == 1 else (int(fields[0]), int(fields[1]))


def _pair(path: Path, number: int, line: str, is_genuine: bool) -> tuple[tuple[str, str], tuple[str, str]]:
    fields = line.rstrip("\n").split("\t") if "\t" in line else line.split()
    expected = 3 if is_genuine else 4
    if len(fields) != expected:
        raise DataError(
            f"{path}, line {number}: {len(fields)} fields, {'a genuine' if is_genuine else 'an impostor'} pair has "
            f"{expected}; mend the line"
        )
    if is_genuine:
        return (fields[0], fields[1]), (fields[0], fields[2])
    return (fields[0], fields[1]), (fields[2], fields[3])


def _photo(path: Path, number: int, known: dict[str, str], name: str, index: str) -> str:
    if not index.isdecimal():
        raise DataError(f"{path}, line {number}: {index!r} is not the number of a photo; mend the line")
    for stem in (f"{name}/{name}_{int(index):04d}", f"{name}/{name}_{index}"):
        if stem in known:
            return known[stem]
    raise DataError(f"{path}, line {number}: photo {index} of this person is not in the gold set; mend line or folder")
