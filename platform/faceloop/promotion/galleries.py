"""Publish who is known, let it count, go back: `ROOT/galleries/DIGEST/` and the pointer `current.json` beside them.

Galleries stay; the pointer is replaced by one rename. Faces that people took out, and people whose data are restricted,
are left out by their decisions of this moment, whether the stages ran since or not, and no way back leads to them. The
same holds for faces that consents keep from recognition or publication; that is proved as the pointer moves.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ConfigDict, Field

from faceloop.clustering.calibration import Calibration, read_calibrations
from faceloop.consent.denying import settle_all
from faceloop.consent_gate import ConsentParams, basis_for, withheld_faces
from faceloop.decision_tables import policy_of, read_logs
from faceloop.export.gallery import DIGEST_HEX, Thresholds, members_of, verify_gallery, write_gallery
from faceloop.export.gallery_people import KnownFace, Templates, choose_templates
from faceloop.export.gallery_shelf import CURRENT, GALLERIES, history_of
from faceloop.identity.current import read_current
from faceloop.identity.resolve import RESTRICTION, aliases_of
from faceloop.params import StageParams, section
from faceloop.runner import Workspace, hold
from faceloop.vision.contract import EmbeddingContract
from facestore.consentbasis import Basis, prove
from facestore.decisions import Decision
from facestore.errors import ContractMismatch, DataError, StageError
from facestore.ids import digest_of
from facestore.publish import is_intact, read_manifest, sync_path
from facestore.records import Face, FaceEmbedding
from facestore.tables import column_matrix, read_columns

_INPUTS = ("faces", "embeddings", "clusters", "assignments")


class GalleryRequest(StageParams):
    """What is published."""

    states: list[Literal["proposed", "confirmed"]] = Field(default=["confirmed"], min_length=1)
    templates: int = Field(default=3, ge=1, le=64)  # rows a person at most: the mean, then looks unlike it
    min_faces: int = Field(default=1, ge=1)
    min_quality: float = Field(default=0.4, ge=0, le=1)


class _Sigmas(StageParams):
    """Of section `cluster`: where two clusters are one person, and where a lone face may still join one."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    across_sigmas: float
    attach_sigmas: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The gallery that counts now."""

    digest: str
    rows: int
    identities: int
    contract_id: str
    left_out: dict[str, int]
    was_there_before: bool


def publish_gallery(work: Workspace, request: GalleryRequest) -> Published:
    """Publish the people of the labels as they are, and let that gallery count.

    Raises StageError before identify has run or where artifacts do not belong together, DataError when nobody is to
    be published, LeaseHeld while another publishes, ConsentChanged when consents change meanwhile.
    """
    with hold(work, "gallery") as lease:
        inputs = _digests(work)
        basis = _basis(work)
        contract = _contract(work)
        calibration = _calibration(work, contract.contract_id)
        sigmas = section(work.tree, "cluster", _Sigmas)
        templates = _templates(work, request, contract, withheld_faces(work.path("faces"), basis.withheld))
        thresholds = Thresholds(
            match=round(calibration.cosine(max(sigmas.across_sigmas, sigmas.attach_sigmas)), 4),
            stranger=round(calibration.cosine(min(sigmas.across_sigmas, sigmas.attach_sigmas)), 4),
            impostor_mean=calibration.impostor_mean,
            impostor_sd=calibration.impostor_sd,
        )
        shelf = work.root / GALLERIES
        waiting = shelf / f".{os.getpid()}.partial"
        shutil.rmtree(waiting, ignore_errors=True)
        waiting.mkdir(parents=True)
        try:
            digest = write_gallery(
                waiting,
                templates,
                contract=contract,
                thresholds=thresholds,
                states=request.states,
                inputs=inputs,
            )
            if _digests(work) != inputs:
                raise StageError("gallery: an artifact changed meanwhile; publish again")
            place = shelf / digest[:DIGEST_HEX]
            was_there_before = place.is_dir()
            verify_gallery(place if was_there_before else waiting)
            history = history_of(work.root)
            with lease.fenced() as session:
                prove(session, basis)
                if not was_there_before:
                    waiting.rename(place)
                    sync_path(shelf)
                if history[-1:] != [place.name]:
                    _point(shelf, [*history, place.name])
            settle_all(work)  # consumers stop by themselves when a consent runs out
        finally:
            shutil.rmtree(waiting, ignore_errors=True)
    return Published(
        digest=digest,
        rows=len(templates.rows),
        identities=len({row.identity_id for row in templates.rows}),
        contract_id=contract.contract_id,
        left_out={reason: count for reason, count in sorted(templates.left_out.items()) if count},
        was_there_before=was_there_before,
    )


def roll_back_gallery(work: Workspace) -> str:
    """Let the gallery before count again; returns the name of its folder.

    Raises DataError where there is none, or where somebody is in it whose faces were taken out or withheld since.
    """
    with hold(work, "gallery") as lease:
        history = history_of(work.root)
        if len(history) < 2:
            raise DataError("no gallery was published before this one; nothing was changed")
        place = work.root / GALLERIES / history[-2]
        verify_gallery(place)
        basis = refuse_gone(work, place)
        with lease.fenced() as session:
            prove(session, basis)
            _point(work.root / GALLERIES, history[:-1])
    return place.name


def refuse_gone(work: Workspace, place: Path) -> Basis:
    """Raises DataError where somebody is in a gallery whose faces were taken out or withheld since; the basis of that,
    to be proved."""
    members = members_of(place)
    if taken_out := members & _taken_out(work)[0]:
        raise DataError(
            f"gallery {place.name} holds {len(taken_out)} faces that were taken out since; publish a new one"
        )
    basis = _basis(work)
    if held := members & withheld_faces(work.path("faces"), basis.withheld).keys():
        raise DataError(f"gallery {place.name} holds {len(held)} faces that consents withhold; publish a new one")
    return basis


def _point(shelf: Path, history: list[str]) -> None:
    waiting = shelf / f".{CURRENT}.{os.getpid()}"
    body = {"gallery": history[-1], "before": history[:-1]}
    waiting.write_text(json.dumps(body, sort_keys=True) + "\n", encoding="utf-8")
    sync_path(waiting)
    waiting.replace(shelf / CURRENT)
    sync_path(shelf)


def _basis(work: Workspace) -> Basis:
    return basis_for("gallery", work.path, work.ledger_url(), section(work.tree, "consent", ConsentParams))


def _templates(
    work: Workspace, request: GalleryRequest, contract: EmbeddingContract, withheld: Mapping[str, str]
) -> Templates:
    taken_out, restricted = _taken_out(work)
    current = read_current(
        faces=work.path("faces"), assignments=work.path("assignments"), events=read_logs(work).events
    )
    table = read_columns(work.path("embeddings"), "faces", FaceEmbedding, ("face_id", "contract_id", "embedding"))
    if set(table["contract_id"].unique().to_pylist()) - {contract.contract_id}:
        raise ContractMismatch("vectors of several embedding contracts cannot be published; run embed again")
    row_of = {face: row for row, face in enumerate(table["face_id"].to_pylist())}
    accepted = _accepted(work)
    # On the safe side: an identity with a restricted face stays out whole until identify has told them apart.
    theirs = {face.identity_id for face in current.faces() if face.face_id in restricted}
    faces: list[KnownFace] = []
    left_out = Counter[str]()
    for face in current.faces():
        if face.identity_id is None or face.face_id not in row_of:
            left_out["faces_without_identity_or_vector"] += 1
        elif face.identity_id in theirs:
            left_out["faces_restricted"] += 1
        elif face.face_id in taken_out or face.face_id not in accepted:
            left_out["faces_taken_out"] += 1
        elif face.face_id in withheld:
            left_out[f"faces_{withheld[face.face_id]}"] += 1
        elif current.labels[face.face_id].state not in request.states:
            left_out["faces_of_other_state"] += 1
        else:
            faces.append(
                KnownFace(
                    face_id=face.face_id,
                    tracklet_id=face.tracklet_id,
                    identity_id=face.identity_id,
                    quality=face.quality,
                )
            )
    vectors = column_matrix(table, "embedding")[np.array([row_of[face.face_id] for face in faces], np.int64)]
    chosen = choose_templates(
        faces, vectors, most=request.templates, min_faces=request.min_faces, min_quality=request.min_quality
    )
    chosen.left_out.update(left_out)
    return chosen


def _taken_out(work: Workspace) -> tuple[set[str], set[str]]:
    """Faces that people took out by what stands now, and among them those that are restricted."""
    logs = read_logs(work)
    effective = logs.resolved(policy_of(work)).effective
    out = [said for said in effective if said.verb in ("ignore", "not_a_face")]
    return _faces(out), _faces(said for said in out if (said.note or "").startswith(RESTRICTION))


def _faces(decisions: Iterable[Decision]) -> set[str]:
    return {said.face_id for said in decisions if said.face_id is not None}


def _accepted(work: Workspace) -> set[str]:
    table = read_columns(work.path("faces"), "faces", Face, ("face_id", "rejected"))
    return set(table.filter(table["rejected"].is_null())["face_id"].to_pylist())


def _digests(work: Workspace) -> dict[str, str]:
    """Of what is published from. Raises StageError where one is missing or made from another version of another."""
    manifests = {}
    for artifact in _INPUTS:
        found = read_manifest(work.path(artifact))
        if found is None or not is_intact(work.path(artifact), found):
            raise StageError(f"gallery: missing input {work.path(artifact)}; run the flow up to identify first")
        manifests[artifact] = found
    digests = {artifact: found.digest for artifact, found in manifests.items()}
    for artifact, found in manifests.items():
        for source, digest in found.inputs.items():
            if digests.get(source, digest) != digest:
                raise StageError(f"gallery: {artifact} was made from another {source}; run {found.stage} again")
    word = read_logs(work)
    digests["word"] = digest_of(
        [said.decision_id for said in word.resolved(policy_of(work)).effective]
        + sorted(aliases_of(word.events).items())  # type: ignore[arg-type]
    )
    return digests


def _contract(work: Workspace) -> EmbeddingContract:
    path = work.path("embeddings") / "contract.json"
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        said = body.pop("contract_id")
        body.pop("committee", None)
        contract = EmbeddingContract(**body)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no embedding contract ({error}); run embed again") from error
    if contract.contract_id != said:
        raise DataError(f"{path}: contract_id does not belong to the contract; run embed again")
    return contract


def _calibration(work: Workspace, contract_id: str) -> Calibration:
    path = work.path("clusters") / "calibration.json"
    found = read_calibrations(path.read_text(encoding="utf-8"), str(path)) if path.is_file() else {}
    if contract_id not in found:
        raise DataError(f"{path} has no calibration of embedding contract {contract_id}; run cluster again")
    return found[contract_id]
