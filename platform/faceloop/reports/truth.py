"""Known truth: who is on which accepted face. Only scoring may ask; nothing here reaches a stage."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from faceloop.sample.truth import NEAREST_MS, Truth, load_truth
from facestore.errors import ConfigError
from facestore.records import Face, Footage, Reading, Rejection

FOLDERS = "folders"


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthSpec:
    """Where truth comes from: a truth file, or (None) the parent folder of each photo."""

    file: Path | None
    except_file: Path | None  # relative paths, one a line: photos whose folder lies about them


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """An accepted face, as far as truth needs it."""

    face_id: str
    tracklet_id: str
    footage_id: str
    pts_ms: int
    bbox: tuple[float, float, float, float]  # x1, y1, x2, y2, px
    is_best_shot: bool

    @classmethod
    def of(cls, face: Face) -> "Box":
        x1, y1, x2, y2 = face.bbox
        return cls(
            face_id=face.face_id,
            tracklet_id=face.tracklet_id,
            footage_id=face.footage_id,
            pts_ms=face.pts_ms,
            bbox=(x1, y1, x2, y2),
            is_best_shot=face.crop_key is not None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """How many of the true sights got at least one accepted face of the right person.

    A sight is a photo with truth, or one stay of a person in view; hard stays (blurred, tiny, dark, cut by the
    edge) are counted apart, since a face missed there is no fault.
    """

    sights: int
    sights_found: int
    hard_sights: int
    hard_sights_found: int
    faces_on_nobody: int  # accepted faces in files with truth where truth has no face; 0 for folders
    bad_files: int  # files that truth says are broken
    bad_files_caught: int  # of these, rejected or read in part


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Truth laid over the accepted faces of a root."""

    people: tuple[str, ...]  # everyone that truth knows, sorted
    person_of_face: dict[str, str]
    detection: Detection


def know(
    spec: TruthSpec,
    footage: Sequence[Footage],
    boxes: Iterable[Box],
    readings: Mapping[str, Reading],
    rejections: Sequence[Rejection],
) -> Known:
    """Lay truth over accepted faces. Raises DataError or ConfigError for a file that cannot be read."""
    by_footage: dict[str, list[Box]] = defaultdict(list)
    for box in boxes:
        by_footage[box.footage_id].append(box)
    excepted = _lines(spec.except_file)
    if spec.file is None:
        return _from_folders(footage, by_footage, excepted)
    caught = {rejection.item for rejection in rejections} | {
        location
        for record in footage
        if (reading := readings.get(record.footage_id)) is not None and reading.status != "read"
        for location in record.locations
    }
    return _from_file(load_truth(spec.file), footage, by_footage, excepted, caught)


def main_face(faces: Sequence[Box], width_px: int, height_px: int) -> Box:
    """The face that a photo of one person is about: the largest `area - 2 × squared distance to the middle`.

    InsightFace's own rule for its main face; ties go to the smaller face_id.
    """

    def rank(box: Box) -> tuple[float, str]:
        x1, y1, x2, y2 = box.bbox
        off_px2 = ((x1 + x2) / 2 - width_px / 2) ** 2 + ((y1 + y2) / 2 - height_px / 2) ** 2
        return 2 * off_px2 - (x2 - x1) * (y2 - y1), box.face_id

    return min(faces, key=rank)


def _lines(path: Path | None) -> set[str]:
    if path is None:
        return set()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path} ({error}); give a text file with one relative path a line") from error
    return {line.strip() for line in text.splitlines() if line.strip()}


def _folder_person(record: Footage, excepted: set[str]) -> str | None:
    """Name of the parent folder; None for a video, a photo at the top, and bytes that lie in two people's folders."""
    if record.kind != "image":
        return None
    folders = {PurePosixPath(path).parent.name for path in record.locations if path not in excepted}
    return folders.pop() or None if len(folders) == 1 else None


def _from_folders(footage: Sequence[Footage], boxes: Mapping[str, list[Box]], excepted: set[str]) -> Known:
    people: set[str] = set()
    person_of_face: dict[str, str] = {}
    sights = 0
    for record in footage:
        person = _folder_person(record, excepted)
        if person is None:
            continue
        people.add(person)
        sights += 1
        if faces := boxes.get(record.footage_id):
            person_of_face[main_face(faces, record.width, record.height).face_id] = person
    return Known(
        people=tuple(sorted(people)),
        person_of_face=person_of_face,
        detection=Detection(
            sights=sights,
            sights_found=len(person_of_face),
            hard_sights=0,
            hard_sights_found=0,
            faces_on_nobody=0,
            bad_files=0,
            bad_files_caught=0,
        ),
    )


def _from_file(
    truth: Truth, footage: Sequence[Footage], boxes: Mapping[str, list[Box]], excepted: set[str], caught: set[str]
) -> Known:
    files = {file.path: file for file in truth.files if file.path not in excepted}
    person_of_face: dict[str, str] = {}
    seen: dict[str, list[tuple[str, int]]] = defaultdict(list)  # path → (person, pts_ms) of accepted faces
    on_nobody = 0
    for record in footage:
        known_as = [path for path in record.locations if path in files]
        for box in boxes.get(record.footage_id, []) if known_as else []:
            person = truth.person_at(known_as[0], box.pts_ms, box.bbox)
            if person is None:
                on_nobody += 1
                continue
            person_of_face[box.face_id] = person
            for path in known_as:
                seen[path].append((person, box.pts_ms))
    counts: Counter[str] = Counter()
    for path, file in files.items():
        for found in file.people:
            for stay in found.appearances:
                kind = "hard_sights" if stay.hard else "sights"
                counts[kind] += 1
                counts[f"{kind}_found"] += any(
                    person == found.person and stay.gap_ms(pts_ms) <= NEAREST_MS for person, pts_ms in seen[path]
                )
    return Known(
        people=tuple(sorted({found.person for file in files.values() for found in file.people})),
        person_of_face=person_of_face,
        detection=Detection(
            sights=counts["sights"],
            sights_found=counts["sights_found"],
            hard_sights=counts["hard_sights"],
            hard_sights_found=counts["hard_sights_found"],
            faces_on_nobody=on_nobody,
            bad_files=len(truth.bad),
            bad_files_caught=sum(bad.path in caught for bad in truth.bad),
        ),
    )
