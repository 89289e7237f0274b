"""Who is where in footage: the truth file, its reader and the one question that scoring asks of it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from faceloop.boxes import pairwise_iou
from facestore.errors import DataError

TRUTH_NAME = "truth.json"
MADE_BY = "faceloop sample-footage"
TRUTH_VERSION = 1
NEAREST_MS = 250.0

Kind = Literal["video", "image"]
Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in displayed (rotation-applied) pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceBox:
    """One face box at one time; `pts_ms` counts from the clip's first frame and is 0 for a photo."""

    pts_ms: float
    box: Box


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """One unbroken stay of a person in view, `boxes` in time order about every 200 ms, ends included.

    `hard` marks a passage that is blurred, low in resolution, dark or cut by the frame's edge: a face that
    is not found there is no fault.
    """

    start_ms: float
    end_ms: float
    hard: bool
    boxes: tuple[FaceBox, ...]

    def box_at(self, pts_ms: float) -> Box:
        """Box at `pts_ms`, linear between its neighbours and held still before the first and after the last."""
        later = next((i for i, known in enumerate(self.boxes) if known.pts_ms >= pts_ms), len(self.boxes))
        if later == 0:
            return self.boxes[0].box
        if later == len(self.boxes):
            return self.boxes[-1].box
        before, after = self.boxes[later - 1], self.boxes[later]
        share = (pts_ms - before.pts_ms) / (after.pts_ms - before.pts_ms)
        x1, y1, x2, y2 = (a + (b - a) * share if a != b else a for a, b in zip(before.box, after.box, strict=True))
        return x1, y1, x2, y2

    def gap_ms(self, pts_ms: float) -> float:
        """Time from `pts_ms` to the nearest moment of this stay, 0 inside it."""
        return max(self.start_ms - pts_ms, pts_ms - self.end_ms, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonTruth:
    """All stays of one person in one file, in time order."""

    person: str
    appearances: tuple[Appearance, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTruth:
    """One readable file; `path` is POSIX, relative to the footage folder."""

    path: str
    kind: Kind
    people: tuple[PersonTruth, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BadFile:
    """A file that must be quarantined, with the reason code expected for it."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Everything known about a footage folder; `duplicates` are pairs of paths with the same bytes."""

    seed: int
    files: tuple[FileTruth, ...]
    bad: tuple[BadFile, ...]
    empty: tuple[str, ...]
    duplicates: tuple[tuple[str, str], ...]

    def people(self) -> tuple[str, ...]:
        """Every person of the folder, sorted."""
        return tuple(sorted({found.person for file in self.files for found in file.people}))

    def file(self, path: str) -> FileTruth | None:
        """Truth of one file, or None where nothing is known about it."""
        return next((file for file in self.files if file.path == path), None)

    def person_at(self, path: str, pts_ms: float, box_xyxy: Box, min_iou: float = 0.3) -> str | None:
        """Person whose face is at this place and time, or None.

        A stay counts within 250 ms of its ends. A stay that covers `pts_ms` wins over one that merely
        is near (right after a cut another person may stand at the same place), then the higher overlap.
        """
        best: tuple[float, float, str] | None = None
        for person, stay in self._stays(path):
            gap = stay.gap_ms(pts_ms)
            overlap = iou(stay.box_at(pts_ms), box_xyxy)
            if gap > NEAREST_MS or overlap < min_iou or overlap == 0:
                continue
            rank = (gap, -overlap, person)
            best = rank if best is None else min(best, rank)
        return None if best is None else best[2]

    def _stays(self, path: str) -> Iterator[tuple[str, Appearance]]:
        file = self.file(path)
        for found in file.people if file is not None else ():
            for stay in found.appearances:
                yield found.person, stay


def iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]; 0 where either has no area."""
    return float(pairwise_iou(first, second)[0, 0])


def dump_truth(truth: Truth) -> str:
    """Truth as JSON text, one line a stay, the same bytes for the same truth."""
    files = [
        {"path": file.path, "kind": file.kind, "people": [_person_json(found) for found in file.people]}
        for file in truth.files
    ]
    head = {
        "made_by": MADE_BY,
        "version": TRUTH_VERSION,
        "seed": truth.seed,
        "bad": {bad.path: bad.reason for bad in truth.bad},
        "empty": list(truth.empty),
        "duplicates": [list(pair) for pair in truth.duplicates],
    }
    lines = ",\n".join("  " + json.dumps(file, ensure_ascii=False) for file in files)
    return json.dumps(head, ensure_ascii=False)[:-1] + ', "files": [\n' + lines + "\n]}\n"


def load_truth(path: Path) -> Truth:
    """Read a truth file; raises DataError that names the file and what is wrong with it."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return Truth(
            seed=int(raw.get("seed", 0)),
            files=tuple(_file(entry) for entry in raw["files"]),
            bad=tuple(BadFile(path=name, reason=reason) for name, reason in raw.get("bad", {}).items()),
            empty=tuple(raw.get("empty", ())),
            duplicates=tuple((first, second) for first, second in raw.get("duplicates", ())),
        )
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give the path of a truth file") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: not a truth file ({type(error).__name__}: {error}); make it with sample-footage"
        ) from error


def is_sample_truth(path: Path) -> bool:
    """Whether `path` is a truth file that sample-footage wrote."""
    try:
        return path.read_text(encoding="utf-8").startswith(json.dumps({"made_by": MADE_BY})[:-1])
    except (OSError, UnicodeDecodeError):
        return False


def _person_json(found: PersonTruth) -> dict[str, Any]:
    return {
        "person": found.person,
        "appearances": [
            {
                "start_ms": stay.start_ms,
                "end_ms": stay.end_ms,
                "hard": stay.hard,
                "boxes": [[known.pts_ms, *known.box] for known in stay.boxes],
            }
            for stay in found.appearances
        ],
    }


def _file(entry: dict[str, Any]) -> FileTruth:
    people = (
        PersonTruth(person=found["person"], appearances=tuple(map(_stay, found["appearances"])))
        for found in entry["people"]
    )
    return FileTruth(path=entry["path"], kind=_kind(entry["kind"]), people=tuple(people))


def _kind(name: str) -> Kind:
    match name:
        case "video" | "image":
            return name
        case _:
            raise ValueError(f"kind {name!r}: allowed are video and image")


def _stay(entry: dict[str, Any]) -> Appearance:
    boxes = tuple(
        FaceBox(pts_ms=float(pts_ms), box=(float(x1), float(y1), float(x2), float(y2)))
        for pts_ms, x1, y1, x2, y2 in entry["boxes"]
    )
    if not boxes or any(a.pts_ms >= b.pts_ms for a, b in pairwise(boxes)):
        raise ValueError("boxes of an appearance must be there and in time order")
    return Appearance(
        start_ms=float(entry["start_ms"]),
        end_ms=float(entry["end_ms"]),
        hard=bool(entry["hard"]),
        boxes=boxes,
    )
