"""Counts in bins: what the report draws and what the plots draw are the same numbers."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faceloop.clustering.knn import SearchParams, row_dots
from faceloop.reports.grouping import group
from faceloop.reports.material import Measures, Tracklets

Float32Array = npt.NDArray[np.float32]
_SIZE_EDGES_PX = (0, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
_NEIGHBOURS = 10  # pairs drawn for each tracklet, so that the cost grows with tracklets, not with their square


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    name: str
    counts: tuple[int, ...]  # one a bin


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """`series` share the bins; bin i is [edges[i], edges[i + 1]), the last one closed and holding all above."""

    title: str
    unit: str
    edges: tuple[float, ...]
    series: tuple[Series, ...]

    def tallest(self, *, stacked: bool) -> int:
        """Height of the highest bin, at least 1."""
        columns = list(zip(*(series.counts for series in self.series), strict=True))
        heights: list[int] = [sum(column) if stacked else max(column) for column in columns]
        return max([1, *heights])

    def total(self) -> int:
        return sum(sum(series.counts) for series in self.series)


def quality_histogram(measures: Measures) -> Histogram:
    edges = tuple(round(step / 20, 2) for step in range(21))
    return _kept_and_rejected("Face quality", "quality, 0 to 1", edges, measures.quality, measures.is_kept)


def size_histogram(measures: Measures) -> Histogram:
    edges = tuple(float(edge) for edge in _SIZE_EDGES_PX)
    return _kept_and_rejected("Face size", "√(width × height), px", edges, measures.size_px, measures.is_kept)


def genuine_impostor_histogram(tracklets: Tracklets, people: Mapping[str, str]) -> Histogram:
    """Similarity of tracklets of one person and of two; `people` maps tracklet_id to the true person."""
    by_person: dict[str, list[int]] = defaultdict(list)
    for row, tracklet in enumerate(tracklets.ids):
        if tracklet in people:
            by_person[people[tracklet]].append(row)
    genuine = [pair for rows in by_person.values() for pair in _near_pairs(rows)]
    ordered = [row for person in sorted(by_person) for row in by_person[person]]
    impostor = [
        (ordered[place], ordered[(place + step) % len(ordered)])
        for step in _spread(len(ordered))
        for place in range(len(ordered))
        if people[tracklets.ids[ordered[place]]] != people[tracklets.ids[ordered[(place + step) % len(ordered)]]]
    ]
    pairs = {"same person": _dots(tracklets, genuine), "two people": _dots(tracklets, impostor)}
    return _similarities("Similarity by truth", pairs)


def own_rival_histogram(tracklets: Tracklets, search: SearchParams) -> Histogram:
    """Similarity of each tracklet to the rest of its cluster and to the nearest other one."""
    grouping = group(tracklets)
    if grouping is None:
        return _similarities("Similarity", {})
    own, rival = grouping.own_similarity(), grouping.rival_similarity(search)
    return _similarities(
        "Similarity to clusters", {"its own cluster": own[~np.isnan(own)], "the nearest other": rival[~np.isnan(rival)]}
    )


def _kept_and_rejected(
    title: str, unit: str, edges: tuple[float, ...], values: Float32Array, is_kept: npt.NDArray[np.bool_]
) -> Histogram:
    return Histogram(
        title=title,
        unit=unit,
        edges=edges,
        series=(
            Series(name="accepted", counts=_counts(values[is_kept], edges)),
            Series(name="rejected", counts=_counts(values[~is_kept], edges)),
        ),
    )


def _similarities(title: str, parts: Mapping[str, Float32Array]) -> Histogram:
    edges = tuple(round(-0.2 + step * 0.05, 2) for step in range(25))
    series = tuple(Series(name=name, counts=_counts(values, edges)) for name, values in parts.items())
    return Histogram(title=title, unit="cosine similarity", edges=edges, series=series)


def _counts(values: Float32Array, edges: Sequence[float]) -> tuple[int, ...]:
    inside = np.clip(values[np.isfinite(values)], edges[0], edges[-1])
    return tuple(int(count) for count in np.histogram(inside, bins=np.asarray(edges))[0])


def _near_pairs(rows: Sequence[int]) -> list[tuple[int, int]]:
    return [(row, other) for place, row in enumerate(rows) for other in rows[place + 1 : place + 1 + _NEIGHBOURS]]


def _spread(count: int) -> list[int]:
    steps = {max(1, count * part // (2 * _NEIGHBOURS)) for part in range(1, _NEIGHBOURS + 1)}
    return sorted(steps) if count > 1 else []


def _dots(tracklets: Tracklets, pairs: list[tuple[int, int]]) -> Float32Array:
    rows = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return row_dots(tracklets.vectors, rows[:, 0], tracklets.vectors, rows[:, 1])
