"""audit-labels from a folder to its page: a wrong photo is found and shown, the folder stays as it was."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.reports.audit import render_audit
from faceloop.reports.auditsheet import AuditSheet, SuspectView
from faceloop.reports.page import Photo
from faceloop.sample.people import PEOPLE
from faceloop.sample.photos import read_photo
from facestore.ids import file_sha256

DATA = Path(__file__).parents[3] / "shared" / "data"
FOLDERS = {"Ann": "group-1", "Bob": "group-2", "Cid": "astronaut"}


def _faces(person: str) -> list[Image.Image]:
    """Four pictures of one head: as it is, mirrored, darker and tilted, small and sharp."""
    source = next((one for one in PEOPLE if one.person == person), PEOPLE[-1])
    photo = read_photo(source.photo)
    x1, y1, x2, y2 = source.face
    pad = 0.6 * (x2 - x1)
    cut = photo[max(0, int(y1 - pad)) : int(y2 + pad), max(0, int(x1 - pad)) : int(x2 + pad)]
    head = np.asarray(cv2.resize(cut, (400, round(400 * cut.shape[0] / cut.shape[1]))), np.uint8)
    turn = cv2.getRotationMatrix2D((200, head.shape[0] / 2), 12, 1.0)
    tilted = cv2.warpAffine((head * 0.6).astype(np.uint8), turn, (400, head.shape[0]), borderMode=cv2.BORDER_REPLICATE)
    views = [head, head[:, ::-1], tilted, cv2.resize(head, None, fx=0.5, fy=0.5)]
    return [Image.fromarray(np.ascontiguousarray(view)) for view in views]


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit") / "people"
    for name, person in FOLDERS.items():
        (folder / name).mkdir(parents=True)
        for number, view in enumerate(_faces(person)):
            view.save(folder / name / f"{number}.png")
    (folder / "Bob" / "3.png").rename(folder / "Ann" / "wrong <b>.png")
    Image.fromarray(np.full((300, 300, 3), 120, np.uint8)).save(folder / "Cid" / "wall.png")
    Image.fromarray(np.full((300, 300, 3), 90, np.uint8)).save(folder / "loose.png")
    return folder


def _run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["audit-labels", *(str(one) for one in arguments)])
    return done.exit_code, done.output if done.exception is None else f"{done.output}{done.exception}"


@pytest.mark.integration
def test_a_wrong_photo_comes_first_and_nothing_in_the_folder_changes(people: Path, tmp_path: Path) -> None:
    before = {path.relative_to(people): file_sha256(path) for path in people.rglob("*") if path.is_file()}
    code, said = _run(people, "--out", tmp_path / "out", "-S", "embed.model.engine=onnxruntime")
    assert code == 0, said
    listed = json.loads((tmp_path / "out" / "suspects.json").read_text(encoding="utf-8"))
    assert (listed[0]["path"], listed[0]["reason"]) == ("Ann/wrong <b>.png", "looks_like")
    assert listed[0]["resembles"] == "Bob"
    assert [row for row in listed if row["path"] != "Ann/wrong <b>.png" and row["rank"]] == []
    assert listed[-1] == {"rank": None, "path": "Cid/wall.png", "folder": "Cid", "reason": "no_face"}
    page = (tmp_path / "out" / "audit.html").read_text(encoding="utf-8")
    assert "Ann/wrong &lt;b&gt;.png" in page
    assert "<b>.png" not in page
    assert page.count("data:image/jpeg") >= 1 + 4 + 3  # the suspect, the rest of Ann, Bob
    assert {path.relative_to(people): file_sha256(path) for path in people.rglob("*") if path.is_file()} == before
    assert all(path.stat().st_nlink == 1 for path in people.rglob("*.png"))


def test_nothing_is_written_into_the_folder(people: Path) -> None:
    code, said = _run(people, "--out", people / "out")
    assert code != 0
    assert "name another folder" in said
    assert not (people / "out").exists()
    assert "is no folder" in _run(people / "loose.png")[1]


def test_a_sheet_without_suspects_says_so() -> None:
    empty = AuditSheet(
        title="t", sentence="0 of 4", suspects=(), not_shown=0, without_face=(), without_folder=("loose.png",)
    )
    page = render_audit(empty)
    assert "Every photo fits its folder." in page
    assert "loose.png" in page


def test_names_are_escaped_on_the_page() -> None:
    photo = Photo(src=None, alt="x", caption="<i>", confidence=None, is_low=False)
    view = SuspectView(
        rank=1,
        path="<script>/1.jpg",
        folder="<script>",
        reason="weak",
        why="w",
        facts=("<u>",),
        photo=photo,
        own_shots=(photo,),
        other_name="<script>",
        other_shots=(photo,),
    )
    sheet = AuditSheet(
        title="<script>", sentence="s", suspects=(view,), not_shown=2, without_face=("<script>",), without_folder=()
    )
    page = render_audit(sheet)
    assert "<script>" not in page
    assert "<i>" not in page
    assert "… and 2 more" in page


@pytest.mark.shared_data
@pytest.mark.integration
@pytest.mark.skipif(not DATA.is_dir(), reason="the development data is not beside the checkout")
def test_nearly_all_wrong_photos_of_259_people_are_among_the_first_forty(tmp_path: Path) -> None:
    code, said = _run(DATA / "faces_dev", "--out", tmp_path)
    assert code == 0, said
    listed = json.loads((tmp_path / "suspects.json").read_text(encoding="utf-8"))
    wrong = set((DATA / "faces_dev_label_errors.txt").read_text(encoding="utf-8").split())
    assert len(wrong) == 21
    assert len({row["path"] for row in listed[:40]} & wrong) >= 19
