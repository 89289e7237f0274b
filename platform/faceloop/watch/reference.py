"""The profile of the embeddings that are published, and the one that it is compared with."""

import json
from dataclasses import dataclass
from typing import Literal

from faceloop.runner import Workspace
from faceloop.watch.drift import Vectors, distance_quantile, look_at_quality, look_at_vectors
from facestore.errors import DataError
from facestore.ids import JsonValue, digest_of
from facestore.measurements import Measurements, Profile
from facestore.publish import read_manifest
from facestore.vitals import promoted_inputs

Basis = Literal["release", "first"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What now is compared with: the faces of the release last promoted, else the first that were ever measured."""

    basis: Basis
    profile: Profile


def profile_now(work: Workspace, log: Measurements, *, seen: Vectors | None = None) -> Profile | None:
    """Of the published faces and embeddings; None before there are any. Made once for each version, then kept.

    `seen` saves a pass over vectors that the caller has looked at.
    """
    faces, embeddings = read_manifest(work.path("faces")), read_manifest(work.path("embeddings"))
    if faces is None or embeddings is None:
        return None
    profile_id = _profile_id(faces.digest, embeddings.digest)
    if (known := log.profile(profile_id)) is not None:
        return known
    path = work.path("embeddings")
    quality = look_at_quality(work.path("faces"))
    mean = (seen or look_at_vectors(path)).mean
    made = Profile(
        profile_id=profile_id,
        contract_id=_contract(work),
        faces=quality.faces,
        quality_shares=quality.shares,
        mean=mean,
        distance_99=distance_quantile(path, mean, 0.99) if mean else 0.0,
    )
    log.keep(made)
    return made


def reference_of(work: Workspace, log: Measurements, now: Profile) -> Reference | None:
    """None where nothing under this embedding contract was measured before: the first is its own reference."""
    inputs = promoted_inputs(work.ledger_url())
    if inputs:
        released = log.profile(_profile_id(inputs.get("faces"), inputs.get("embeddings")))
        if released is not None and released.contract_id == now.contract_id and released.faces:
            return Reference(basis="release", profile=released)
    first = log.first_profile(now.contract_id)
    return None if first is None else Reference(basis="first", profile=first)


def _profile_id(faces: JsonValue, embeddings: JsonValue) -> str:
    return digest_of(["profile", faces, embeddings])


def _contract(work: Workspace) -> str:
    path = work.path("embeddings") / "contract.json"
    try:
        contract_id: str = json.loads(path.read_text(encoding="utf-8"))["contract_id"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not an embedding contract ({error}); run embed again") from error
    return contract_id
