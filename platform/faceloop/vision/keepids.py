"""Face ids that survive a new detector: a face at the same footage and time keeps the id of the box it overlaps."""

from collections import defaultdict
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceloop.boxes import pairwise_iou
from faceloop.vision.arrays import Float32Array
from facestore.ids import face_id
from facestore.records import Face
from facestore.tables import column_matrix, read_columns

KEEP_IOU = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierFaces:
    """Ids and boxes of an earlier run, by footage and time."""

    by_moment: dict[tuple[str, int], list[tuple[str, Float32Array]]]

    def ids_of(self, footage_id: str, pts_ms: int, boxes_px: Float32Array, detector_sha256: str) -> list[str]:
        """The id of each box (n, 4): an earlier one where IoU ≥ 0.5, one to one, else a new one."""
        ids = [face_id(footage_id, pts_ms, detector_sha256, box) for box in boxes_px.tolist()]
        earlier = self.by_moment.get((footage_id, pts_ms))
        if earlier:
            from scipy.optimize import linear_sum_assignment  # late: a third of a second

            overlap = pairwise_iou(boxes_px, np.stack([box for _, box in earlier]))
            overlap[overlap < KEEP_IOU] = 0.0  # a sum of weak overlaps must not outweigh a strong one
            for row, column in zip(*linear_sum_assignment(-overlap), strict=True):
                if overlap[row, column] > 0.0:
                    ids[row] = earlier[column][0]
        return ids


def read_earlier_faces(faces_dir: Path | None, footage_ids: Set[str]) -> EarlierFaces:
    """The faces of these footages in an artifact that was published before; empty without one."""
    by_moment: dict[tuple[str, int], list[tuple[str, Float32Array]]] = defaultdict(list)
    if faces_dir is not None:
        table = read_columns(faces_dir, "faces", Face, ("face_id", "footage_id", "pts_ms", "bbox"))
        table = table.filter(pc.is_in(table["footage_id"], value_set=_strings(footage_ids)))
        boxes = column_matrix(table, "bbox")
        for row, (name, footage_id, pts_ms) in enumerate(
            zip(*(table[column].to_pylist() for column in ("face_id", "footage_id", "pts_ms")), strict=True)
        ):
            by_moment[footage_id, pts_ms].append((name, boxes[row]))
    return EarlierFaces(by_moment=dict(by_moment))


def _strings(values: Set[str]) -> pa.Array:
    return pa.array(sorted(values), type=pa.string())
