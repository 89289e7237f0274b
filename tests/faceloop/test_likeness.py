"""What a photo of somebody gives: its face, whom that resembles, and a page on which nobody else can be recognised."""

import json
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from faceloop.cli import main
from faceloop.clustering.calibration import builtin_calibration
from faceloop.decision_tables import export_decisions
from faceloop.erasure import likeness, probing
from faceloop.erasure.candidates_page import alone
from faceloop.erasure.likeness import candidates_among, likenesses, look_at_probe
from faceloop.erasure.probe_papers import PAGE, open_probes
from faceloop.erasure.probing import unseen_beside
from faceloop.footage.apart import read_photo_apart
from faceloop.footage.decode import Picture
from faceloop.footage.limits import DecoderLimits
from faceloop.runner import Workspace, run_stage
from faceloop.sample.photos import ASTRONAUT, GROUP, OFFICER, read_photo
from faceloop.vision.arrays import UInt8Array
from facestore.auditlog import AuditLog
from facestore.errors import ContractMismatch, DataError, MediaError
from facestore.records import Face, Footage
from facestore.tables import read_table

from .erasing_world import NOW
from .runner_world import open_root, run_chain, tree_of

CALIBRATION = builtin_calibration()
cosines = st.dictionaries(st.text("abcdef", min_size=4, max_size=4), st.floats(-1, 1), max_size=30)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two people: the astronaut on two photos, the officer on one."""
    folder = tmp_path_factory.mktemp("people")
    (folder / "source").mkdir()
    astronaut = read_photo(ASTRONAUT)
    Image.fromarray(astronaut).save(folder / "source" / "one.png")
    Image.fromarray(np.ascontiguousarray(astronaut[:400, 60:440])).save(folder / "source" / "two.jpg", quality=90)
    Image.fromarray(read_photo(OFFICER)).save(folder / "source" / "three.jpg", quality=92)
    work = open_root(folder / "root", tree_of(folder / "source", "ingest.batches=1"))
    run_chain(work)
    export_decisions(work)
    for stage in ("cluster", "identify"):
        run_stage(work, stage)
    (folder / "params.yaml").write_text(json.dumps(work.tree), encoding="utf-8")
    return work


def picture(path: Path, image: UInt8Array) -> Path:
    Image.fromarray(image).save(path, quality=85)
    return path


@pytest.mark.integration
def test_a_new_photo_of_somebody_finds_every_photo_of_theirs_which_go_and_the_others_stay(
    people: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = picture(tmp_path / "the-astronaut.jpg", np.ascontiguousarray(read_photo(ASTRONAUT)[:256, 96:352]))
    where = ["--root", str(people.root), "--params", str(people.root.parent / "params.yaml")]

    def say(*words: str) -> dict[str, object]:
        monkeypatch.setattr("sys.argv", ["faceloop", "erase", *words, *where])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        found: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return found

    asked = say("probe", str(photo))
    (probe,) = open_probes(people.root)
    uri_of = {record.footage_id: record.uri for record in read_table(people.path("footage"), "footage", Footage)}
    photo_of = {face.face_id: uri_of[face.footage_id] for face in read_table(people.path("faces"), "faces", Face)}
    assert {photo_of[face] for one in probe.candidates for face in one.face_ids} == {"one.png", "two.jpg"}
    confirmed = say("confirm", probe.probe_id, *(f"--identity={one.candidate_id}" for one in probe.candidates))
    assert confirmed["faces_confirmed"] == asked["faces"] == 2
    assert say("apply", probe.probe_id, "--reason", "person_asked", "--yes")["faces"] == 2
    left = {uri_of[face.footage_id] for face in read_table(people.path("faces"), "faces", Face)}
    assert left == {"three.jpg"}
    assert say("probe", str(photo))["candidates"] == 0
    log = AuditLog(people.ledger_url())
    entries = [entry for entry in log.entries() if entry.action.startswith("erase")]
    log.close()
    assert {entry.action for entry in entries} >= {"erase probe", "erase confirm", "erase apply", "erase"}
    written = json.dumps([[entry.action, entry.subject_ref, entry.what] for entry in entries], default=str)
    assert "astronaut" not in written and probe.probe_id not in written


@pytest.mark.integration
def test_a_photo_without_a_face_with_several_or_that_is_no_photo_is_refused_with_what_to_do(
    people: Workspace, tmp_path: Path, face_source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = picture(tmp_path / "group.jpg", read_photo(GROUP))
    wall = picture(tmp_path / "wall.png", np.full((200, 300, 3), 120, np.uint8))
    small = picture(tmp_path / "small.png", np.ascontiguousarray(read_photo(ASTRONAUT)[::8, ::8]))
    (tmp_path / "text").write_text("nothing of the kind")
    for path, number, words in (
        (group, None, "--face 1 to 6"),
        (group, 7, "no face 7"),
        (wall, None, "no face is found"),
        (small, None, "smaller than|no face is found"),
    ):
        with pytest.raises(DataError, match=words):
            look_at_probe(people, path, number)
    with pytest.raises(MediaError):
        look_at_probe(people, tmp_path / "text", None)
    with pytest.raises(DataError, match="a video"):
        look_at_probe(people, face_source / "cam1.mp4", None)
    faces = [look_at_probe(people, group, number) for number in range(1, 7)]
    assert np.linalg.norm([face.vector for face in faces], axis=1) == pytest.approx(1, abs=1e-5)
    assert all(a.vector @ b.vector < 0.5 for i, a in enumerate(faces) for b in faces[:i]), "six people"
    limits: list[DecoderLimits] = []

    def read(path: Path, given: DecoderLimits) -> Picture:
        limits.append(given)
        return read_photo_apart(path, given)

    monkeypatch.setattr(likeness, "read_photo_apart", read)
    with pytest.raises(ContractMismatch):
        likenesses(people, replace(look_at_probe(people, group, 1), contract_id="of another recogniser"))
    assert [one.is_apart for one in limits] == [True], "a stranger's file is decoded in the sandbox"


@given(cosine_of=cosines, least=st.floats(-2, 8))
def test_every_face_beyond_the_limit_is_in_one_candidate_and_order_decides_nothing(
    cosine_of: dict[str, float], least: float
) -> None:
    group_of = {face: face[0] for face in cosine_of} | {"a-without-vector": "a"}
    found = candidates_among(cosine_of, group_of, CALIBRATION, least)
    limit = CALIBRATION.cosine(least)
    near = {face for face, cosine in cosine_of.items() if cosine >= limit}
    shown = [face for one in found for face in one.face_ids]
    assert len(shown) == len(set(shown))
    assert near <= set(shown)
    assert {one.candidate_id for one in found} == {face[0] for face in near}
    assert [one.likeness for one in found] == sorted((one.likeness for one in found), reverse=True)
    for one in found:
        assert one.faces_near == len(near & set(one.face_ids)) > 0
        assert set(one.face_ids) == {face for face, group in group_of.items() if group == one.candidate_id}
    turned = sorted(cosine_of.items(), reverse=True)
    assert candidates_among(dict(turned), dict(sorted(group_of.items(), reverse=True)), CALIBRATION, least) == found


def test_a_ticked_picture_stands_for_the_faces_of_its_tracklet_that_no_picture_shows() -> None:
    tracklet_of = {"shot": "t1", "other-shot": "t1", "between": "t1", "elsewhere": "t2"}
    shown = {"shot", "other-shot", "elsewhere-shot"}
    assert unseen_beside({"shot"}, tracklet_of, shown) == {"between"}
    assert unseen_beside({"gone"}, tracklet_of, shown) == set()


sides = st.tuples(st.floats(0, 180), st.floats(0, 180), st.floats(20, 60), st.floats(20, 60))


@given(own=sides, other=sides)
def test_on_a_candidates_picture_another_face_is_covered_and_the_own_one_is_as_it_was(
    own: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> None:
    side = 200
    image = np.random.default_rng(3).integers(0, 256, (side, side, 3), dtype=np.uint8)
    box, stranger = ((x, y, x + wide, y + high) for x, y, wide, high in (own, other))
    shown = alone(image, box, [stranger])
    half = 1.1 * max(own[2], own[3])
    left, top = (own[0] + own[2] / 2) - half, (own[1] + own[3] / 2) - half
    mine, theirs = (
        tuple(int(np.clip(round((edge - start) * side / (2 * half)), 0, side)) for edge, start in zip(
            one, (left, top, left, top), strict=True
        ))
        for one in (box, stranger)
    )  # fmt: skip
    is_mine = np.zeros((side, side), bool)
    is_mine[mine[1] : mine[3], mine[0] : mine[2]] = True
    assert np.array_equal(shown[is_mine], image[is_mine])
    covered = shown[theirs[1] : theirs[3], theirs[0] : theirs[2]][
        ~is_mine[theirs[1] : theirs[3], theirs[0] : theirs[2]]
    ]
    assert len(np.unique(covered, axis=0)) <= 9
    assert np.array_equal(alone(image, box, []), image)


@pytest.mark.integration
def test_the_page_runs_its_own_script_alone_and_loads_nothing(people: Workspace, tmp_path: Path) -> None:
    photo = picture(tmp_path / "officer.jpg", read_photo(OFFICER))
    probe = probing.ask(people, photo, face_number=None, least_sigmas=2.5, most=60, by="eve", now=NOW)
    page = (people.root / "erasures" / probe.probe_id / PAGE).read_text(encoding="utf-8")
    script = page.split("<script>")[1].split("</script>")[0]
    assert f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in page
    assert "http" not in page.replace("http-equiv", "")
    probing.close(people, probe.probe_id)
