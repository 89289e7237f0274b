"""Bar B15, by photo: killed anywhere after somebody confirmed, the same command ends it; whom a photo finds, measured.

It cuts at every door of an erasure, and probes real photos of 164 people against those of 259.
"""

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from tests.faceloop.erasing_world import MEANS, NOW, assert_clean, copy_of, identity_of, of_others, publish_people
from tests.faceloop.mining_world import PERSON, PHOTOS, axis
from tests.faceloop.runner_world import open_root
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.clustering.calibration import BUILTIN_CONTRACT
from faceloop.decision_tables import export_decisions
from faceloop.erasure import probing, saga
from faceloop.erasure.likeness import ProbeFace, calibration_of, candidates_among, likenesses, look_at_probe
from faceloop.erasure.needles import Needles, search, vector_windows
from faceloop.erasure.probe_papers import Probe, probe_folder
from faceloop.erasure.saga import begin, find_waiting, go_on
from faceloop.params import read_params
from faceloop.restriction.subject import read_situation
from faceloop.runner import Workspace, run_stage
from facestore.errors import DataError
from facestore.records import Face, FaceEmbedding, Footage
from facestore.tables import read_table

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
LONG = os.environ.get("FACELOOP_LONG") == "1"
DOORS = (
    "restrict", "make_plan", "write_plan", "shred_keys", "clear_labelling", "remove_media", "exchange_artifacts",
    "change_releases", "clear_leftovers", "clear_copies", "purge_catalogue", "search_everywhere", "write_certificate",
)  # fmt: skip
pytestmark = pytest.mark.skipif(not LONG, reason="the short form is tests/faceloop/test_erase_probe.py")
FEWEST_PHOTOS = 4  # of a person who is probed: one is held out


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return publish_people(tmp_path_factory.mktemp("probed"))


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("is_done", [False, True], ids=["at", "after"])
def test_killed_after_it_was_confirmed_the_same_command_ends_it(
    published: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, door: str, is_done: bool
) -> None:
    work = copy_of(published, tmp_path)
    before = of_others(work)
    asked = _confirmed(work, tmp_path, monkeypatch)
    (tmp_path / "params.yaml").write_text(json.dumps(work.tree), encoding="utf-8")
    apply = [
        "erase", "apply", asked.probe_id, "--reason", "person_asked", "--yes", "--root", str(work.root), "--params",
        str(tmp_path / "params.yaml"),
    ]  # fmt: skip
    real = getattr(saga, door)

    def killed(*given: object, **named: object) -> None:
        if is_done:
            real(*given, **named)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(saga, door, killed)
        with pytest.raises(Killed):
            CliRunner().invoke(app, apply, catch_exceptions=False)
    waiting = find_waiting(work, asked.probe_id)
    done = CliRunner().invoke(app, apply)
    assert done.exit_code == 0, (done.output, done.exception)
    assert json.loads(done.stdout.splitlines()[-1])["faces"] == PHOTOS
    assert of_others(work) == before
    assert not probe_folder(work.root, asked.probe_id).exists()
    assert [one.state for one in saga.status(work)] == ["done"]
    if waiting is not None:
        assert_clean(work, waiting)


def _confirmed(work: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Probe:
    """A probe by a photo of person 1, whom somebody confirmed."""
    face = _seen()
    monkeypatch.setattr(probing, "look_at_probe", lambda work, photo, number: face)
    photo = folder / "photo"
    photo.write_bytes(b"a photo of somebody")
    asked = probing.ask(work, photo, face_number=None, least_sigmas=2.5, most=60, by="eve", now=NOW)
    subject = identity_of(work, 1)
    probing.confirm(work, asked.probe_id, candidates=[subject], faces=[], keep_probe=False, by="eve", now=NOW)
    return asked


def _seen() -> ProbeFace:
    vector = axis(1) + 0.02 * np.random.default_rng(9).standard_normal(64)
    return ProbeFace(
        vector=np.asarray(vector / np.linalg.norm(vector), np.float32),
        contract_id=BUILTIN_CONTRACT,
        picture_rgb=np.zeros((160, 160, 3), np.uint8),
    )


def test_on_an_encrypted_root_the_photo_finds_them_and_no_vector_lies_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = publish_people(tmp_path, is_encrypted=True)
    rows = read_table(work.path("embeddings"), "faces", FaceEmbedding)
    theirs = [np.array(row.embedding, np.float32) for row in rows if PERSON[row.face_id] == 1]
    for planted in ("half.npy", "single.json"):  # in the open, to be found by an erasure
        (work.root / planted).unlink()
    asked = _confirmed(work, tmp_path, monkeypatch)
    windows = [window for vector in (*theirs, _seen().vector) for window in vector_windows(vector)]
    assert search([work.root], Needles(windows)).held == ()
    faces, finding = probing.confirmed_faces(work, asked.probe_id)
    plan = begin(work, faces, by="eve", reason="person_asked", clock=lambda: NOW, finding=finding)
    go_on(work, plan.erasure_id, MEANS)
    assert_clean(work, plan)
    assert {PERSON[row.face_id] for row in read_table(work.path("faces"), "faces", Face)} == {0, 2, 3}


@pytest.mark.shared_data
@pytest.mark.skipif(not DATA.is_dir(), reason="the development data is not beside the checkout")
def test_a_photo_that_the_root_never_saw_finds_its_person_among_259(tmp_path: Path) -> None:
    wrong = set((DATA / "faces_dev_label_errors.txt").read_text(encoding="utf-8").split("\n"))
    probes = _hold_out(DATA / "faces_dev", tmp_path / "source", wrong)
    work = open_root(tmp_path / "root", read_params(ROOT / "params.yaml", [f"paths.source={tmp_path / 'source'}"]))
    for stage in ("ingest", "detect", "embed"):
        run_stage(work, stage)
    export_decisions(work)
    for stage in ("cluster", "identify"):
        run_stage(work, stage)
    theirs, groups = _faces_of(work, wrong), probing._groups(read_situation(work))
    found = faces = whole = first = most = 0
    for person, photo in probes.items():
        try:
            seen = look_at_probe(work, photo, None)
        except DataError:
            seen = look_at_probe(work, photo, 1)
        calibration = calibration_of(work, seen.contract_id)
        candidates = candidates_among(likenesses(work, seen), groups, calibration, probing.LEAST_SIGMAS)
        shown = {face for one in candidates for face in one.face_ids}
        found, faces = found + len(shown & theirs[person]), faces + len(theirs[person])
        whole += theirs[person] <= shown
        first += bool(candidates) and not theirs[person].isdisjoint(candidates[0].face_ids)
        most = max(most, len(candidates))
    figures = (
        f"{found} of {faces} faces, {whole} of {len(probes)} people whole, {first} first, {most} candidates at most"
    )
    assert found >= 0.98 * faces, figures
    assert first >= 0.98 * len(probes), figures
    assert most <= probing.MOST_CANDIDATES, figures


def _hold_out(source: Path, target: Path, wrong: set[str]) -> dict[str, Path]:
    """Copy the photos but for one of each person who has enough; that one by person."""
    probes = {}
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        photos = sorted(path for path in folder.iterdir() if path.is_file())
        sound = [path for path in photos if path.relative_to(source).as_posix() not in wrong]
        if len(sound) >= FEWEST_PHOTOS:
            probes[folder.name] = sound[0]
        for path in photos:
            if path != probes.get(folder.name):
                (target / folder.name).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target / folder.name / path.name)
    return probes


def _faces_of(work: Workspace, wrong: set[str]) -> Mapping[str, set[str]]:
    """The largest face of each photo, by the folder's person."""
    uri_of = {record.footage_id: record.uri for record in read_table(work.path("footage"), "footage", Footage)}
    largest: dict[str, Face] = {}
    for face in read_table(work.path("faces"), "faces", Face):
        known = largest.get(face.footage_id)
        if face.rejected is None and uri_of[face.footage_id] not in wrong:
            largest[face.footage_id] = face if known is None or face.size_px > known.size_px else known
    found: dict[str, set[str]] = defaultdict(set)
    for face in largest.values():
        found[Path(uri_of[face.footage_id]).parts[0]].add(face.face_id)
    return found
