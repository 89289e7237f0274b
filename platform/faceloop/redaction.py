"""Faces that are not to be used are made unrecognisable in whatever people are shown, also beside somebody else's face.

Nothing of a covered face can be won back: each of a few blocks becomes one colour, its mean.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from faceloop.consent_gate import ConsentParams, basis_for
from faceloop.params import section
from faceloop.runner import Workspace
from facestore.decisions import Decision
from facestore.images import UInt8Array
from facestore.publish import read_manifest
from facestore.records import Face
from facestore.tables import read_columns

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 px
_BLOCKS = 3  # on a side: 27 numbers are left of a face
_MARGIN = 0.25  # of the box's sides: hair and chin belong to a likeness
_LOOKS_OUT = 1.1  # half a context crop's side in longer sides of its box, as detect cuts it


@dataclass(frozen=True, slots=True, kw_only=True)
class Covers:
    """Boxes to cover, by footage and time, and where each face's context crop lies in its frame."""

    boxes: Mapping[tuple[str, int], tuple[Box, ...]] = field(default_factory=dict)
    crops: Mapping[str, tuple[str, int, Box]] = field(default_factory=dict)  # faces whose crop shows a box

    def of_crop(self, face_id: str, side_px: int) -> list[Box]:
        """What to cover in the context crop of a face, px of the crop."""
        if face_id not in self.crops:
            return []
        footage_id, pts_ms, (x1, y1, x2, y2) = self.crops[face_id]
        half = max(_LOOKS_OUT * max(x2 - x1, y2 - y1), 4.0)
        left, top, scale = (x1 + x2) / 2 - half, (y1 + y2) / 2 - half, side_px / (2 * half)
        return [
            ((a - left) * scale, (b - top) * scale, (c - left) * scale, (d - top) * scale)
            for a, b, c, d in self.boxes[footage_id, pts_ms]
        ]

    def of_frame(self, footage_id: str, pts_ms: int, tolerance_ms: int) -> list[Box]:
        """What to cover in a frame of footage, px of the displayed frame: whatever was seen within the tolerance."""
        return [
            box
            for (footage, seen_ms), boxes in sorted(self.boxes.items())
            if footage == footage_id and abs(seen_ms - pts_ms) <= tolerance_ms
            for box in boxes
        ]


def covered(image: UInt8Array, boxes: Iterable[Box]) -> UInt8Array:
    """A copy of an image (h, w, 3) with these boxes, widened, made unrecognisable."""
    shown = image.copy()
    height, width = shown.shape[:2]
    for x1, y1, x2, y2 in boxes:
        wide, high = _MARGIN * (x2 - x1), _MARGIN * (y2 - y1)
        columns = _edges(x1 - wide, x2 + wide, width)
        rows = _edges(y1 - high, y2 + high, height)
        for top, bottom in pairwise(rows):
            for left, right in pairwise(columns):
                if top < bottom and left < right:
                    block = image[top:bottom, left:right].reshape(-1, 3)
                    shown[top:bottom, left:right] = np.rint(block.mean(axis=0)).astype(np.uint8)
    return shown


def covers_of(work: Workspace) -> Covers:
    """What must not be shown now: faces that people set aside, and those whose footage is withheld from annotation."""
    if read_manifest(work.path("faces")) is None:
        return Covers()
    consent = section(work.tree, "consent", ConsentParams)
    withheld = basis_for("select", work.path, work.ledger_url(), consent).withheld.of("annotation")
    set_aside: set[str] = set()
    if read_manifest(work.path("decisions")) is not None:
        said = read_columns(work.path("decisions"), "effective", Decision, ("verb", "face_id")).to_pylist()
        set_aside = {row["face_id"] for row in said if row["verb"] == "ignore"}
    if not withheld and not set_aside:
        return Covers()
    table = read_columns(work.path("faces"), "faces", Face, ("face_id", "footage_id", "pts_ms", "bbox"))
    boxes: dict[tuple[str, int], list[Box]] = defaultdict(list)
    rows = table.to_pylist()
    for row in rows:
        if row["face_id"] in set_aside or row["footage_id"] in withheld:
            boxes[row["footage_id"], row["pts_ms"]].append(_box(row["bbox"]))
    return Covers(
        boxes={moment: tuple(sorted(some)) for moment, some in boxes.items()},
        crops={
            row["face_id"]: (row["footage_id"], row["pts_ms"], _box(row["bbox"]))
            for row in rows
            if (row["footage_id"], row["pts_ms"]) in boxes
        },
    )


def _box(values: Iterable[float]) -> Box:
    x1, y1, x2, y2 = values
    return x1, y1, x2, y2


def _edges(low: float, high: float, most: int) -> list[int]:
    return [int(edge) for edge in np.clip(np.rint(np.linspace(low, high, _BLOCKS + 1)), 0, most)]
