"""Four people with pictures that differ in every byte; person 1 is named, spoken of and copied everywhere."""

import base64
import copy
import json
import shutil
from datetime import UTC, datetime
from hashlib import md5
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceloop.decision_tables import with_decision_log, with_identity_log
from faceloop.erasure import saga
from faceloop.erasure.planning import Plan, plan_path
from faceloop.erasure.saga import Means, begin, go_on, search_everywhere
from faceloop.runner import Workspace, run_stage
from facestore.crops import CROPS_FILE, CropReader, CropWriter
from facestore.decisions import decide, identity_event
from facestore.ids import sha256_hex
from facestore.keys import init_keyring
from facestore.objects import open_store
from facestore.publish import MANIFEST, read_manifest, verify, write_manifest
from facestore.records import Assignment, Face, FaceEmbedding, Footage, ReleaseSample, TrackletTemplate
from facestore.rowpurge import rows_naming
from facestore.secretkeys import write_secret
from facestore.tables import column_matrix, read_columns, read_table

from .mining_world import PERSON, face_id, publish_world
from .runner_world import open_root

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAME = "Annabel Featherstone"
STEPS = ("keys", "labelling", "media", "artifacts", "releases", "leftovers", "copies", "catalogue")
MEANS = Means(clock=lambda: NOW)
TABLES = (
    ("footage", "footage", Footage),
    ("faces", "faces", Face),
    ("embeddings", "faces", FaceEmbedding),
    ("embeddings", "templates", TrackletTemplate),
    ("assignments", "assignments", Assignment),
)


def publish_people(folder: Path, *, is_encrypted: bool = False) -> Workspace:
    """The world in `folder/root`. Encrypted, its master key is in `folder/master.key`."""
    root = folder / "root"
    if is_encrypted:
        init_keyring(root, master_key=write_secret(folder / "master.key"), key_file=folder / "master.key")
    work = publish_world(root, folder / "source")
    rng = np.random.default_rng(3)
    manifest = read_manifest(work.path("crops"))
    assert manifest is not None
    with CropWriter(work.path("crops") / "b000") as crops:
        for face in sorted(PERSON):
            crops.put("aligned", face, rng.integers(0, 256, (112, 112, 3), np.uint8))
            crops.put("context", face, rng.integers(0, 256, (112, 112, 3), np.uint8))
    write_manifest(work.path("crops"), stage=manifest.stage, run_key=manifest.run_key, counts={}, inputs={})
    for stage in ("select", "pack"):
        run_stage(work, stage)
    named = identity_event("rename", identity_id=identity_of(work, 1), name=NAME, annotator="eve", happened_at=NOW)
    with_identity_log(work, lambda log: log.append([named], []))
    said = [
        decide("same", face_id=face_id(1, 0), other_face_id=face_id(1, 1), annotator="bob", decided_at=NOW),
        decide("same", face_id=face_id(0, 0), other_face_id=face_id(0, 1), annotator="bob", decided_at=NOW),
    ]
    with_decision_log(work, lambda log: log.append(said))
    plant(work)
    return work


def copy_of(published: Workspace, folder: Path, **paths: str) -> Workspace:
    """A copy of the whole world, with other `paths` of the parameters, such as `ledger`."""
    shutil.copytree(published.root.parent, folder, dirs_exist_ok=True)
    tree = copy.deepcopy(published.tree)
    known = tree["paths"]
    assert isinstance(known, dict)
    known |= {"source": str(folder / "source"), **paths}
    return open_root(folder / "root", tree)


def plant(work: Workspace) -> None:
    """Copies of the person: pages, notes, vectors, half-done work, a release, a cache and a remote of DVC, media."""
    jpeg, root = jpeg_of(work), work.root
    vector = vector_of(work)
    (root / "report").mkdir()
    (root / "report" / "index.html").write_text(f"<img src='data:,{base64.b64encode(jpeg).decode()}'>")
    (root / "notes.txt").write_text(f"spoke with {NAME}")
    (root / "window.bin").write_bytes(b"\0" * 5_000 + jpeg + b"\0" * 77)
    (root / "half.npy").write_bytes(b"\x93NUMPY" + vector.astype("<f2").tobytes())
    (root / "single.json").write_text(json.dumps({"v": base64.b64encode(b"." + vector.tobytes()).decode()}))
    (root / "faces.partial" / "b000").mkdir(parents=True)
    shutil.copy(root / "faces" / "faces.parquet", root / "faces.partial" / "b000" / "faces.parquet")
    (root / ".crops.t7.detect").mkdir()
    (root / ".crops.t7.detect" / "torn.lmdb").write_bytes(b"\0" * 5_000 + jpeg + b"\0" * 77)
    shutil.copytree(root / "release", root / "releases" / "kept")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("['remote \"away\"']\n    url = ../../remote\n")
    for home in (root / ".dvc" / "cache", root.parent / "remote"):
        copied = (root / "embeddings" / "faces.parquet", root / "crops" / "b000" / CROPS_FILE)
        listed = [{"md5": into_cache(home, path.read_bytes()), "relpath": path.name} for path in copied]
        into_cache(home, json.dumps(listed).encode(), ".dir")
        into_cache(home, b"nothing of anybody, and it stays")
    put_media(work)


def put_media(work: Workspace) -> None:
    """The bytes that each footage has its id from, and something of nobody."""
    store = open_store(work.external("objects"), may_link=False)
    waiting = work.root.parent / "media"
    for payload in (b"not a real photo " * 50, *(name.encode() for name in sorted(PERSON))):
        waiting.write_bytes(payload)
        digest = sha256_hex(payload)
        store.put(f"media/{digest[:2]}/{digest}", waiting)
    waiting.unlink()


def jpeg_of(work: Workspace, person: int = 1) -> bytes:
    return CropReader(work.path("crops")).jpeg("aligned", f"b000/{face_id(person, 0)}")


def vector_of(work: Workspace, person: int = 1) -> NDArray[np.float32]:
    table = read_columns(work.path("embeddings"), "faces", FaceEmbedding, ("face_id", "embedding"))
    row = table["face_id"].to_pylist().index(face_id(person, 0))
    return np.asarray(column_matrix(table, "embedding")[row], np.float32)


def into_cache(home: Path, payload: bytes, ending: str = "") -> str:
    digest = md5(payload, usedforsecurity=False).hexdigest()
    path = home / "files" / "md5" / digest[:2] / (digest[2:] + ending)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(payload)
    return digest


def identity_of(work: Workspace, person: int) -> str:
    rows = {row.face_id: row for row in read_table(work.path("assignments"), "assignments", Assignment)}
    found = rows[face_id(person, 0)].identity_id
    assert found is not None
    return found


def of_others(work: Workspace) -> dict[str, list[str]]:
    """Each record of the three others, by store: what must be equal before and after."""
    found: dict[str, list[str]] = {}
    theirs = {mark for face, person in PERSON.items() if person != 1 for mark in (face, sha256_hex(face.encode()))}
    for artifact, name, record in TABLES:
        rows = read_table(work.path(artifact), name, record)  # type: ignore[type-var]
        found[f"{artifact}/{name}"] = [
            repr(row) for row in rows if {getattr(row, "face_id", None), getattr(row, "footage_id", None)} & theirs
        ]
    crops = CropReader(work.path("crops"))
    others = [face for face, person in sorted(PERSON.items()) if person != 1]
    found["crops"] = [sha256_hex(crops.jpeg("aligned", f"b000/{face}")) for face in others]
    samples = read_table(work.path("release"), "samples", ReleaseSample)
    found["release"] = sorted(sample.sha256 for sample in samples if PERSON[sample.face_id] != 1)
    said = with_decision_log(work, lambda log: list(log.all()))
    found["decisions"] = [repr(one) for one in said if {one.face_id, one.other_face_id} & theirs]
    store = open_store(work.external("objects"), may_link=False)
    found["media"] = []
    for digest in sorted(theirs - set(PERSON)):
        with store.local(f"media/{digest[:2]}/{digest}") as path:
            found["media"].append(sha256_hex(path.read_bytes()))
    return found


def start(work: Workspace) -> Plan:
    return begin(work, identity_of(work, 1), by="eve", reason="person_asked", clock=lambda: NOW)


def erase(work: Workspace, means: Means = MEANS) -> Plan:
    plan = start(work)
    go_on(work, plan.erasure_id, means)
    return plan


def assert_clean(work: Workspace, plan: Plan, means: Means = MEANS) -> None:
    assert search_everywhere(work, plan, means).held == ()
    assert rows_naming(work.ledger_url(), plan.ids) == {}
    assert not plan_path(work.root, plan.erasure_id).exists()
    assert [one.state for one in saga.status(work)] == ["done"]
    for paper in work.root.rglob(MANIFEST):
        verify(paper.parent)
