"""Erasure by photo: found by likeness, confirmed by a person, erased as any subject is; of the photo nothing stays.

In a world of known vectors, where the photo's is given. What a real photo gives is in test_likeness.py; kills, an
encrypted root and recall on photos of many people are in tests/chaos/test_b15_probe.py.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.clustering.calibration import BUILTIN_CONTRACT
from faceloop.erasure import probing, saga, stores
from faceloop.erasure.finding import BY_FACES
from faceloop.erasure.likeness import ProbeFace
from faceloop.erasure.needles import Needles, search, vector_windows, windows_of
from faceloop.erasure.probe_papers import PAGE, PICTURE, PROBE, open_probes, probe_folder, read_probe
from faceloop.erasure.saga import begin, go_on
from faceloop.runner import Workspace
from facestore.errors import DataError, ErasureIncomplete
from facestore.images import encode_jpeg
from facestore.records import Assignment, Face
from facestore.tables import read_table

from .erasing_world import MEANS, NAME, NOW, assert_clean, copy_of, identity_of, of_others, publish_people
from .mining_world import PERSON, PHOTOS, axis, face_id, publish_world, turned

LOOSE = "f" * 32  # a face of person 1 that no cluster takes in
FILE_NAME = "annabel-at-home.jpg"


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return publish_people(tmp_path_factory.mktemp("erased"))


@pytest.fixture
def work(published: Workspace, tmp_path: Path) -> Workspace:
    return copy_of(published, tmp_path)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere" / FILE_NAME
    path.parent.mkdir()
    path.write_bytes(np.random.default_rng(7).bytes(4_000))
    return path


def seen_of(person: int) -> ProbeFace:
    noise = 0.02 * np.random.default_rng(9).standard_normal(64)
    vector = axis(person) + noise
    return ProbeFace(
        vector=np.asarray(vector / np.linalg.norm(vector), np.float32),
        contract_id=BUILTIN_CONTRACT,
        picture_rgb=np.random.default_rng(8).integers(0, 256, (160, 160, 3), np.uint8),
    )


@pytest.fixture(autouse=True)
def seen(monkeypatch: pytest.MonkeyPatch) -> ProbeFace:
    """What the photo is taken to show: person 1."""
    face = seen_of(1)
    monkeypatch.setattr(probing, "look_at_probe", lambda work, photo, number: face)
    return face


@pytest.fixture
def say(work: Workspace) -> Callable[..., Any]:
    (work.root.parent / "params.yaml").write_text(json.dumps(work.tree), encoding="utf-8")
    where = ["--root", str(work.root), "--params", str(work.root.parent / "params.yaml")]
    return lambda *words: CliRunner().invoke(app, ["erase", *words, *where])  # passes on what is no Exception


def told(result: Any) -> dict[str, object]:
    assert result.exit_code == 0, (result.output, result.exception)
    found: dict[str, object] = json.loads(result.stdout.splitlines()[-1])
    return found


def ask(work: Workspace, photo: Path) -> str:
    found = probing.ask(work, photo, face_number=None, least_sigmas=2.5, most=60, by="eve", now=NOW)
    return found.probe_id


def agree(work: Workspace, probe_id: str, *, whole: str, keep: bool = False) -> None:
    probing.confirm(work, probe_id, candidates=[whole], faces=[], keep_probe=keep, by="eve", now=NOW)


def test_a_photo_finds_the_person_somebody_confirms_and_every_byte_goes_while_others_stay(
    work: Workspace, photo: Path, say: Callable[..., Any]
) -> None:
    before, subject = of_others(work), identity_of(work, 1)
    asked = told(say("probe", str(photo), "--by", "eve"))
    assert asked["candidates"] == 1 and asked["faces"] == PHOTOS
    probe_id = str(asked["subject"])
    folder = probe_folder(work.root, probe_id)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert subject in (folder / PAGE).read_text(encoding="utf-8")
    assert "waits for a person" in say("status").output
    confirmed = told(say("confirm", probe_id, "--identity", subject, "--by", "ida", "--remove-photo", str(photo)))
    assert confirmed["faces_confirmed"] == PHOTOS and not photo.exists()
    assert told(say("plan", probe_id))["faces"] == PHOTOS
    faces, finding = probing.confirmed_faces(work, probe_id)
    plan = begin(work, faces, by="eve", reason="person_asked", clock=lambda: NOW, finding=finding)
    assert plan.identity_ids == (subject,), "an identity that keeps no face goes with its name"
    done = told(say("apply", probe_id, "--reason", "person_asked", "--yes"))  # of what was begun, and killed
    assert_clean(work, plan)
    assert search([work.root], Needles([NAME.encode(), subject.encode()])).held == ()
    assert of_others(work) == before
    paper = json.loads((work.root / str(done["certificate"])).read_text(encoding="utf-8"))
    assert paper["found_by"] == {
        "how": "probe", "probe_id": probe_id, "candidates_shown": 1, "candidates_confirmed": 1, "faces_shown": PHOTOS,
        "faces_confirmed": PHOTOS, "confirmed_by": "ida",
    }  # fmt: skip
    assert paper["erased"]["faces"] == PHOTOS
    assert not folder.exists()
    assert say("verify", str(work.root / str(done["certificate"]))).exit_code == 0
    photo.write_bytes(b"the same person once more")
    assert told(say("probe", str(photo)))["candidates"] == 0
    assert not list(work.root.glob("erasures/probe-*")), "nothing is kept where nobody resembles"


def test_a_face_that_no_cluster_took_in_is_found_and_erased(tmp_path: Path, photo: Path) -> None:
    look = turned(1, 40, 68.0) + 0.01 * np.random.default_rng(5).standard_normal(64)
    work = publish_world(tmp_path / "root", tmp_path / "source", {LOOSE: look})
    label_of = {row.face_id: row.identity_id for row in read_table(work.path("assignments"), "assignments", Assignment)}
    assert label_of.get(LOOSE) is None
    probe_id = ask(work, photo)
    found = {one.candidate_id: one for one in read_probe(work.root, probe_id).candidates}
    assert [*found] == [identity_of(work, 1), f"tracklet-t{LOOSE}"], "the most alike first"
    agree(work, probe_id, whole=f"tracklet-t{LOOSE}")
    faces, finding = probing.confirmed_faces(work, probe_id)
    plan = begin(work, faces, by="eve", reason="person_asked", clock=lambda: NOW, finding=finding)
    go_on(work, plan.erasure_id, MEANS)
    left = {row.face_id for row in read_table(work.path("faces"), "faces", Face)}
    assert left == set(PERSON), "the one that was confirmed, and no other"


def test_what_is_no_candidate_is_refused_and_nothing_changes(
    work: Workspace, photo: Path, say: Callable[..., Any]
) -> None:
    probe_id = ask(work, photo)
    kept = (probe_folder(work.root, probe_id) / PROBE).read_bytes()
    other, mine = identity_of(work, 2), face_id(1, 0)
    for words in (
        ("confirm", probe_id, "--identity", other),
        ("confirm", probe_id, "--identity", identity_of(work, 1), "--identity", other),
        ("confirm", probe_id, "--faces", face_id(2, 0)),
        ("confirm", probe_id, "--faces", f"{mine},{face_id(2, 0)}"),
        ("confirm", probe_id),
        ("confirm", probe_id, "--nobody", "--faces", mine),
        ("confirm", "probe-0000000000000000", "--faces", mine),
        ("confirm", f"probe-/../{probe_id}", "--faces", mine),
        ("confirm", probe_id, "--faces", mine, "--remove-photo", str(work.root / "notes.txt")),
        ("apply", probe_id, "--reason", "person_asked", "--yes"),
        ("apply", "--reason", "person_asked", "--yes"),
        ("apply", probe_id, "--faces", mine, "--reason", "person_asked", "--yes"),
    ):
        refused = say(*words)
        assert refused.exit_code != 0 and refused.exception is not None, words
        assert (probe_folder(work.root, probe_id) / PROBE).read_bytes() == kept, words
    assert saga.status(work) == []
    assert (work.root / "notes.txt").is_file()


def test_of_the_photo_nothing_is_kept_and_of_its_face_nothing_once_somebody_confirmed(
    work: Workspace, photo: Path, seen: ProbeFace
) -> None:
    file = [*windows_of(photo.read_bytes()), *vector_windows(seen.vector), FILE_NAME.encode()]
    face = windows_of(encode_jpeg(seen.picture_rgb, 90))
    probe_id = ask(work, photo)
    folder = probe_folder(work.root, probe_id)
    assert search([work.root], Needles(file)).held == ()
    assert {Path(name).name for name in search([work.root], Needles(face)).held} == {PAGE, PICTURE}
    agree(work, probe_id, whole=identity_of(work, 1), keep=True)
    assert {Path(name).name for name in search([work.root], Needles(face)).held} == {PAGE, PICTURE}
    agree(work, probe_id, whole=identity_of(work, 1))
    assert search([work.root], Needles([*file, *face])).held == ()
    assert {path.name for path in folder.iterdir()} == {PAGE, PROBE}
    assert "erase apply" in (folder / PAGE).read_text(encoding="utf-8")


def test_nobody_closes_a_probe_and_leaves_nothing_of_it(work: Workspace, photo: Path, say: Callable[..., Any]) -> None:
    probe_id = ask(work, photo)
    assert told(say("confirm", probe_id, "--nobody"))["faces_confirmed"] == 0
    assert list(open_probes(work.root)) == []
    assert not probe_folder(work.root, probe_id).exists()


def test_an_erasure_of_somebody_takes_every_page_that_shows_them_and_leaves_those_of_others(
    work: Workspace, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_them = ask(work, photo)
    monkeypatch.setattr(probing, "look_at_probe", lambda work, photo, number: seen_of(2))
    photo.write_bytes(b"somebody else")
    of_another = ask(work, photo)
    torn = probe_folder(work.root, "probe-" + "a" * 16)
    torn.mkdir()
    (torn / PAGE).write_text("left half-written")
    plan = begin(work, identity_of(work, 1), by="eve", reason="person_asked", clock=lambda: NOW)
    with monkeypatch.context() as forgetful:
        forgetful.setattr(stores, "drop_probes_showing", lambda *_: 0)
        with pytest.raises(ErasureIncomplete):
            go_on(work, plan.erasure_id, MEANS)
    assert probe_folder(work.root, of_them).is_dir()
    go_on(work, plan.erasure_id, MEANS)
    assert not probe_folder(work.root, of_them).exists()
    assert not torn.exists()
    assert [one.probe_id for one in open_probes(work.root)] == [of_another]
    assert_clean(work, plan)


def test_faces_that_somebody_knows_are_erased_without_a_photo_and_no_others(
    work: Workspace, say: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    subject, named = identity_of(work, 1), [face_id(1, 0), face_id(1, 3)]
    listing = work.root.parent / "faces.txt"
    listing.write_text("".join(f"{face[:12]}\n" for face in named))
    words = ("apply", "--faces", str(listing), "--reason", "person_asked", "--yes")
    with monkeypatch.context() as patch:
        patch.setattr(saga, "purge_catalogue", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            say(*words)
    done = told(say(*words))
    assert done["faces"] == 2
    left = {row.face_id for row in read_table(work.path("faces"), "faces", Face)}
    assert left == PERSON.keys() - set(named)
    assert identity_of_face(work, face_id(1, 1)) == subject, "who keeps faces stays, and the name too"
    paper = json.loads((work.root / str(done["certificate"])).read_text(encoding="utf-8"))
    assert paper["found_by"] == BY_FACES.as_json()
    assert NAME.encode() in (work.root / "ledger.sqlite3").read_bytes()
    for unknown in (face_id(1, 0), "0" * 32, ","):
        refused = say("apply", "--faces", unknown, "--reason", "person_asked", "--yes")
        assert refused.exit_code != 0


def identity_of_face(work: Workspace, face: str) -> str | None:
    labels = {row.face_id: row.identity_id for row in read_table(work.path("assignments"), "assignments", Assignment)}
    return labels[face]


def test_faces_that_are_not_there_are_refused_before_anything_is_written(work: Workspace) -> None:
    for faces in (frozenset[str](), frozenset({face_id(1, 0), "0" * 32})):
        with pytest.raises(DataError):
            begin(work, faces, by="eve", reason="person_asked", clock=lambda: NOW)
    assert saga.status(work) == []
