"""Erasure of somebody whom nobody labelled: a photo finds candidates, a person confirms faces, and those are erased.

The photo is read, embedded, compared and forgotten. Its face stays on the page until somebody has confirmed; the id of
the probe is keyed, and says of the photo only that it is the same when it is asked about once more.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from faceloop.erasure.candidates_page import candidates_page
from faceloop.erasure.finding import Finding
from faceloop.erasure.likeness import calibration_of, candidates_among, likenesses, look_at_probe
from faceloop.erasure.probe_papers import (
    PAGE,
    PICTURE,
    PREFIX,
    Candidate,
    Confirmation,
    Probe,
    drop_probe,
    probe_folder,
    read_probe,
    write_private,
    write_probe,
)
from faceloop.restriction.subject import Situation, read_situation
from faceloop.runner import Workspace, hold
from facestore.errors import DataError
from facestore.ids import digest_of, file_sha256
from facestore.images import encode_jpeg
from facestore.peppers import known_pepper
from facestore.records import Face
from facestore.refs import subject_ref
from facestore.tables import read_columns

LEAST_SIGMAS = 2.5  # docs/erasure.md has the recall at this and at other limits
MOST_CANDIDATES = 60  # on a page that somebody looks through in minutes
_PATIENCE_S = 600.0
_ID_HEX = 16
_JPEG_QUALITY = 90
_TRACKLET = "tracklet-"


def ask(
    work: Workspace,
    photo: Path,
    *,
    face_number: int | None,
    least_sigmas: float,
    most: int,
    by: str,
    now: datetime,
) -> Probe:
    """Search by a photo and write the page; asked again with the same photo, it replaces what it found before. Where
    nobody resembles it, nothing is written.

    Raises what `look_at_probe`, `calibration_of`, `likenesses` and `read_situation` raise.
    """
    photo_ref = _ref_of(work, photo)
    seen = look_at_probe(work, photo, face_number)
    calibration = calibration_of(work, seen.contract_id)
    with hold(work, "erase", wait_s=_PATIENCE_S):  # no erasure ends between what is read and what is written
        situation = read_situation(work)
        cosine_of = likenesses(work, seen)
        found = candidates_among(cosine_of, _groups(situation), calibration, least_sigmas)
        probe = Probe(
            probe_id=PREFIX + digest_of([photo_ref, face_number])[:_ID_HEX],
            photo_ref=photo_ref,
            asked_by=by,
            asked_at=now.isoformat(),
            least_sigmas=least_sigmas,
            faces_compared=len(cosine_of),
            faces_not_compared=_not_compared(situation, cosine_of),
            candidates=found[:most],
            not_shown=len(found[most:]),
        )
        drop_probe(work.root, probe.probe_id)
        if found:
            _write(work, probe, encode_jpeg(seen.picture_rgb, _JPEG_QUALITY))
        return probe


def confirm(
    work: Workspace,
    probe_id: str,
    *,
    candidates: Sequence[str],
    faces: Sequence[str],
    keep_probe: bool,
    by: str,
    now: datetime,
) -> Confirmation:
    """Take down which candidates are the person: whole ones by their ids, and faces by their first digits, each with
    those of its tracklet that no picture shows. The probe's face goes from the folder and from the page. Said again
    before `apply`, the last word counts.

    Raises DataError for what is no candidate of this probe, and where nothing is named; then nothing is changed.
    """
    with hold(work, "erase", wait_s=_PATIENCE_S):
        probe = read_probe(work.root, probe_id)
        chosen = _chosen_faces(probe, candidates, faces)
        chosen |= unseen_beside(chosen, *_seen(work, probe))
        theirs = [one for one in probe.candidates if not chosen.isdisjoint(one.face_ids)]
        said = Confirmation(face_ids=tuple(sorted(chosen)), candidates=len(theirs), by=by, at=now.isoformat())
        probe = replace(probe, confirmed=said)
        picture = probe_folder(work.root, probe_id) / PICTURE
        if not keep_probe:
            picture.unlink(missing_ok=True)
        _write(work, probe, picture.read_bytes() if picture.is_file() else None)
        return said


def close(work: Workspace, probe_id: str) -> None:
    """Nobody of the candidates is the person: all that the probe left goes. Raises DataError for an unknown probe."""
    with hold(work, "erase", wait_s=_PATIENCE_S):
        read_probe(work.root, probe_id)
        drop_probe(work.root, probe_id)


def check_photo(work: Workspace, probe_id: str, photo: Path) -> None:
    """Raises DataError for a file that is not the one that was probed: it must not be deleted as if it were."""
    if _ref_of(work, photo) != read_probe(work.root, probe_id).photo_ref:
        raise DataError("this is not the photo that was probed; nothing was removed or confirmed")


def confirmed_faces(work: Workspace, probe_id: str) -> tuple[frozenset[str], Finding]:
    """What an erasure goes by: confirmed faces that are still there. Raises DataError where nothing is confirmed."""
    probe = read_probe(work.root, probe_id)
    if probe.confirmed is None:
        raise DataError(
            f"nobody has confirmed a face of {probe_id}; look at its page, then run `faceloop erase confirm {probe_id}`"
        )
    there = read_situation(work).tracklet_of.keys()
    faces = frozenset(probe.confirmed.face_ids).intersection(there)
    if not faces:
        raise DataError(f"none of the faces confirmed for {probe_id} is there any more; probe again")
    finding = Finding(
        how="probe",
        probe_id=probe_id,
        candidates_shown=len(probe.candidates),
        candidates_confirmed=probe.confirmed.candidates,
        faces_shown=probe.faces_shown,
        faces_confirmed=len(probe.confirmed.face_ids),
        confirmed_by=probe.confirmed.by,
    )
    return faces, finding


def is_probe(text: str) -> bool:
    return text.startswith(PREFIX)


def _write(work: Workspace, probe: Probe, picture: bytes | None) -> None:
    write_probe(work.root, probe)  # first: whatever else is there after a kill is known to belong to it
    folder = probe_folder(work.root, probe.probe_id)
    if picture is not None:
        write_private(folder / PICTURE, picture)
    write_private(folder / PAGE, candidates_page(work, probe, picture).encode())


def _ref_of(work: Workspace, photo: Path) -> str:
    return subject_ref(known_pepper(work.ledger_url(), work.root), digest_of(["probe", file_sha256(photo)]))


def _groups(situation: Situation) -> dict[str, str]:
    identity_of = situation.current.replayed.identity_of
    return {face: identity_of.get(face) or f"{_TRACKLET}{tracklet}" for face, tracklet in situation.tracklet_of.items()}


def unseen_beside(faces: set[str], tracklet_of: Mapping[str, str], with_picture: Collection[str]) -> set[str]:
    """Faces that no picture shows, of the tracklets of these: one tracklet is one person, by its best shots."""
    tracklets = {tracklet_of[face] for face in faces if face in tracklet_of}
    return {face for face, tracklet in tracklet_of.items() if tracklet in tracklets} - set(with_picture)


def _seen(work: Workspace, probe: Probe) -> tuple[dict[str, str], set[str]]:
    """Of the candidates' faces: their tracklets, and those with a picture."""
    columns = ("face_id", "tracklet_id", "crop_key")
    rows = read_columns(work.path("faces"), "faces", Face, columns).to_pylist()
    shown = {face for one in probe.candidates for face in one.face_ids}
    mine = [row for row in rows if row["face_id"] in shown]
    return (
        {row["face_id"]: row["tracklet_id"] for row in mine},
        {row["face_id"] for row in mine if row["crop_key"] is not None},
    )


def _not_compared(situation: Situation, cosine_of: Mapping[str, float]) -> int:
    """Faces of tracklets without any vector; others stand for the faces that have none beside them."""
    compared = {situation.tracklet_of[face] for face in cosine_of if face in situation.tracklet_of}
    return sum(tracklet not in compared for tracklet in situation.tracklet_of.values())


def _chosen_faces(probe: Probe, candidates: Sequence[str], faces: Sequence[str]) -> set[str]:
    by_id: dict[str, Candidate] = {one.candidate_id: one for one in probe.candidates}
    if unknown := sorted(set(candidates) - by_id.keys()):
        raise DataError(
            f"{len(unknown)} of the ids, {unknown[0]} first, are no candidates of {probe.probe_id}; nothing was "
            "confirmed: take ids from its page"
        )
    shown = sorted(face for one in probe.candidates for face in one.face_ids)
    chosen = {face for candidate in candidates for face in by_id[candidate].face_ids}
    for text in faces:
        fits = [face for face in shown if face.startswith(text)]
        if len(fits) != 1:
            raise DataError(
                f"{len(fits)} faces of the candidates of {probe.probe_id} begin with {text!r}; nothing was confirmed: "
                "take ids from its page"
            )
        chosen.add(fits[0])
    if not chosen:
        raise DataError("name who it is with --identity or --faces, or say --nobody; nothing was confirmed")
    return chosen
