"""Erasure (bar B15): after it no file of any store holds a byte of the person, whenever it was killed; others stay.

Other stores, real kills and the full form: tests/chaos/test_b15_erasure.py.
"""

import base64
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.erasure import planning, saga, stores
from faceloop.erasure.certificate import verify_certificate
from faceloop.erasure.labelling import DATABASE, Labelling, clear_labelling
from faceloop.erasure.needles import Needles, search, windows_of
from faceloop.erasure.planning import HELD, Plan, plan_path
from faceloop.erasure.saga import Means, begin, go_on, search_everywhere
from faceloop.export.gallery_denials import DENIED, deny, mark_of
from faceloop.export.gallery_shelf import GALLERIES
from faceloop.runner import Workspace, run_stage
from facestore.ciphers import Signer
from facestore.erasures import is_erased
from facestore.errors import DataError, ErasureIncomplete
from facestore.records import ReleaseSample
from facestore.refs import read_pepper, subject_ref
from facestore.rowpurge import rows_naming
from facestore.tables import read_table

from .erasing_world import (
    MEANS,
    NAME,
    NOW,
    assert_clean,
    copy_of,
    erase,
    identity_of,
    jpeg_of,
    of_others,
    publish_people,
    start,
)
from .mining_world import PERSON, PHOTOS, face_id


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return publish_people(tmp_path_factory.mktemp("erased"))


@pytest.fixture
def work(published: Workspace, tmp_path: Path) -> Workspace:
    return copy_of(published, tmp_path)


def test_after_an_erasure_no_file_of_any_store_holds_the_person_and_others_are_as_they_were(work: Workspace) -> None:
    before = of_others(work)
    plan = start(work)
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


def test_the_users_own_files_stay_where_the_source_lies_in_the_root_as_params_say(
    published: Workspace, tmp_path: Path
) -> None:
    films = tmp_path / "root" / "films"
    work = copy_of(published, tmp_path, source=str(films))
    plan = start(work)
    mine = [films / plan.locations[0], films / "party.old" / "film.mp4", films / "download.partial"]
    for film in mine:
        film.parent.mkdir(parents=True, exist_ok=True)
        film.write_bytes(plan.face_ids[0].encode())  # whatever it holds of the person
    go_on(work, plan.erasure_id, MEANS)
    assert all(film.is_file() for film in mine)


def test_no_denial_keeps_a_mark_of_an_erased_face_and_those_of_others_stay(work: Workspace) -> None:
    shelf = work.root / GALLERIES
    deny(shelf, "consent of two", [face_id(1, 0), face_id(2, 0)])
    deny(shelf, "consent of one", [face_id(1, 1)])
    erase(work)
    (left,) = (shelf / DENIED).glob("*.json")
    assert json.loads(left.read_text(encoding="utf-8"))["faces"] == [mark_of(face_id(2, 0))]


def test_the_next_runs_do_not_bring_the_person_back_and_publish_the_others(work: Workspace) -> None:
    plan = erase(work)
    for stage in ("cluster", "identify", "select", "pack"):
        run_stage(work, stage)
    assert {PERSON[row.face_id] for row in read_table(work.path("release"), "samples", ReleaseSample)} == {0, 2, 3}
    assert search_everywhere(work, plan, MEANS).held == ()
    refs = {subject_ref(read_pepper(work.root), one): one for one in plan.footage_ids}
    assert is_erased(work.ledger_url(), {*refs, "0" * 64}) == set(refs)


def test_killed_before_its_plan_went_the_next_command_takes_the_plan_away(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan holds names and windows of pictures: one that nobody goes on with may not stay."""
    plan = start(work)
    kept = plan_path(work.root, plan.erasure_id).read_bytes()
    go_on(work, plan.erasure_id, MEANS)
    for erasure_id in (plan.erasure_id, "0" * 16):  # ended; and killed before it was written down
        path = plan_path(work.root, erasure_id)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(kept)
    other = begin(work, identity_of(work, 2), by="eve", reason="person_asked", clock=lambda: NOW)
    plans = sorted((work.root / "erasures").glob("*/plan.json*"))
    assert plans == [plan_path(work.root, other.erasure_id)]


def test_killed_before_its_plan_went_asking_for_the_certificate_takes_the_plan_away(work: Workspace) -> None:
    plan = start(work)
    path = plan_path(work.root, plan.erasure_id)
    kept = path.read_bytes()
    go_on(work, plan.erasure_id, MEANS)
    path.write_bytes(kept)
    ended = saga.find_ended(work, plan.subject_id)
    assert ended is not None
    assert ended.erasure_id == plan.erasure_id
    assert not path.exists()
    assert search_everywhere(work, plan, MEANS).held == ()


@pytest.mark.parametrize("call", ["complete_exchange", "end_exchange"])
def test_killed_inside_the_exchange_of_artifacts_it_ends_clean(
    work: Workspace, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    plan = start(work)
    with monkeypatch.context() as patch:
        patch.setattr(stores, call, lambda journal: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            go_on(work, plan.erasure_id, MEANS)
    go_on(work, plan.erasure_id, MEANS)
    assert_clean(work, plan)
    gone = saga.status(work)[0].steps["artifacts"]
    assert isinstance(gone, dict)
    assert (gone["faces"], gone["crops"]) == (PHOTOS, 2 * PHOTOS)  # what the killed call counted


def test_an_erasure_that_is_done_gives_its_certificate_and_does_nothing(work: Workspace) -> None:
    plan = start(work)
    done = go_on(work, plan.erasure_id, MEANS)
    paper = (work.root / done.place).read_bytes()
    assert go_on(work, plan.erasure_id, replace(MEANS, search_too=(work.root.parent / "no such",))) == done
    assert (work.root / done.place).read_bytes() == paper
    (work.root / done.place).unlink()
    with pytest.raises(DataError, match="restore it from a backup"):
        go_on(work, plan.erasure_id, MEANS)


def test_of_a_labelling_servers_folder_what_holds_the_person_goes_and_free_pages_too(work: Workspace) -> None:
    plan, folder = replace(start(work), tasks=(("one", 7), ("one", 8))), work.root.parent / "label-studio"
    (folder / "media" / "upload" / "1").mkdir(parents=True)
    mine, of_another = folder / "media" / "upload" / "1" / "a.jpg", folder / "media" / "upload" / "1" / "b.jpg"
    mine.write_bytes(b"before" + jpeg_of(work))
    of_another.write_bytes(jpeg_of(work, person=2))
    with closing(sqlite3.connect(folder / DATABASE)) as database:
        database.execute("PRAGMA secure_delete=OFF")
        database.execute("CREATE TABLE task (said TEXT)")
        database.execute("INSERT INTO task VALUES (?)", [NAME])
        database.execute("DELETE FROM task")
        database.commit()
    needles, deleted = plan.search_for(), list[int]()
    assert len(search([folder], needles).held) == 2

    def delete(task_id: int) -> int:
        deleted.append(task_id)
        return 1

    told = clear_labelling(work, plan, Labelling(delete_task=delete, folder=folder))
    assert search([folder], needles).held == ()
    assert of_another.is_file()
    assert told == {"tasks": 2, "projects": 1, "uploads": 2, "questions": 0, "files": 1}
    assert deleted == [7, 8]
    elsewhere = clear_labelling(work, plan, Labelling(delete_task=delete))
    assert isinstance(elsewhere, dict)
    assert "2 uploaded files" in str(elsewhere["then"])
    assert "VACUUM" in str(elsewhere["then"])
    unnamed = clear_labelling(work, plan, None)
    assert isinstance(unnamed, dict)
    assert unnamed["left"] == 2


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
    plan = start(work)
    listed = plan_path(work.root, plan.erasure_id).with_name(HELD)
    with pytest.raises(ErasureIncomplete, match=str(listed.relative_to(work.root))):
        go_on(work, plan.erasure_id, MEANS)
    assert rows_naming(work.ledger_url(), plan.ids) == {}  # no row is there, but its bytes are
    named = [Path(line).name for line in listed.read_text(encoding="utf-8").splitlines()]
    assert named
    assert all(name.startswith(work.paths.ledger) for name in named)
    assert listed.stat().st_mode & 0o777 == 0o600
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
    plan = start(work)
    with pytest.raises(ErasureIncomplete):
        go_on(work, plan.erasure_id, MEANS)
    assert [one.state for one in saga.status(work)] == ["under_way"]


def test_a_signed_certificate_holds_until_a_byte_of_it_changes(work: Workspace) -> None:
    plan = start(work)
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
    again = ["erase", "apply", "--by", "eve", "--reason", "person_asked", "--yes", *where]
    for known in (subject, told["erasure"]):
        retried = CliRunner().invoke(app, [*again, known], catch_exceptions=False)
        assert (retried.exit_code, json.loads(retried.stdout)) == (0, told), "a task that is retried ends the same"
    assert CliRunner().invoke(app, [*again, NAME]).exit_code != 0, "a name leads to nobody any more"
    assert len(saga.status(work)) == 1
    with pytest.raises(DataError):
        begin(work, subject, by="eve", reason="person_asked")


def test_needles_are_found_across_chunks_and_inside_compressed_tables(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    needle = rng.bytes(48)
    path = tmp_path / "large"
    for place in (0, (8 << 20) - 20, (8 << 20) + 5_000):
        payload = bytearray(rng.bytes((8 << 20) + 10_000))
        payload[place : place + 48] = needle
        path.write_bytes(payload)
        assert Needles([needle]).in_file(path)
        assert not Needles([rng.bytes(48)]).in_file(path)
    text = base64.b64encode(b"x" + needle * 4)
    assert Needles(windows_of(needle * 4)).found_in(text)
    assert search([tmp_path], Needles([b"/large/.."[:8], b"no such!"])).held == ()


def test_bytes_that_the_footage_of_others_holds_too_are_not_taken_for_the_person(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of one wall behind two people."""
    monkeypatch.setattr(planning, "windows_of", lambda payload: [face_id(2, 0).encode()])
    assert_clean(work, erase(work))


def test_of_a_file_with_two_names_both_are_found(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"0123456789 and more")
    (tmp_path / "other").hardlink_to(tmp_path / "one")
    found = search([tmp_path], Needles([b"0123456789"]))
    assert [Path(name).name for name in found.held] == ["one", "other"]
    assert found.files == 1


def test_a_release_that_a_kill_left_between_its_two_names_is_not_taken_for_a_leftover(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = of_others(work)
    plan = start(work)

    def killed_between(work: Workspace, plan: Plan) -> None:
        (work.root / "release").rename(work.root / "release.old")
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(saga, "change_releases", killed_between)
        with pytest.raises(Killed):
            go_on(work, plan.erasure_id, MEANS)
    go_on(work, plan.erasure_id, MEANS)
    assert {PERSON[row.face_id] for row in read_table(work.path("release"), "samples", ReleaseSample)} == {0, 2, 3}
    assert of_others(work) == before
    assert_clean(work, plan)
