"""What lies in the folder of a probe, `erasures/PROBE/`, for its owner alone: candidates, the page, the probe's face.

The photo itself and its vector are never written. Each erasure removes every probe that shows one of its faces: such a
page is pictures of the person.
"""

import json
import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from faceloop.erasure.planning import ERASURES
from facestore.errors import DataError
from facestore.publish import sync_path

PROBE, PAGE, PICTURE = "probe.json", "candidates.html", "probe.jpg"
PREFIX = "probe-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Faces that may be the person's: all of an identity, or those of a tracklet that is nobody's."""

    candidate_id: str  # identity id, or `tracklet-` and the id of a tracklet
    likeness: float  # cosine of its most alike face
    sigmas: float  # the same, in spreads of the likeness of strangers
    faces_near: int  # of its faces, beyond the limit
    face_ids: tuple[str, ...]  # the most alike first; those without a vector last


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What a person said of the candidates."""

    face_ids: tuple[str, ...]  # sorted
    candidates: int  # of which a face at least is confirmed
    by: str
    at: str  # ISO 8601


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One search by photo. `probe_id` is keyed: who has a photo cannot tell by it whether that was asked about."""

    probe_id: str
    photo_ref: str  # keyed, of its bytes
    asked_by: str
    asked_at: str  # ISO 8601
    least_sigmas: float
    faces_compared: int
    faces_not_compared: int  # of tracklets without a vector: no photo can find them
    candidates: tuple[Candidate, ...]  # shown, the most alike first
    not_shown: int  # further candidates beyond the limit
    confirmed: Confirmation | None = None

    @property
    def faces_shown(self) -> int:
        return sum(len(one.face_ids) for one in self.candidates)


def probe_folder(root: Path, probe_id: str) -> Path:
    return root / ERASURES / probe_id


def write_probe(root: Path, probe: Probe) -> None:
    write_private(probe_folder(root, probe.probe_id) / PROBE, json.dumps(asdict(probe)).encode())


def write_private(path: Path, payload: bytes) -> None:
    """Replace a file, readable by its owner alone, by one rename; its folder is for its owner alone, too."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.parent.chmod(0o700)
    waiting = path.with_name(f"{path.name}.partial")
    waiting.unlink(missing_ok=True)
    with os.fdopen(os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(payload)
    sync_path(waiting)
    waiting.rename(path)
    sync_path(path.parent)


def read_probe(root: Path, probe_id: str) -> Probe:
    """Raises DataError where there is none, or it cannot be read."""
    is_one = probe_id.startswith(PREFIX) and probe_id.removeprefix(PREFIX).isalnum()
    path = probe_folder(root, probe_id if is_one else PREFIX) / PROBE
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        candidates = tuple(
            Candidate(**{**one, "face_ids": tuple(map(str, one["face_ids"]))}) for one in body.pop("candidates")
        )
        said = body.pop("confirmed")
        confirmed = said and Confirmation(**{**said, "face_ids": tuple(map(str, said["face_ids"]))})
        return Probe(**body, candidates=candidates, confirmed=confirmed)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"no probe of this id is open ({type(error).__name__}): it was applied, or an erasure of somebody whom its "
            "page showed took it away; `faceloop erase status` lists open ones, `faceloop erase probe` makes one"
        ) from error


def open_probes(root: Path) -> Iterator[Probe]:
    """Every probe that is not applied yet, by id; those that cannot be read are passed over."""
    for path in sorted((root / ERASURES).glob(f"{PREFIX}*/{PROBE}")):
        try:
            yield read_probe(root, path.parent.name)
        except DataError:
            continue


def drop_probe(root: Path, probe_id: str) -> None:
    """Remove page, candidates and the probe's face."""
    shutil.rmtree(probe_folder(root, probe_id), ignore_errors=True)


def drop_probes_showing(root: Path, face_ids: Collection[str]) -> int:
    """Remove every probe that names one of the faces, and what a killed one left half-written; returns how many."""
    wanted = set(face_ids)
    dropped = 0
    for folder in sorted((root / ERASURES).glob(f"{PREFIX}*")):
        try:
            shown = {face for one in read_probe(root, folder.name).candidates for face in one.face_ids}
        except DataError:
            shown = wanted
        if shown & wanted:
            drop_probe(root, folder.name)
            dropped += 1
    return dropped
