"""Questions about everybody at a real Label Studio, with person 1 in annotations, drafts and uploads."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from tests.faceloop.erasing_world import MEANS, NAME, jpeg_of
from tests.faceloop.mining_world import PERSON

from faceloop.erasure.certificate import Certificate
from faceloop.erasure.labelling import open_labelling
from faceloop.erasure.planning import Plan
from faceloop.erasure.saga import go_on
from faceloop.review.access import with_review_log
from faceloop.runner import Workspace
from facereview.kinds import shown_faces, subject_of
from facereview.labelstudio.adapter import LabelStudioServer
from facereview.labelstudio.local import RunningServer
from facereview.labelstudio.tokens import log_in
from facestore.questions import Question, ReviewTask


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
        command = [str(Path(sys.executable).with_name("faceloop")), *words]
        done = subprocess.run(command, env=os.environ | self.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        for question, task in self.asked():
            self._fill(task, is_of_person(question))

    def close(self) -> None:
        self._wire.close()
        self._server.close()

    def asked(self) -> list[tuple[Question, ReviewTask]]:
        questions = {one.question_id: one for one in with_review_log(self.work, lambda log: list(log.questions()))}
        tasks = with_review_log(self.work, lambda log: list(log.tasks(states={"pushed"})))
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
        """Their tasks with all that hangs on them, as the server says it now, but for how long ago things were."""
        theirs = sorted(task.task_id or 0 for question, task in self.asked() if not is_of_person(question))
        said = [[self._get(f"api/tasks/{one}/"), self._get(f"api/predictions/?task={one}")] for one in theirs]
        return [json.dumps(_without_ages(one), sort_keys=True) for one in said]

    def go_on(self, plan: Plan) -> Certificate:
        with open_labelling(self.work, self.folder, self.environ) as labelling:
            return go_on(self.work, plan.erasure_id, replace(MEANS, labelling=labelling))


def _without_ages(said: object) -> object:
    if isinstance(said, dict):
        return {name: _without_ages(value) for name, value in said.items() if name != "created_ago"}
    return [_without_ages(one) for one in said] if isinstance(said, list) else said


def is_of_person(question: Question) -> bool:
    return any(PERSON.get(face) == 1 for face in shown_faces(subject_of(question)))
