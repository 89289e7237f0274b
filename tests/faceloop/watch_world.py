"""A small root whose figures can be counted by hand: two footages, six faces of three people, one release.

`spoil` publishes one of its tables anew, changed, with whatever it was made from as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from faceloop.params import read_params
from faceloop.runner import Workspace
from faceloop.watch.figures import figure
from facestore.ids import JsonValue, sha256_hex
from facestore.measurements import Measurement
from facestore.publish import fresh_partial, publish, read_manifest
from facestore.records import Assignment, Face, FaceEmbedding, Footage, Identity, Reading
from facestore.tables import write_table

from . import report_world
from .runner_world import open_root

IDS = tuple(sha256_hex(f"face {number}".encode())[:32] for number in range(6))
PERSON = ("person-1", "person-1", "person-1", "person-2", "person-2", None)
AXES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
CONTRACT = '{"contract_id":"contract-1"}\n'
Tables = Mapping[str, tuple[type[Any], Sequence[Any]]]
_STAGE = {"footage": "ingest", "faces": "detect", "embeddings": "embed", "assignments": "identify"}


def watched_root(root: Path, *overrides: str) -> Workspace:
    """Footage, faces, embeddings and assignments, published; each made from the one before."""
    work = open_root(root, read_params(Path(__file__).parents[2] / "params.yaml", [*overrides]))
    put(work, "footage", {"footage": (Footage, [report_world.footage(n, f"secret name {n}.mp4") for n in range(2)])})
    put(work, "faces", {"faces": (Face, faces()), "readings": (Reading, [reading(n) for n in range(2)])}, rejected=1)
    put(work, "embeddings", {"faces": (FaceEmbedding, vectors())}, text=CONTRACT)
    put(work, "assignments", {"assignments": (Assignment, labels()), "identities": (Identity, identities())}, pending=1)
    return work


def put(
    work: Workspace,
    artifact: str,
    tables: Tables,
    *,
    rejected: int = 0,
    pending: int = 0,
    text: str | None = None,
    counts: Mapping[str, JsonValue] | None = None,
) -> None:
    """Publish an artifact. Its counts follow from its first table unless `counts` says otherwise."""
    staging = fresh_partial(work.path(artifact), keep=False)
    rows = len(next(iter(tables.values()))[1])
    for name, (record, records) in tables.items():
        write_table(staging / "b000" / f"{name}.parquet", record, records)
    if text is not None:
        (staging / "contract.json").write_text(text)
    own: dict[str, JsonValue] = {
        "in": rows + (rejected if artifact != "faces" else 0),
        "published": rows - pending - (rejected if artifact == "faces" else 0),
        "rejected": {"extreme_pose": rejected} if rejected else {},
        "pending": {"singleton": pending} if pending else {},
        **(counts or {}),
    }
    earlier = {name: found.digest for name in _STAGE if (found := read_manifest(work.path(name))) and name != artifact}
    publish(work.path(artifact), stage=_STAGE[artifact], run_key=artifact, counts=own, inputs=earlier)


def faces(quality: float = 0.75, ids: Sequence[str] = IDS) -> list[Face]:
    """Six accepted faces with crops, and one that was rejected."""
    made = [replace(report_world.face(0, 0, has_crop=True), face_id=name, quality=quality) for name in ids]
    return [*made, replace(report_world.face(1, 1, has_crop=False), rejected="extreme_pose", quality=0.05)]


def vectors(turned: int = 0, factor: float = 1.0, count: int = 6) -> list[FaceEmbedding]:
    """Two faces on each axis; `turned` of them look along the first axis instead."""
    return [
        FaceEmbedding(
            face_id=IDS[number],
            tracklet_id="t",
            footage_id="footage0",
            contract_id="contract-1",
            embedding=tuple(factor * value for value in AXES[0 if number >= count - turned else number % 3]),
        )
        for number in range(count)
    ]


def labels(ids: Sequence[str] = IDS, people: Sequence[str | None] = PERSON) -> list[Assignment]:
    return [
        Assignment(
            face_id=face_id,
            identity_id=person,
            state="unknown" if person is None else "confirmed" if person == "person-1" else "proposed",
            confidence=0.5 if person is None else 0.9 if person == "person-1" else 0.7,
            source="auto",
            decision_id=None,
            via=None,
        )
        for face_id, person in zip(ids, people, strict=True)
    ]


def identities(sizes: Sequence[int] = (3, 2)) -> list[Identity]:
    """Active ones of these sizes, the first confirmed, and a retired one."""
    made = [_identity(number, size, is_active=True) for number, size in enumerate(sizes, start=1)]
    return [*made, _identity(9, 50, is_active=False)]


def values(found: Sequence[Measurement]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {(one.name, one.labels): one.value for one in found}


def value(found: Sequence[Measurement], name: str, **labels_of_it: str) -> float:
    wanted = figure(name, 0, **labels_of_it)
    return values(found)[wanted.name, wanted.labels]


def _identity(number: int, size: int, *, is_active: bool) -> Identity:
    return Identity(
        identity_id=f"person-{number}",
        is_active=is_active,
        seed_face_id="f",
        faces=size,
        tracklets=1,
        footage=1,
        subsets=1,
        best_face_id="f",
        mean_confidence=0.9,
        confirmed_faces=size if number == 1 else 0,
        name="Somebody's Real Name",
        successor=None,
    )


def reading(number: int) -> Reading:
    return Reading(
        footage_id=f"footage{number}",
        status="read",
        reason=None,
        frames_promised=50,
        frames_decoded=50,
        frames_looked_at=10,
        frames_near_duplicate=0,
        scene_cuts=0,
        faces=3,
        faces_rejected=0,
    )
