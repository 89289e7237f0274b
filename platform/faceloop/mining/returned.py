"""Feedback: faces that production sent back, once they have a label. What was hard there is hard.

An open claim against the label is left out: it is not known which of the two is wrong. `feedback ask` asks about it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from faceloop.boxes import pairwise_iou
from faceloop.mining.quarry import Quarry
from facestore.records import Face
from facestore.tables import read_columns, read_older, table_files

_SAME_FACE_IOU = 0.3  # of the box that production saw and the one found here
_HARD = ("low_score", "stranger", "corrected", "disputed")  # spot checks are drawn, not hard
_COLUMNS = (
    "event_id", "footage_id", "reason", "x1_px", "y1_px", "x2_px", "y2_px", "claim", "claimed_identity_id",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnedFace:
    """One recognition that came back, and what a person there claimed of it."""

    event_id: str
    footage_id: str
    reason: str
    box_px: tuple[float, float, float, float] | None
    claim: str | None  # is, is_not, unknown_person
    claimed_identity_id: str | None


def read_returned(feedback: Path) -> tuple[ReturnedFace, ...]:
    """All that came back, by event. Raises DataError for a take that cannot be read."""
    found = []
    for take in sorted({path.parent for path in table_files(feedback, "events")}):
        if take.name.startswith("."):
            continue  # of a take that was cut short
        for row in read_older(take, "events", _COLUMNS).to_pylist():
            sides = [row.pop(name) for name in ("x1_px", "y1_px", "x2_px", "y2_px")]
            box = None if None in sides else (sides[0], sides[1], sides[2], sides[3])
            found.append(ReturnedFace(box_px=box, **row))
    return tuple(sorted(found, key=lambda one: one.event_id))


def returned_faces(
    quarry: Quarry, events: Iterable[ReturnedFace], faces: Path, left_out: Counter[str]
) -> NDArray[np.bool_]:
    """(n,) faces that production found hard and whose label nobody there disputes any more."""
    hard = [event for event in events if event.reason in _HARD]
    places = pa.array(sorted({event.footage_id for event in hard}), pa.string())
    table = read_columns(faces, "faces", Face, ("face_id", "footage_id", "bbox"))
    seen: dict[str, list[tuple[str, list[float]]]] = defaultdict(list)
    for row in table.filter(pc.is_in(table["footage_id"], value_set=places)).to_pylist():
        seen[row["footage_id"]].append((row["face_id"], row["bbox"]))
    row_of = {face.face_id: row for row, face in enumerate(quarry.faces)}
    is_back = np.zeros(len(quarry.faces), np.bool_)
    is_open = np.zeros(len(quarry.faces), np.bool_)
    for event in hard:
        face_id = _meant(event, seen[event.footage_id])
        if face_id not in row_of:
            left_out["feedback_without_label"] += 1
            continue
        row = row_of[face_id]
        is_back[row] = True
        is_open[row] |= _contradicts(event, quarry.faces[row].identity_id) and face_id not in quarry.word.tie_of
    left_out["feedback_claim_open"] += int(is_open.sum())
    return is_back & ~is_open


def _meant(event: ReturnedFace, faces: list[tuple[str, list[float]]]) -> str:
    """The face of the picture that an event means; empty where that cannot be told."""
    if event.box_px is None:
        return faces[0][0] if len(faces) == 1 else ""
    if not faces:
        return ""
    overlap = pairwise_iou([event.box_px], [box for _, box in faces])[0]
    best = int(np.argmax(overlap))
    return faces[best][0] if overlap[best] >= _SAME_FACE_IOU else ""


def _contradicts(event: ReturnedFace, identity_id: str) -> bool:
    match event.claim:
        case "is":
            return event.claimed_identity_id != identity_id
        case "is_not":
            return event.claimed_identity_id == identity_id
        case "unknown_person":
            return True
        case _:
            return False
