"""Evaluation errors: gold that the candidate got wrong shows what it cannot do; faces like it are what to train on.

Gold itself is never listed. Like it means: nearest by the labelling model, of about the same angle and quality.
"""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from faceloop.clustering.knn import SearchParams, nearest
from faceloop.mining.quarry import Quarry
from facestore.errors import DataError

BoolArray = NDArray[np.bool_]
_LOOKED_AT, _LIKE = 64, 8  # nearest faces of each error, and how many of those of its angle and quality
_YAW_DEG, _QUALITY = 15.0, 0.2
_GOLD, _MODEL = "release", "candidate"
_FAR_ROUNDING = 1e-5  # tables hold single precision


def error_faces(evaluation: Path, far: float) -> tuple[str, ...]:
    """Gold faces of listed pairs on the wrong side of the candidate's threshold at `far`; of all listed pairs, which
    are its worst, where the evaluation refused that threshold. Raises DataError for tables that cannot be read."""
    rates = _table(evaluation, "verification", ["gold", "model", "far", "threshold"]).to_pylist()
    thresholds = [
        row["threshold"]
        for row in rates
        if (row["gold"], row["model"]) == (_GOLD, _MODEL) and math.isclose(row["far"], far, rel_tol=_FAR_ROUNDING)
    ]
    threshold = thresholds[0] if thresholds else None
    found = set[str]()
    columns = ["gold", "model", "kind", "first_face_id", "second_face_id", "similarity"]
    for row in _table(evaluation, "worst_pairs", columns).to_pylist():
        if (row["gold"], row["model"]) != (_GOLD, _MODEL):
            continue
        is_accepted = threshold is not None and row["similarity"] >= threshold
        if threshold is None or is_accepted == (row["kind"] == "impostor"):
            found |= {row["first_face_id"], row["second_face_id"]}
    return tuple(sorted(found))


def like_errors(
    quarry: Quarry, errors: tuple[str, ...], is_barred: BoolArray, search: SearchParams, left_out: Counter[str]
) -> BoolArray:
    """(n,) faces that are like one of the `errors` and not barred."""
    row_of = {face.face_id: row for row, face in enumerate(quarry.faces)}
    asked = np.array([row_of[face_id] for face_id in errors if face_id in row_of], np.int64)
    left_out["errors_without_label"] += len(errors) - len(asked)
    free = np.flatnonzero(~is_barred)
    yaw = np.array([abs(face.yaw) for face in quarry.faces])
    quality = np.array([face.quality for face in quarry.faces])
    is_like = np.zeros(len(quarry.faces), np.bool_)
    near = nearest(quarry.vectors[asked], quarry.vectors[free], _LOOKED_AT, search).index
    for row, places in zip(asked.tolist(), near, strict=True):
        others = free[places[places >= 0]]
        alike = (np.abs(yaw[others] - yaw[row]) <= _YAW_DEG) & (np.abs(quality[others] - quality[row]) <= _QUALITY)
        is_like[others[alike][:_LIKE]] = True
    return is_like


def _table(evaluation: Path, name: str, columns: list[str]) -> pa.Table:
    path = evaluation / "tables" / f"{name}.parquet"
    try:
        return pq.read_table(path, columns=columns, partitioning=None)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); run evaluate again") from error
