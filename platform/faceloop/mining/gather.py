"""From published tables and the decision log to the quarry of a request."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from faceloop.clustering.calibration import Calibration, read_calibrations
from faceloop.decision_tables import policy_of, read_logs
from faceloop.identity.resolve import aliases_of
from faceloop.identity.standing import Standing, standing_of
from faceloop.mining.quarry import MinedFace, PeoplesWord, Quarry, make_quarry
from faceloop.mining.request import MiningRequest
from faceloop.runner import Workspace
from facestore.errors import ContractMismatch, DataError, StageError
from facestore.ids import digest_of
from facestore.publish import Manifest, is_intact, read_manifest
from facestore.records import Assignment, Face, FaceEmbedding, NearDuplicate
from facestore.tables import column_matrix, read_columns

ARTIFACTS = ("faces", "crops", "embeddings", "clusters", "assignments")
_CALIBRATION = "calibration.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """The quarry, what made it, and the faces that are not in it, by reason."""

    quarry: Quarry
    inputs: dict[str, str]  # artifact → digest; `word` is that of the decisions that stand
    contract_id: str
    left_out: Counter[str]


def gather(work: Workspace, request: MiningRequest, withheld: Mapping[str, str]) -> Gathered:
    """`withheld`: faces that consents keep out, with the reason.

    Raises StageError for artifacts that are missing or do not belong together, DataError for identities that the
    request names and nobody has.
    """
    inputs = digests_of(work)
    logs = read_logs(work)
    effective = logs.resolved(policy_of(work)).effective
    inputs["word"] = digest_of([decision.decision_id for decision in effective])
    columns = (
        "face_id", "tracklet_id", "footage_id", "pts_ms", "subset", "quality", "yaw", "size_px", "crop_key", "rejected",
    )  # fmt: skip
    seen = {row.pop("face_id"): row for row in read_columns(work.path("faces"), "faces", Face, columns).to_pylist()}
    standing = standing_of(effective, aliases=aliases_of(logs.events), faces=seen.keys())
    label_columns = ("face_id", "identity_id", "state")
    labels = {
        row["face_id"]: row
        for row in read_columns(work.path("assignments"), "assignments", Assignment, label_columns).to_pylist()
    }
    _refuse_unknown(request, {row["identity_id"] for row in labels.values()})
    repeats = set(
        read_columns(work.path("embeddings"), "near_duplicates", NearDuplicate, ("face_id",))["face_id"].to_pylist()
    )
    table = read_columns(work.path("embeddings"), "faces", FaceEmbedding, ("face_id", "contract_id", "embedding"))
    contract_id = _contract(table["contract_id"].unique().to_pylist())
    left_out = Counter[str]()
    faces, rows, wanted = [], [], []
    for row, face_id in enumerate(table["face_id"].to_pylist()):
        known, label = seen.get(face_id), labels.get(face_id)
        if known is None or known["rejected"] is not None or known["crop_key"] is None:
            left_out["faces_not_accepted"] += 1
        elif face_id in standing.ignored or face_id in standing.rejected:
            left_out["faces_ignored"] += 1
        elif face_id in withheld:
            left_out[f"faces_{withheld[face_id]}"] += 1
        elif label is None or label["identity_id"] is None:
            left_out["faces_without_identity"] += 1
        elif face_id in repeats:
            left_out["faces_near_duplicate"] += 1
        else:
            facts = {name: value for name, value in known.items() if name != "rejected"}
            face = MinedFace(**facts, face_id=face_id, identity_id=label["identity_id"], state=label["state"])
            faces.append(face)
            rows.append(row)
            wanted.append(is_wanted(face, request))
    left_out["faces_filtered"] += wanted.count(False)
    vectors = column_matrix(table, "embedding")[np.array(rows, np.int64)]
    quarry = make_quarry(faces, vectors, wanted, _calibration(work, contract_id), _word(standing))
    return Gathered(quarry=quarry, inputs=inputs, contract_id=contract_id, left_out=left_out)


def is_wanted(face: MinedFace, request: MiningRequest) -> bool:
    """Whether the filters of a request hold for a face."""
    ranges = ((face.quality, request.quality), (abs(face.yaw), request.yaw_deg), (face.size_px, request.size_px))
    return (
        all(low <= value <= high for value, (low, high) in ranges)
        and face.state in request.states
        and (not request.identities or face.identity_id in request.identities)
        and any(fnmatchcase(face.subset, pattern) for pattern in request.subsets)
    )


def digests_of(work: Workspace) -> dict[str, str]:
    """Digest of each artifact that is mined. Raises StageError where one is missing or made from another version."""
    manifests: dict[str, Manifest] = {}
    for artifact in ARTIFACTS:
        found = read_manifest(work.path(artifact))
        if found is None or not is_intact(work.path(artifact), found):
            raise StageError(f"mine: missing input {work.path(artifact)}; run the flow up to identify first")
        manifests[artifact] = found
    digests = {artifact: manifest.digest for artifact, manifest in manifests.items()}
    for artifact, manifest in manifests.items():
        for source, digest in manifest.inputs.items():
            if digests.get(source, digest) != digest:
                raise StageError(
                    f"mine: {artifact} was made from another version of {source}; run {manifest.stage} again"
                )
    return digests


def _refuse_unknown(request: MiningRequest, known: set[str | None]) -> None:
    if unknown := sorted(set(request.identities) - known):
        raise DataError(f"request: identities {', '.join(unknown)} have no faces; `faceloop identities list` has ids")


def _contract(contracts: list[str]) -> str:
    if len(contracts) != 1:
        raise ContractMismatch(f"vectors of {len(contracts)} embedding contracts cannot be mined; run embed again")
    return contracts[0]


def _calibration(work: Workspace, contract_id: str) -> Calibration:
    path = work.path("clusters") / _CALIBRATION
    found = read_calibrations(path.read_text(encoding="utf-8"), str(path)) if path.is_file() else {}
    if contract_id not in found:
        raise DataError(f"{path} has no calibration of embedding contract {contract_id}; run cluster again")
    return found[contract_id]


def _word(standing: Standing) -> PeoplesWord:
    ties = standing.ties()
    return PeoplesWord(
        tie_of={face: tie.tie_id for face, tie in standing.tie_of.items()},
        name_of={tie.tie_id: tie.identity_id for tie in ties if tie.identity_id is not None},
        apart=frozenset(frozenset(pair) for pair in standing.apart),
    )
