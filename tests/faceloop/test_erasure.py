"""Erasure (bar B15): after it no file of any store holds a byte of the person, whenever it was killed; others stay."""

import base64
import json
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import md5
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.decision_tables import with_decision_log, with_identity_log
from faceloop.erasure import saga, stores
from faceloop.erasure.certificate import verify_certificate
from faceloop.erasure.needles import Needles, search, windows_of
from faceloop.erasure.planning import Plan, plan_path
from faceloop.erasure.saga import Means, begin, go_on, search_everywhere
from faceloop.runner import Workspace, run_stage
from facestore.ciphers import Signer
from facestore.crops import CROPS_FILE, CropReader, CropWriter
from facestore.decisions import decide, identity_event
from facestore.erasures import is_erased
from facestore.errors import DataError, ErasureIncomplete
from facestore.ids import sha256_hex
from facestore.objects import open_store
from facestore.publish import MANIFEST, read_manifest, verify, write_manifest
from facestore.records import Assignment, Face, FaceEmbedding, Footage, ReleaseSample, TrackletTemplate
from facestore.refs import read_pepper, subject_ref
from facestore.rowpurge import rows_naming
from facestore.tables import read_table

from .mining_world import PERSON, PHOTOS, face_id, publish_world
from .runner_world import open_root

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAME = "Annabel Featherstone"
STEPS = ("keys", "labelling", "media", "artifacts", "releases", "leftovers", "copies", "catalogue")
MEANS = Means(clock=lambda: NOW)


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Four people with pictures that differ in every byte, and person 1 named, spoken of and copied everywhere."""
    folder = tmp_path_factory.mktemp("erased")
    work = publish_world(folder / "root", folder / "source")
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
    subject = identity_of(work, 1)
    named = identity_event("rename", identity_id=subject, name=NAME, annotator="eve", happened_at=NOW)
    with_identity_log(work, lambda log: log.append([named], []))
    said = [
        decide("same", face_id=face_id(1, 0), other_face_id=face_id(1, 1), annotator="bob", decided_at=NOW),
        decide("same", face_id=face_id(0, 0), other_face_id=face_id(0, 1), annotator="bob", decided_at=NOW),
    ]
    with_decision_log(work, lambda log: log.append(said))
    plant(work)
    return work


@pytest.fixture
def work(published: Workspace, tmp_path: Path) -> Workspace:
    return copy_of(published, tmp_path)


def copy_of(published: Workspace, folder: Path) -> Workspace:
    shutil.copytree(published.root.parent, folder, dirs_exist_ok=True)
    return open_root(folder / "root", published.tree)


def plant(work: Workspace) -> None:
    """Copies of the person in every kind of place: a cache and a remote of DVC, half-done work, pages, a copy."""
    jpeg = CropReader(work.path("crops")).jpeg("aligned", f"b000/{face_id(1, 0)}")
    root = work.root
    (root / "report").mkdir()
    (root / "report" / "index.html").write_text(f"<img src='data:,{base64.b64encode(jpeg).decode()}'>")
    (root / "notes.txt").write_text(f"spoke with {NAME}")
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
    store = open_store(work.external("objects"), may_link=False)
    waiting = root.parent / "media"
    waiting.write_bytes(b"not a real photo " * 50)
    digest = sha256_hex(waiting.read_bytes())
    store.put(f"media/{digest[:2]}/{digest}", waiting)


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
    """Each record of the three others, by table: what must be equal before and after."""
    found: dict[str, list[str]] = {}
    for artifact, name, record in (
        ("footage", "footage", Footage),
        ("faces", "faces", Face),
        ("embeddings", "faces", FaceEmbedding),
        ("embeddings", "templates", TrackletTemplate),
        ("assignments", "assignments", Assignment),
    ):
        theirs = {mark for face, person in PERSON.items() if person != 1 for mark in (face, sha256_hex(face.encode()))}
        rows = read_table(work.path(artifact), name, record)  # type: ignore[type-var]
        found[f"{artifact}/{name}"] = [
            repr(row) for row in rows if {getattr(row, "face_id", None), getattr(row, "footage_id", None)} & theirs
        ]
    crops = CropReader(work.path("crops"))
    others = [face for face, person in sorted(PERSON.items()) if person != 1]
    found["crops"] = [sha256_hex(crops.jpeg("aligned", f"b000/{face}")) for face in others]
    samples = read_table(work.path("release"), "samples", ReleaseSample)
    found["release"] = sorted(sample.sha256 for sample in samples if PERSON[sample.face_id] != 1)
    return found


def erase(work: Workspace) -> Plan:
    plan = begin(work, identity_of(work, 1), by="eve", reason="person_asked", clock=lambda: NOW)
    go_on(work, plan.erasure_id, MEANS)
    return plan


def assert_clean(work: Workspace, plan: Plan) -> None:
    assert search_everywhere(work, plan, MEANS).held == ()
    assert rows_naming(work.ledger_url(), plan.ids) == {}
    assert not plan_path(work.root, plan.erasure_id).exists()
    assert [one.state for one in saga.status(work)] == ["done"]
    for paper in work.root.rglob(MANIFEST):
        verify(paper.parent)


def test_after_an_erasure_no_file_of_any_store_holds_the_person_and_others_are_as_they_were(work: Workspace) -> None:
    before = of_others(work)
    plan = begin(work, identity_of(work, 1), by="eve", reason="person_asked", clock=lambda: NOW)
    assert (len(plan.face_ids), len(plan.footage_ids), len(plan.shared_footage_ids)) == (PHOTOS, PHOTOS, 0)
    held = search_everywhere(work, plan, MEANS).held
    root = str(work.root)
    for place in ("ledger.sqlite3", "embeddings/", "release/", "releases/kept", ".dvc/cache", "notes.txt", "report/"):
        assert any(name.startswith(f"{root}/{place}") for name in held), place
    assert any(name.startswith(str(work.root.parent / "remote")) for name in held)
    done = go_on(work, plan.erasure_id, MEANS)
    assert_clean(work, plan)
    assert of_others(work) == before
    kept = {PERSON[row.face_id] for row in read_table(work.root / "releases" / "kept", "samples", ReleaseSample)}
    assert kept == {0, 2, 3}
    stays = [path for path in (work.root / ".dvc" / "cache").rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in stays] == [b"nothing of anybody, and it stays"]
    paper = (work.root / done.place).read_text(encoding="utf-8")
    assert plan.search_for().found_in(paper.encode()) == set()
    assert json.loads(paper)["searched"]["held"] == 0


def test_the_next_runs_do_not_bring_the_person_back_and_publish_the_others(work: Workspace) -> None:
    plan = erase(work)
    for stage in ("cluster", "identify", "select", "pack"):
        run_stage(work, stage)
    assert {PERSON[row.face_id] for row in read_table(work.path("release"), "samples", ReleaseSample)} == {0, 2, 3}
    assert search_everywhere(work, plan, MEANS).held == ()
    refs = {subject_ref(read_pepper(work.root), one): one for one in plan.footage_ids}
    assert is_erased(work.ledger_url(), {*refs, "0" * 64}) == set(refs)


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_and_called_again_it_ends_clean(
    work: Workspace, monkeypatch: pytest.MonkeyPatch, step: str, is_done: bool
) -> None:
    before = of_others(work)
    plan = begin(work, identity_of(work, 1), by="eve", reason="person_asked", clock=lambda: NOW)
    real = saga._steps

    def steps(work: Workspace, plan: Plan, means: Means) -> object:
        for name, do in real(work, plan, means):
            yield name, (lambda do=do: killed(do)) if name == step else do

    def killed(do: Callable[[], object]) -> object:
        if is_done:
            do()
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(saga, "_steps", steps)
        with pytest.raises(Killed):
            go_on(work, plan.erasure_id, MEANS)
    again = begin(work, plan.subject_id, by="eve", reason="person_asked", clock=lambda: NOW)
    assert again == plan  # it is gone on with, not begun anew
    go_on(work, again.erasure_id, MEANS)
    assert_clean(work, plan)
    assert of_others(work) == before


def test_killed_before_its_plan_went_the_next_command_takes_the_plan_away(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan holds names and windows of pictures: one that nobody goes on with may not stay."""
    plan = begin(work, identity_of(work, 1), by="eve", reason="person_asked", clock=lambda: NOW)
    kept = plan_path(work.root, plan.erasure_id).read_bytes()
    go_on(work, plan.erasure_id, MEANS)
    for erasure_id in (plan.erasure_id, "0" * 16):  # ended; and killed before it was written down
        path = plan_path(work.root, erasure_id)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(kept)
    other = begin(work, identity_of(work, 2), by="eve", reason="person_asked", clock=lambda: NOW)
    plans = sorted((work.root / "erasures").glob("*/plan.json*"))
    assert plans == [plan_path(work.root, other.erasure_id)]


@pytest.mark.parametrize("call", ["complete_exchange", "end_exchange"])
def test_killed_inside_the_exchange_of_artifacts_it_ends_clean(
    work: Workspace, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    plan = begin(work, identity_of(work, 1), by="eve", reason="person_asked", clock=lambda: NOW)
    with monkeypatch.context() as patch:
        patch.setattr(stores, call, lambda journal: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            go_on(work, plan.erasure_id, MEANS)
    go_on(work, plan.erasure_id, MEANS)
    assert_clean(work, plan)


def test_a_plain_delete_leaves_bytes_which_the_search_finds(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def plain_delete(work: Workspace, plan: Plan) -> dict[str, int]:
        with sqlite3.connect(work.root / work.paths.ledger) as database:
            database.execute("PRAGMA secure_delete=OFF")
            triggers = database.execute("SELECT name FROM sqlite_master WHERE type='trigger'").fetchall()
            for (name,) in triggers:
                database.execute(f"DROP TRIGGER {name}")
            database.execute("DELETE FROM decision")
            database.execute("DELETE FROM identity_event")
        database.close()
        return {}

    monkeypatch.setattr(saga, "purge_catalogue", plain_delete)
    plan = begin(work, identity_of(work, 1), by="eve", reason="person_asked", clock=lambda: NOW)
    with pytest.raises(ErasureIncomplete):
        go_on(work, plan.erasure_id, MEANS)
    assert rows_naming(work.ledger_url(), plan.ids) == {}  # no row is there, but its bytes are
    monkeypatch.undo()
    go_on(work, plan.erasure_id, MEANS)
    assert_clean(work, plan)


@pytest.mark.parametrize("forgotten", ["change_releases", "clear_leftovers", "clear_copies", "exchange_artifacts"])
def test_a_store_that_is_forgotten_is_never_certified(
    work: Workspace, monkeypatch: pytest.MonkeyPatch, forgotten: str
) -> None:
    monkeypatch.setattr(saga, forgotten, lambda *_: {})
    if forgotten != "clear_leftovers":
        monkeypatch.setattr(saga, "clear_leftovers", lambda *_: {})
    plan = begin(work, identity_of(work, 1), by="eve", reason="person_asked", clock=lambda: NOW)
    with pytest.raises(ErasureIncomplete):
        go_on(work, plan.erasure_id, MEANS)
    assert [one.state for one in saga.status(work)] == ["under_way"]


def test_a_signed_certificate_holds_until_a_byte_of_it_changes(work: Workspace) -> None:
    plan = begin(work, identity_of(work, 1), by="eve", reason="person_asked", clock=lambda: NOW)
    done = go_on(work, plan.erasure_id, Means(clock=lambda: NOW, signer=Signer(b"s" * 32)))
    path = work.root / done.place
    found = verify_certificate(work, path)
    assert found.holds
    assert found.public_key == Signer(b"s" * 32).public_key().hex()
    path.write_text(path.read_text().replace('"faces": 6', '"faces": 5'))
    assert not verify_certificate(work, path).holds


def test_the_command_asks_first_and_says_neither_name_nor_face(work: Workspace) -> None:
    subject = identity_of(work, 1)
    (work.root.parent / "params.yaml").write_text(json.dumps(work.tree), encoding="utf-8")
    where = ["--root", str(work.root), "--params", str(work.root.parent / "params.yaml")]
    asked = ["erase", "apply", NAME, "--by", "eve", "--reason", "person_asked", *where]
    refused = CliRunner().invoke(app, asked, input="n\n")
    assert refused.exit_code == 1
    assert saga.status(work) == []
    done = CliRunner().invoke(app, [*asked, "--yes"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[-1])
    assert NAME not in done.output
    assert not any(face in done.output for face in PERSON)
    paper = str(work.root / told["certificate"])
    assert CliRunner().invoke(app, ["erase", "verify", paper, *where]).exit_code == 0
    listed = CliRunner().invoke(app, ["erase", "status", *where], catch_exceptions=False)
    assert json.loads(listed.stdout)["state"] == "done"
    with pytest.raises(DataError):
        begin(work, subject, by="eve", reason="person_asked")


def test_needles_are_found_across_chunks_and_inside_compressed_tables(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    needle = rng.bytes(48)
    path = tmp_path / "large"
    for start in (0, (8 << 20) - 20, (8 << 20) + 5_000):
        payload = bytearray(rng.bytes((8 << 20) + 10_000))
        payload[start : start + 48] = needle
        path.write_bytes(payload)
        assert Needles([needle]).in_file(path)
        assert not Needles([rng.bytes(48)]).in_file(path)
    text = base64.b64encode(b"x" + needle * 4)
    assert Needles(windows_of(needle * 4)).found_in(text)
    assert search([tmp_path], Needles([b"/large/.."[:8], b"no such!"])).held == ()
