"""holes: cells of a release that hold too little, each as a request for mining, or as what must be recorded."""

import re
from dataclasses import dataclass

from faceloop.evaluation.coverage import CoverageMatrix, Pattern, cells_of, spell
from faceloop.evaluation.coverage_params import SPLIT_AXIS, CoverageParams, MeasuredAxis
from facestore.ids import JsonValue

_FILTERS = {"yaw": ("yaw_deg", 90.0), "quality": ("quality", 1.0), "size_px": ("size_px", 100_000.0)}
_LONGEST_NAME = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """A cell below its floor. Mining can list faces that the catalogue has; only people can record new ones."""

    where: Pattern
    samples: int
    identities: int
    missing_samples: int
    missing_identities: int
    request: dict[str, JsonValue] | None  # for `faceloop mine`; None where its filters cannot say this cell
    need: str  # the same as a sentence to people who record or annotate


def holes(matrix: CoverageMatrix, params: CoverageParams) -> tuple[Hole, ...]:
    """Cells below any floor, those that lack the most people first; one a cell, with the highest of its floors."""
    least: dict[Pattern, tuple[int, int]] = {}
    for floor in params.floors:
        for cell in cells_of(floor, matrix):
            samples, identities = least.get(cell, (0, 0))
            least[cell] = max(samples, floor.least_samples), max(identities, floor.least_identities)
    found = []
    for cell, (samples, identities) in least.items():
        here = matrix.count(dict(cell))
        missing = max(samples - here.samples, 0), max(identities - here.identities, 0)
        if any(missing):
            found.append(
                Hole(
                    where=cell,
                    samples=here.samples,
                    identities=here.identities,
                    missing_samples=missing[0],
                    missing_identities=missing[1],
                    request=_request(cell, params, missing),
                    need=_need(cell, params, missing),
                )
            )
    return tuple(sorted(found, key=lambda hole: (-hole.missing_identities, -hole.missing_samples, hole.where)))


def _request(cell: Pattern, params: CoverageParams, missing: tuple[int, int]) -> dict[str, JsonValue] | None:
    """A request whose filters are this cell; a split is nobody's filter, for an identity's split is fixed by its id."""
    filters: dict[str, JsonValue] = {}
    for name, band in cell:
        if name == SPLIT_AXIS:
            continue
        axis = params.measured.get(name)
        # Mining takes a yaw without its side: a band of one side only is not the same faces.
        is_sided = axis is not None and axis.column == "yaw" and not axis.is_absolute
        if axis is None or band not in axis.bands() or axis.column not in _FILTERS or is_sided:
            return None
        key, highest = _FILTERS[axis.column]
        if key in filters:
            return None
        low, high = axis.span(band)
        filters[key] = [max(low or 0.0, 0.0), min(high if high is not None else highest, highest)]
    if not filters:
        return None
    slug = re.sub(r"[^a-z0-9]+", "-", f"coverage-{spell(cell)}".lower()).strip("-")[:_LONGEST_NAME].strip("-")
    pairs = max(missing)
    return {
        "name": slug,
        "purpose": f"Coverage hole: {spell(cell)}; {missing[0]} samples and {missing[1]} identities are missing.",
        "hard_positives": pairs,
        "hard_negatives": pairs,
        "ends": "either",
        "ask": True,
        **filters,
    }


def _need(cell: Pattern, params: CoverageParams, missing: tuple[int, int]) -> str:
    wanted = []
    if missing[0]:
        wanted.append(f"{missing[0]} more samples")
    if missing[1]:
        wanted.append(f"{missing[1]} more people")
    return f"{' and '.join(wanted)} with {'; '.join(_words(name, band, params) for name, band in cell)}"


def _words(name: str, band: str, params: CoverageParams) -> str:
    if name == SPLIT_AXIS:
        return f"an identity in the {band} split"
    axis: MeasuredAxis | None = params.measured.get(name)
    if axis is None or band not in axis.bands():
        return f"{name} {band}"
    low, high = axis.span(band)
    side = ", either side" if axis.is_absolute else ""
    if low is None:
        return f"{axis.column} below {high:g}{side}"
    return f"{axis.column} from {low:g}{f' to {high:g}' if high is not None else ' up'}{side}"
