"""A photo of somebody against every vector of a root: who resembles them, the most alike first.

The search is exact, over single faces and not over templates: a person who asks to be erased has a right to the one
face that no cluster took in. The photo's vector, and those of an encrypted root, are in this process's memory alone.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceloop.clustering.calibration import Calibration, load_calibration, read_calibrations
from faceloop.erasure.probe_papers import Candidate
from faceloop.footage.apart import read_photo_apart
from faceloop.footage.decode import Picture
from faceloop.footage.kinds import kind_of
from faceloop.params import section
from faceloop.runner import Workspace, stage_params
from faceloop.stages.detect import Params as DetectParams
from faceloop.stages.embed import Params as EmbedParams
from faceloop.vision.align import align_crop, are_alignable
from faceloop.vision.arrays import Float32Array, UInt8Array
from faceloop.vision.detections import Detections
from faceloop.vision.lookout import context_crop, look_at_photo
from facestore.errors import ConfigError, ContractMismatch, DataError, NotCalibrated, StageError
from facestore.publish import read_manifest
from facestore.records import FaceEmbedding
from facestore.tables import column_matrix, read_columns

_NOT_MEASURED = "the root has no calibration yet: run cluster, or name one in cluster.calibration"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProbeFace:
    """The face of the photo that is asked about."""

    vector: Float32Array  # (d,) unit norm
    contract_id: str
    picture_rgb: UInt8Array  # (context_px, context_px, 3) for people to compare with


def look_at_probe(work: Workspace, photo: Path, face_number: int | None) -> ProbeFace:
    """Decode the photo apart, find its face, embed it as `embed` would.

    `face_number`: which one, from 1, left to right; needed where there are several. Raises MediaError for a file that
    cannot be read as a photo, DataError for a video, no face, several or a number that is not there.
    """
    detect = section(work.tree, "detect", DetectParams)
    if kind_of(photo) != "image":
        raise DataError("the file is a video; give a photo that shows the face of the person")
    picture = read_photo_apart(photo, detect.decoder.limits())
    detector = detect.model.detector(threads=work.threads, min_score=detect.min_score)
    found = _usable(look_at_photo(detector, picture, detect.look()), picture, detect.min_size_px)
    row = _chosen(len(found), face_number)
    image = picture.full_bgr()
    embed = stage_params(work, "embed")
    if not isinstance(embed, EmbedParams):
        raise ConfigError("the section embed is not one of the embed stage; install the package again")
    recogniser = embed.model.recogniser(threads=work.threads, batch_size=embed.batch_size)
    embedded = recogniser.embed(align_crop(image, found.landmarks_px[row])[None])
    if not embedded.is_valid[0]:
        raise DataError("the recogniser gives the photo's face no direction; give another photo")
    box = tuple(float(edge) for edge in found.boxes_xyxy_px[row])
    return ProbeFace(
        vector=embedded.vectors[0],
        contract_id=recogniser.contract.contract_id,
        picture_rgb=context_crop(image, box, detect.context_px),
    )


def _usable(found: Detections, picture: Picture, min_size_px: float) -> Detections:
    """Faces large enough to be recognised, left to right."""
    sides = found.boxes_xyxy_px[:, 2:] - found.boxes_xyxy_px[:, :2]
    is_large = np.sqrt(np.maximum(sides.prod(axis=1), 0)) >= min_size_px
    usable = found.select(are_alignable(found.landmarks_px) & is_large)
    if len(found) and not len(usable):
        raise DataError(
            f"the faces of the photo are smaller than {min_size_px:g} px; give one that shows the face larger "
            f"(it has {picture.width} × {picture.height} px)"
        )
    centres = usable.boxes_xyxy_px[:, 0] + usable.boxes_xyxy_px[:, 2]
    return usable.select(np.lexsort((usable.boxes_xyxy_px[:, 1], centres)))


def _chosen(faces: int, face_number: int | None) -> int:
    if faces == 0:
        raise DataError("no face is found in the photo; give one that shows the face from the front")
    if face_number is None and faces > 1:
        raise DataError(f"the photo shows {faces} faces; say whose it is with --face 1 to {faces}, from left to right")
    if face_number is not None and not 1 <= face_number <= faces:
        raise DataError(f"the photo shows {faces} faces, from left to right; there is no face {face_number}")
    return (face_number or 1) - 1


def calibration_of(work: Workspace, contract_id: str) -> Calibration:
    """What a likeness means: that of the last clustering, else the one that cluster would load.

    Raises NotCalibrated where there is none."""
    path = work.path("clusters") / "calibration.json"
    if read_manifest(work.path("clusters")) is not None and path.is_file():
        found = read_calibrations(path.read_text(encoding="utf-8"), path.name).get(contract_id)
        if found is not None:
            return found
    return load_calibration(contract_id, file=None, measure=_not_measured)


def _not_measured() -> Calibration:
    raise NotCalibrated(_NOT_MEASURED)


def likenesses(work: Workspace, probe: ProbeFace) -> dict[str, float]:
    """Cosine to the probe of every face that has a vector. Raises StageError before embed has run, ContractMismatch
    where the root was embedded by another recogniser."""
    if read_manifest(work.path("embeddings")) is None:
        raise StageError("erase probe: the root has no vectors; run the flow up to identify first")
    columns = ("face_id", "contract_id", "embedding")
    table = read_columns(work.path("embeddings"), "faces", FaceEmbedding, columns)
    if not len(table):
        return {}
    if (contract := table["contract_id"][0].as_py()) != probe.contract_id:
        raise ContractMismatch(
            f"the root was embedded under contract {contract}, embed.model of these params is {probe.contract_id}; "
            "give the params that the root was embedded with"
        )
    cosines = np.round(column_matrix(table, "embedding") @ probe.vector, 5)  # alike on every machine
    return dict(zip(table["face_id"].to_pylist(), np.clip(cosines, -1, 1).tolist(), strict=True))


def candidates_among(
    cosine_of: Mapping[str, float], group_of: Mapping[str, str], calibration: Calibration, least_sigmas: float
) -> tuple[Candidate, ...]:
    """Groups with a face at or beyond the limit, the most alike first; `group_of`: face → candidate id, of every face
    that can be erased. The same whatever the order of either."""
    limit = calibration.cosine(least_sigmas)
    near = {face for face, cosine in cosine_of.items() if cosine >= limit}
    members = defaultdict(list)
    for face, group in group_of.items():
        members[group].append(face)
    found = []
    for group in {group_of[face] for face in near if face in group_of}:
        faces = sorted(members[group], key=lambda face: (-cosine_of.get(face, -2.0), face))
        best = cosine_of[faces[0]]
        found.append(
            Candidate(
                candidate_id=group,
                likeness=round(best, 4),
                sigmas=round(calibration.sigmas(best), 2),
                faces_near=len(near.intersection(faces)),
                face_ids=tuple(faces),
            )
        )
    return tuple(sorted(found, key=lambda one: (-one.likeness, one.candidate_id)))
