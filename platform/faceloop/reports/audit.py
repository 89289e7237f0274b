"""build_audit: the tables of a folder of people to a page and a list of photos that may lie in the wrong folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
from jinja2 import Environment, PackageLoader, StrictUndefined

from faceloop.audit.suspects import AuditLimits, Look, Photos, Suspect, find_suspects
from faceloop.clustering.calibration import Calibration
from faceloop.redaction import Covers
from faceloop.reports.album import Album
from faceloop.reports.auditsheet import AuditSheet, compose_audit
from facestore.crops import CropReader
from facestore.errors import DataError
from facestore.ids import JsonValue, canonical_json
from facestore.keymarker import is_without_pictures
from facestore.records import Face, Footage, TrackletTemplate
from facestore.tables import column_matrix, read_columns, read_table

PAGE, LIST = "audit.html", "suspects.json"
_PICTURE_BYTES = 12_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditArtifacts:
    """Where the published artifacts of the audited folder lie."""

    footage: Path
    faces: Path
    crops: Path
    embeddings: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """A folder as far as faces were found in it, and what was left out."""

    photos: Photos
    vectors: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]  # by contract, the main one first
    crop_keys: tuple[str, ...]  # n, of the faces
    quality: tuple[float, ...]  # n
    without_face: tuple[str, ...]  # paths
    without_folder: tuple[str, ...]  # paths that lie in no person's folder


def read_audited(artifacts: AuditArtifacts) -> Audited:
    """Photos and faces by folder; the first folder of a path is the person. A picture in two folders is two photos.

    Raises DataError when no photo in a folder shows a face.
    """
    templates = read_columns(artifacts.embeddings, "templates", TrackletTemplate)
    best_faces = templates["best_face_id"].to_pylist()
    columns = ("face_id", "size_px", "quality", "crop_key")
    shots = {row["face_id"]: row for row in read_columns(artifacts.faces, "faces", Face, columns).to_pylist()}
    rows_of: dict[str, list[int]] = {}
    for row, footage_id in enumerate(templates["footage_id"].to_pylist()):
        rows_of.setdefault(footage_id, []).append(row)
    places, without_face, without_folder = [], [], []
    for footage in read_table(artifacts.footage, "footage", Footage):
        by_folder = {location.partition("/")[0]: location for location in reversed(footage.locations)}
        for folder, location in by_folder.items():
            if "/" not in location:
                without_folder.append(location)
            elif footage.footage_id not in rows_of:
                without_face.append(location)
            else:
                places.append((location, folder, footage.footage_id))
    if not places:
        raise DataError("no face was found in any folder; give a folder that holds one folder of photos a person")
    places.sort()
    names = tuple(sorted({folder for _, folder, _ in places}))
    code = {name: number for number, name in enumerate(names)}
    pairs = [(photo, row) for photo, (_, _, footage_id) in enumerate(places) for row in rows_of[footage_id]]
    rows = [row for _, row in pairs]
    return Audited(
        photos=Photos(
            paths=tuple(path for path, _, _ in places),
            folders=np.array([code[folder] for _, folder, _ in places], np.int64),
            folder_names=names,
            photo_of_face=np.array([photo for photo, _ in pairs], np.int64),
            size_px=np.array([shots[best_faces[row]]["size_px"] for row in rows], np.float32),
        ),
        vectors=_vectors(artifacts, templates, rows),
        crop_keys=tuple(str(shots[best_faces[row]]["crop_key"]) for row in rows),
        quality=tuple(float(shots[best_faces[row]]["quality"]) for row in rows),
        without_face=tuple(sorted(without_face)),
        without_folder=tuple(sorted(without_folder)),
    )


def _vectors(
    artifacts: AuditArtifacts, templates: pa.Table, rows: Sequence[int]
) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """By contract; a contract that has no vector for every face is left out: it would compare unlike things."""
    found = {str(templates["contract_id"][0]): column_matrix(templates, "embedding")[np.array(rows)]}
    committee = read_columns(artifacts.embeddings, "committee", TrackletTemplate)
    tracklets = templates["tracklet_id"].to_pylist()
    for contract in sorted(set(committee["contract_id"].to_pylist())):
        part = committee.filter(np.array(committee["contract_id"].to_pylist()) == contract)
        place = {name: row for row, name in enumerate(part["tracklet_id"].to_pylist())}
        wanted = [place.get(tracklets[row]) for row in rows]
        known = [row for row in wanted if row is not None]
        if len(known) == len(wanted):
            found[contract] = column_matrix(part, "embedding")[np.array(known)]
    return found


def build_audit(
    audited: Audited,
    calibrations: dict[str, Calibration],
    *,
    name: str,
    crops: Path,
    limits: AuditLimits,
    shown: int,
    out: Path,
    covers: Covers,
) -> list[Suspect]:
    """Write `audit.html` with the first `shown` suspects, and `suspects.json` with all, to folder `out`.

    `covers`: faces that are not to be shown.
    """
    looks = [Look(vectors=vectors, calibration=calibrations[contract]) for contract, vectors in audited.vectors.items()]
    suspects = find_suspects(audited.photos, looks, limits)
    reader = CropReader(crops)
    try:
        sheet = compose_audit(
            suspects,
            audited.photos,
            name=name,
            shown=shown,
            album=Album(
                crops=reader, bytes_left=_PICTURE_BYTES, covers=covers, is_left_out=is_without_pictures(out / PAGE)
            ),
            crop_keys=audited.crop_keys,
            quality=audited.quality,
            without_face=audited.without_face,
            without_folder=audited.without_folder,
        )
    finally:
        reader.close()
    out.mkdir(parents=True, exist_ok=True)
    (out / PAGE).write_text(render_audit(sheet), encoding="utf-8")
    (out / LIST).write_text(_as_json(suspects, audited), encoding="utf-8")
    return suspects


def render_audit(sheet: AuditSheet) -> str:
    """The page as one HTML document that needs nothing else. Every value is escaped."""
    environment = Environment(
        loader=PackageLoader("faceloop", "reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("audit.html.j2").render(sheet=sheet, version=version("faceloop"))


def _as_json(suspects: list[Suspect], audited: Audited) -> str:
    photos = audited.photos
    rows: list[JsonValue] = [
        {
            "rank": rank,
            "path": photos.paths[suspect.photo],
            "folder": photos.folder_names[int(photos.folders[suspect.photo])],
            "reason": suspect.reason,
            "score": round(suspect.score, 3),
            "own_sigmas": None if suspect.own_sigmas is None else round(suspect.own_sigmas, 3),
            "resembles": None if suspect.other_folder is None else photos.folder_names[suspect.other_folder],
            "resembles_sigmas": None if suspect.other_sigmas is None else round(suspect.other_sigmas, 3),
            "recognisers_in_doubt": suspect.agreeing,
            "recognisers": suspect.recognisers,
            "is_stranger_bigger": suspect.is_stranger_bigger,
        }
        for rank, suspect in enumerate(suspects, start=1)
    ]
    rows += [
        {"rank": None, "path": path, "folder": path.partition("/")[0], "reason": "no_face"}
        for path in audited.without_face
    ]
    return "[\n" + ",\n".join(canonical_json(row) for row in rows) + "\n]\n"
