"""coverage_of: how many samples, and of how many people, a release holds of each kind of picture.

A model is only as fair and as robust as what it has seen and was tested on (Buolamwini and Gebru, "Gender Shades",
2018). Samples alone mislead: a thousand crops of one person in the dark teach and prove little, so people are counted
beside them. What nobody measured or said is a band of its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from faceloop.evaluation.coverage_params import (
    EVERY,
    SPLIT_AXIS,
    SPLITS,
    UNKNOWN,
    UNLISTED,
    CoverageFloor,
    CoverageParams,
    MeasuredAxis,
    SpokenAxis,
)
from facestore.errors import DataError

Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Pattern = tuple[tuple[str, str], ...]  # (axis, band), in the order of the axes


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A property of a picture and the bands it falls into, `unknown` last."""

    name: str
    bands: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What a cell holds."""

    samples: int
    identities: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CoverageMatrix:
    """Every sample's band on every axis; cells of any pattern are counted from it."""

    axes: tuple[Axis, ...]  # a
    codes: Int64Array  # (n, a) place of the band
    identity: Int64Array  # (n,) 0..i-1
    unmeasured: int  # samples whose face is not in the faces table

    @property
    def total(self) -> Count:
        """Of the whole release."""
        return self._count(np.ones(len(self.identity), np.bool_))

    def axis(self, name: str) -> Axis:
        """Raises DataError for an axis that is not there."""
        return self.axes[self._place(name)]

    def count(self, where: Mapping[str, str]) -> Count:
        """Samples and people in the cell that these bands share. Raises DataError for an unknown axis or band."""
        is_in = np.ones(len(self.identity), np.bool_)
        for name, band in where.items():
            place = self._place(name)
            if band not in self.axes[place].bands:
                raise DataError(f"axis {name} has no band {band!r}; it has {', '.join(self.axes[place].bands)}")
            is_in &= self.codes[:, place] == self.axes[place].bands.index(band)
        return self._count(is_in)

    def _count(self, is_in: BoolArray) -> Count:
        return Count(samples=int(is_in.sum()), identities=len(np.unique(self.identity[is_in])))

    def _place(self, name: str) -> int:
        for place, axis in enumerate(self.axes):
            if axis.name == name:
                return place
        raise DataError(f"no axis {name!r}; axes are {', '.join(axis.name for axis in self.axes)}")


def coverage_of(samples: pa.Table, faces: pa.Table, attributes: pa.Table, params: CoverageParams) -> CoverageMatrix:
    """The matrix of a release, for any order of rows; linear in them.

    `samples` has split, face_id, identity_id; `faces` face_id and the columns that params name; `attributes` face_id,
    name, value, as `identify` publishes them. A sample without a row, or with a value that is not finite, is unknown
    there. Raises DataError for a split that is none, a face with two rows, or an attribute with two values on one face.
    """
    face_ids = samples["face_id"].combine_chunks()
    _, identity = np.unique(np.array(samples["identity_id"].to_pylist(), np.str_), return_inverse=True)
    rows = _rows_of(face_ids, faces["face_id"].combine_chunks(), "faces")
    columns = [_split_codes(samples["split"])]
    columns += [_measured_codes(faces, rows, axis) for axis in params.measured.values()]
    columns += [_spoken_codes(attributes, face_ids, axis) for axis in params.spoken.values()]
    return CoverageMatrix(
        axes=tuple(Axis(name=name, bands=bands) for name, bands in params.bands().items()),
        codes=np.stack(columns, axis=1).astype(np.int64),
        identity=identity.astype(np.int64),
        unmeasured=int(np.count_nonzero(rows < 0)),
    )


def cells_of(floor: CoverageFloor, matrix: CoverageMatrix) -> Iterator[Pattern]:
    """The cells that a floor speaks of, in the order of the bands."""
    names = [axis.name for axis in matrix.axes if axis.name in floor.where]
    choices = [
        [band for band in matrix.axis(name).bands if band not in (UNKNOWN, UNLISTED)]
        if floor.where[name] == EVERY
        else [floor.where[name]]
        for name in names
    ]
    for bands in product(*choices):
        yield tuple(zip(names, bands, strict=True))


def failed_floors(matrix: CoverageMatrix, floors: list[CoverageFloor]) -> list[str]:
    """Each failed floor with value and floor, as the gate of a promotion says it; empty where coverage suffices."""
    failed = []
    for floor in floors:
        for cell in cells_of(floor, matrix):
            found = matrix.count(dict(cell))
            spelled = spell(cell)
            if found.samples < floor.least_samples:
                failed.append(f"coverage of {spelled}: samples {found.samples}, floor {floor.least_samples}")
            if found.identities < floor.least_identities:
                failed.append(f"coverage of {spelled}: identities {found.identities}, floor {floor.least_identities}")
    return list(dict.fromkeys(failed))


def spell(cell: Pattern) -> str:
    """`yaw 30_to_60, light 0.2_to_0.35`."""
    return ", ".join(f"{axis} {band}" for axis, band in cell)


def coverage_table(matrix: CoverageMatrix) -> pa.Table:
    """Every band of every axis, then every pair of bands of two axes, empty ones too.

    Columns: first_axis, first_band, second_axis, second_band (null for a band alone), samples, identities.
    """
    rows = []
    for number, axis in enumerate(matrix.axes):
        counts = _grid(matrix, number, None)
        rows += [(axis.name, band, None, None, *counts[place, 0]) for place, band in enumerate(axis.bands)]
    for first, second in combinations(range(len(matrix.axes)), 2):
        one, other, counts = matrix.axes[first], matrix.axes[second], _grid(matrix, first, second)
        for (row, band), (column, beside) in product(enumerate(one.bands), enumerate(other.bands)):
            rows.append((one.name, band, other.name, beside, *counts[row, column]))
    names = ("first_axis", "first_band", "second_axis", "second_band", "samples", "identities")
    kinds = (pa.string(), pa.string(), pa.string(), pa.string(), pa.int64(), pa.int64())
    columns = [pa.array([row[place] for row in rows], kind) for place, kind in enumerate(kinds)]
    return pa.table(columns, names=list(names))


def grid_of(matrix: CoverageMatrix, rows: str, columns: str) -> Int64Array:
    """(bands of rows, bands of columns, 2): samples and identities of each pair of bands."""
    names = [axis.name for axis in matrix.axes]
    return _grid(matrix, names.index(rows), names.index(columns))


def _grid(matrix: CoverageMatrix, first: int, second: int | None) -> Int64Array:
    across = len(matrix.axes[second].bands) if second is not None else 1
    size = len(matrix.axes[first].bands) * across
    cell = matrix.codes[:, first] * across + (matrix.codes[:, second] if second is not None else 0)
    people = int(matrix.identity.max(initial=-1)) + 1
    seen = np.unique(cell * max(people, 1) + matrix.identity) // max(people, 1)
    counts = np.stack([np.bincount(cell, minlength=size), np.bincount(seen, minlength=size)], axis=-1)
    return counts.reshape(-1, across, 2).astype(np.int64)


def _rows_of(wanted: pa.Array, known: pa.Array, table: str) -> Int64Array:
    if pc.count_distinct(known).as_py() < len(known):
        raise DataError(f"a face has two rows among {table}; publish that table again")
    found: Int64Array = pc.fill_null(pc.index_in(wanted, value_set=known), -1).to_numpy(zero_copy_only=False)
    return found.astype(np.int64)


def _split_codes(column: pa.ChunkedArray) -> Int64Array:
    place = pc.fill_null(pc.index_in(column, value_set=pa.array(SPLITS)), -1)
    found: Int64Array = np.asarray(place.to_numpy(), np.int64)
    if (found < 0).any():
        raise DataError(f"a sample is in no {SPLIT_AXIS} of {', '.join(SPLITS)}; run pack again")
    return found


def _measured_codes(faces: pa.Table, rows: Int64Array, axis: MeasuredAxis) -> Int64Array:
    values = np.full(len(rows), np.nan)
    is_known = rows >= 0
    values[is_known] = faces[axis.column].to_numpy().astype(np.float64)[rows[is_known]]
    values = np.abs(values) if axis.is_absolute else values
    # Columns are float32: an edge such as 0.35 is compared as one.
    codes = np.searchsorted(np.array(axis.edges, np.float32), values.astype(np.float32), side="right")
    return np.where(np.isfinite(values), codes, len(axis.edges) + 1).astype(np.int64)


def _spoken_codes(attributes: pa.Table, face_ids: pa.Array, axis: SpokenAxis) -> Int64Array:
    said = attributes.filter(pc.equal(attributes["name"], axis.attribute))
    rows = _rows_of(face_ids, said["face_id"].combine_chunks(), f"attributes {axis.attribute!r}")
    place = pc.fill_null(pc.index_in(said["value"], value_set=pa.array(axis.values)), len(axis.values))
    codes = np.append(place.to_numpy().astype(np.int64), len(axis.values) + 1)  # row -1: nobody said
    return np.asarray(codes[rows], np.int64)
