"""What published artifacts still hold although consents keep it from their purpose; the release is freed of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from faceloop.consent_gate import SPLIT_PURPOSES, ConsentParams, basis_for
from faceloop.params import section
from faceloop.runner import Workspace, hold
from facestore.consentbasis import Basis
from facestore.publish import put_in_place, read_manifest
from facestore.records import FaceEmbedding, ReleaseSample
from facestore.releasechanges import add_tombstones
from facestore.tables import read_columns

_REASON = "consent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What is withheld, and what still holds it. Counts."""

    footage: Mapping[str, int]  # by purpose
    reasons: Mapping[str, int]  # by code, over all purposes
    vectors: int  # run embed, then what follows it
    samples: int  # of the published release; `enforce` takes them out
    face_ids: tuple[str, ...]  # of those samples, sorted


def holdings(work: Workspace) -> Holdings:
    """Look; nothing is changed. Artifacts that are not there hold nothing."""
    consent = section(work.tree, "consent", ConsentParams)
    bases = {stage: basis_for(stage, work.path, work.ledger_url(), consent) for stage in ("embed", "select", "pack")}
    withheld = {purpose: held for basis in bases.values() for purpose, held in basis.withheld.reasons.items()}
    reasons: dict[str, int] = {}
    for held in withheld.values():
        for reason in held.values():
            reasons[reason] = reasons.get(reason, 0) + 1
    samples = _samples_of(work.path("release"), bases["pack"])
    return Holdings(
        footage={purpose: len(held) for purpose, held in sorted(withheld.items())},
        reasons=dict(sorted(reasons.items())),
        vectors=_vectors_of(work.path("embeddings"), withheld["recognition"]),
        samples=len(samples),
        face_ids=samples,
    )


def enforce(work: Workspace, *, wait_s: float = 0.0) -> Holdings:
    """Take withheld samples out of the published release by tombstones; what was found, and what the rest needs.

    Readers stop seeing them at once; their bytes leave with a compaction. Raises LeaseHeld while pack runs.
    """
    found = holdings(work)
    if found.face_ids:
        with hold(work, "pack", wait_s=wait_s) as lease:

            def put(staged: Path, release: Path) -> None:
                with lease.fenced():
                    put_in_place(staged, release)

            add_tombstones(work.path("release"), found.face_ids, _REASON, put=put)
    return found


def _samples_of(release: Path, basis: Basis) -> tuple[str, ...]:
    if read_manifest(release) is None:
        return ()
    table = read_columns(release, "samples", ReleaseSample, ("face_id", "footage_id", "split"))
    columns = (table[name].to_pylist() for name in ("face_id", "footage_id", "split"))
    return tuple(
        sorted(
            face
            for face, footage, split in zip(*columns, strict=True)
            if footage in basis.withheld.of(SPLIT_PURPOSES[split])
        )
    )


def _vectors_of(embeddings: Path, held: Mapping[str, str]) -> int:
    if read_manifest(embeddings) is None:
        return 0
    table = read_columns(embeddings, "faces", FaceEmbedding, ("footage_id",))
    return int(pc.sum(pc.is_in(table["footage_id"], pa.array(sorted(held), pa.string()))).as_py() or 0)
