"""Bar B15 at other programs: a real Label Studio and a real DVC hold nothing of an erased person. FACELOOP_LONG=1."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.chaos.erasure_judge import own_needles
from tests.faceloop.erasing_world import (
    MEANS,
    NAME,
    assert_clean,
    copy_of,
    jpeg_of,
    of_others,
    publish_people,
    start,
)
from tests.faceloop.mining_world import PERSON
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.erasure.certificate import Certificate
from faceloop.erasure.labelling import DATABASE, open_labelling
from faceloop.erasure.needles import search
from faceloop.erasure.planning import Plan
from faceloop.erasure.saga import go_on
from faceloop.review.access import with_review_log
from faceloop.runner import Workspace
from facereview.kinds import shown_faces, subject_of
from facereview.labelstudio.adapter import LabelStudioServer
from facereview.labelstudio.local import RunningServer
from facereview.labelstudio.tokens import log_in
from facereview.labelstudio.uploads import UploadingServer
from facestore.errors import ErasureIncomplete
from facestore.questions import Question, ReviewTask

IS_LONG = os.environ.get("FACELOOP_LONG") == "1"
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not IS_LONG, reason="servers and programs of others: FACELOOP_LONG=1"),
]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return publish_people(tmp_path_factory.mktemp("plain"))


class Desk:
    """The world with its questions at the server: answered, drafted, filled in, and with a picture uploaded."""

    def __init__(self, work: Workspace, server: RunningServer) -> None:
        self.work, self.folder = work, Path(server.files).parent
        token = log_in(server.url, server.email, server.password).legacy_token()
        self._wire = httpx.Client(base_url=server.url, headers={"Authorization": f"Token {token}"}, timeout=60)
        self.environ = {
            "FACELOOP_LABEL_STUDIO_URL": server.url,
            "FACELOOP_LABEL_STUDIO_TOKEN": server.token,
            "FACELOOP_LABEL_STUDIO_FILES": server.files,
        }
        self._server = LabelStudioServer(server.url, server.token)
        (work.root.parent / "params.yaml").write_text(json.dumps(work.tree), encoding="utf-8")
        words = ["review", "push", "--root", str(work.root), "--params", str(work.root.parent / "params.yaml")]
        done = CliRunner().invoke(app, words, env=self.environ, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        for question, task in self.asked():
            self._fill(task, _is_of_person(question))

    def close(self) -> None:
        self._wire.close()
        self._server.close()

    def asked(self) -> list[tuple[Question, ReviewTask]]:
        questions = {one.question_id: one for one in with_review_log(self.work, lambda log: log.questions())}
        tasks = with_review_log(self.work, lambda log: log.tasks(states={"pushed"}))
        return [(questions[task.question_id], task) for task in tasks]

    def _fill(self, task: ReviewTask, is_of_person: bool) -> None:
        said = [{"from_name": "note", "to_name": "note", "type": "textarea", "value": {"text": [NAME]}}]
        body = {"result": said if is_of_person else [], "lead_time": 3.5}
        self._post(f"api/tasks/{task.task_id}/annotations/", body)
        self._post(f"api/tasks/{task.task_id}/drafts", body)
        if is_of_person:
            config = '<View><Image name="shown" value="$image"/><TextArea name="said" toName="shown"/></View>'
            made = self._wire.post("api/projects/", json={"title": "uploads", "label_config": config})
            project = made.raise_for_status().json()["id"]
            jpeg = jpeg_of(self.work)
            place = f"api/projects/{project}/import?commit_to_project=false"
            files = {"file": ("picture.jpg", jpeg, "image/jpeg")}
            (upload,) = self._wire.post(place, files=files).raise_for_status().json()["file_upload_ids"]
            name = self._get(f"api/import/file-upload/{upload}")["file"].removeprefix("upload/")
            data = {**self._get(f"api/tasks/{task.task_id}/?resolve_uri=false")["data"]}
            data["extra"] = f"/data/upload/{name}"
            self._wire.patch(f"api/tasks/{task.task_id}/", json={"data": data}).raise_for_status()

    def _get(self, path: str) -> Any:
        return self._wire.get(path).raise_for_status().json()

    def _post(self, path: str, body: object) -> None:
        self._wire.post(path, json=body).raise_for_status()

    def of_others(self) -> list[str]:
        """Their tasks with all that hangs on them, as the server says it now."""
        theirs = sorted(task.task_id or 0 for question, task in self.asked() if not _is_of_person(question))
        return [
            json.dumps([self._get(f"api/tasks/{one}/"), self._get(f"api/predictions/?task={one}")], sort_keys=True)
            for one in theirs
        ]

    def go_on(self, plan: Plan) -> Certificate:
        with open_labelling(self.work, self.folder, self.environ) as labelling:
            return go_on(self.work, plan.erasure_id, replace(MEANS, labelling=labelling))


def _is_of_person(question: Question) -> bool:
    return any(PERSON.get(face) == 1 for face in shown_faces(subject_of(question)))


@pytest.fixture
def desk(plain: Workspace, label_studio: RunningServer, tmp_path: Path) -> Iterator[Desk]:
    opened = Desk(copy_of(plain, tmp_path), label_studio)
    yield opened
    opened.close()


def test_a_real_label_studio_holds_nothing_of_the_person_in_database_media_and_pictures(desk: Desk) -> None:
    judge, others, before = own_needles(desk.work), desk.of_others(), of_others(desk.work)
    held = search([desk.folder], judge).held
    assert any(name.endswith(DATABASE) for name in held)
    assert any("/media/upload/" in name for name in held)
    assert any("/pictures/" in name for name in held)
    assert len(others) > 0
    plan = start(desk.work)
    assert len(plan.tasks) > 0
    done = desk.go_on(plan)
    assert_clean(desk.work, plan)
    assert search([desk.folder, desk.work.root], judge).held == ()
    assert desk.of_others() == others
    assert of_others(desk.work) == before
    steps = json.loads((desk.work.root / done.place).read_text())["steps"]
    assert steps["labelling"]["tasks"] == steps["labelling"]["uploads"] == len(plan.tasks)


@pytest.mark.parametrize("mutant", ["tasks stay", "media stays"])
def test_a_label_studio_cleared_by_halves_is_never_certified(
    mutant: str, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: Label Studio keeps the file of an upload that its API deleted. (Its free pages: test_rowpurge.)"""
    if mutant == "tasks stay":
        monkeypatch.setattr(UploadingServer, "delete_task", lambda self, task_id: None)
    else:
        monkeypatch.setattr("faceloop.erasure.labelling._clear_folder", lambda folder, plan: 0)
    plan = start(desk.work)
    with pytest.raises(ErasureIncomplete):
        desk.go_on(plan)
    monkeypatch.undo()
    desk.go_on(plan)
    assert search([desk.folder], plan.search_for()).held == ()


def dvc(project: Path, *words: str) -> None:
    environ = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(
        [str(Path(sys.executable).with_name("dvc")), *words, "-q"],
        cwd=project, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture
def tracked(plain: Workspace, tmp_path: Path) -> Workspace:
    """The world in a project of DVC: every artifact added, and pushed to a remote that is a folder."""
    work = copy_of(plain, tmp_path)
    for left in (work.root / ".dvc", tmp_path / "remote"):
        shutil.rmtree(left)
    dvc(tmp_path, "init", "--no-scm")
    dvc(tmp_path, "config", "core.site_cache_dir", str(tmp_path / "site"))
    dvc(tmp_path, "remote", "add", "--default", "away", str(tmp_path / "remote"))
    dvc(tmp_path, "add", *(f"root/{name}" for name in ("faces", "crops", "embeddings", "release", "objects")))
    dvc(tmp_path, "push")
    return work


def test_cache_and_remote_of_a_real_dvc_hold_nothing_of_the_person(tracked: Workspace, tmp_path: Path) -> None:
    judge, before = own_needles(tracked), of_others(tracked)
    places = [tmp_path / ".dvc", tmp_path / "remote", tmp_path / "site", *tmp_path.glob("root/*.dvc")]
    assert {Path(name).relative_to(tmp_path).parts[0] for name in search(places, judge).held} == {
        ".dvc",
        "remote",
        "site",
    }
    plan = start(tracked)
    go_on(tracked, plan.erasure_id, MEANS)
    assert_clean(tracked, plan)
    assert search([tmp_path], judge, but_for=[tmp_path / "source"]).held == ()
    assert of_others(tracked) == before
    dvc(tmp_path, "add", *(f"root/{name}" for name in ("faces", "crops", "embeddings", "release", "objects")))
    dvc(tmp_path, "push")  # what is there now is kept again, and it is clean
    assert search(places, judge).held == ()


def test_after_deleting_files_alone_a_real_dvc_keeps_them(tracked: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faceloop.erasure.saga.clear_copies", lambda needles, places: {})
    plan = start(tracked)
    with pytest.raises(ErasureIncomplete):
        go_on(tracked, plan.erasure_id, MEANS)


def test_a_gigabyte_is_searched_and_one_needle_in_it_is_found(
    tmp_path: Path, plain: Workspace, record_property: Callable[[str, object], None]
) -> None:
    needles = start(copy_of(plain, tmp_path / "world")).search_for()
    chance = np.random.default_rng(1)
    folder = tmp_path / "gigabyte"
    folder.mkdir()
    for number in range(16):
        (folder / f"{number}.bin").write_bytes(chance.bytes(64 << 20))
    begun = time.perf_counter()
    found = search([folder], needles)
    took_s = time.perf_counter() - begun
    assert (found.size_bytes, found.held) == (1 << 30, ())
    with (folder / "7.bin").open("r+b") as file:
        file.seek((31 << 20) - 5)
        file.write(max(needles.needles, key=len))
    assert [Path(name).name for name in search([folder], needles).held] == ["7.bin"]
    record_property("figures", {"needles": len(needles.needles), "seconds": round(took_s, 1)})
