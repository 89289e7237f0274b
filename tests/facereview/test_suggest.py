"""The suggestion service: Label Studio's protocol, spoken by a client and by the real server."""

import asyncio
import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from facereview.kinds import SamePerson, Strip, ask, subject_of
from facereview.labelstudio.local import RunningServer
from facereview.pictures import pictures_of
from facereview.schema import AttributeSchema
from facereview.screens import label_config, task_data
from facereview.services.suggest import MAX_BODY_BYTES, Login, SuggestionDesk, suggestion_app
from facereview.services.suggestion import NearIdentity, Suggestion
from facestore.errors import ConfigError, DataError, StoreError
from facestore.questions import Question, ReviewProject, ReviewTask
from facestore.reviewlog import ReviewLog

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SCHEMA = AttributeSchema(fields=())
LOGIN = Login(user="label-studio", password="pass phrase: %&/")  # noqa: S106  # of a test
PROJECT = 700_001


@dataclass(slots=True, kw_only=True)
class Believer:
    """A suggester that thinks what a test tells it."""

    state: int = 1
    chance: float = 0.9
    broken: Exception | None = None

    def version(self) -> str:
        if isinstance(self.broken, StoreError):
            raise self.broken
        return f"now-{self.state}"

    def suggest(self, question: Question) -> Suggestion:
        if self.broken is not None:
            raise self.broken
        subject = SamePerson(
            left=Strip(face_ids=("a",)), right=Strip(face_ids=("b",)), similarity=0.5, chance=self.chance
        )
        fresh = ask(
            subject, subset="", reason="", model_version=self.version(), chance=self.chance, gain=1.0, seconds=1.0
        )
        near = NearIdentity(face_id="a", identity_id="person-x", best_face_id="x", similarity=0.512, chance=0.75)
        return Suggestion(
            question=replace(question, subject=fresh.subject, model_version=self.version()), nearest=(near,)
        )


@dataclass(slots=True, kw_only=True)
class Desk:
    log: ReviewLog
    questions: list[Question]
    believer: Believer = field(default_factory=Believer)
    said: list[str] = field(default_factory=list)

    def app(self) -> Any:
        desk = SuggestionDesk(log=self.log, suggester=self.believer, schema=SCHEMA, say=self.said.append)
        return suggestion_app(desk=desk, login=LOGIN)

    def client(self, user: str = LOGIN.user, password: str = LOGIN.password) -> "Client":
        return self.stranger("Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())

    def stranger(self, authorization: str | None = None) -> "Client":
        return Client(app=self.app(), headers={"Authorization": authorization} if authorization is not None else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Calls an app without a socket."""

    app: Any
    headers: dict[str, str]

    def request(self, method: str, path: str, **content: Any) -> httpx.Response:
        async def ask_once() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://desk", headers=self.headers) as client:
                return await client.request(method, path, **content)

        return asyncio.run(ask_once())

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def post(self, path: str, **content: Any) -> httpx.Response:
        return self.request("POST", path, **content)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Three questions, asked as tasks 1, 2, 3 of a project."""
    log = ReviewLog(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    made = Desk(log=log, questions=[_question(place) for place in range(3)])
    log.offer(made.questions, at=NOW)
    _push(log, made.questions, PROJECT, [1, 2, 3])
    yield made
    log.close()


def _question(place: int) -> Question:
    sides = Strip(face_ids=(f"a{place}",)), Strip(face_ids=(f"b{place}",))
    subject = SamePerson(left=sides[0], right=sides[1], similarity=0.4, chance=0.6)
    return ask(
        subject,
        subset="s",
        reason="unknown_pair",
        model_version="as pushed",
        chance=0.6,
        gain=1.0,
        seconds=4.0,
        rank=place,
    )


def _push(log: ReviewLog, questions: list[Question], project_id: int, task_ids: list[int | None]) -> None:
    log.add_project(
        ReviewProject(
            key=f"key-{project_id}", instance="here", project_id=project_id, kind="same_person", round=1, overlap=1,
            config_sha256="", model_version="as pushed", created_at=NOW, is_open=True,
        )
    )  # fmt: skip
    log.plan(
        [
            ReviewTask(
                question_id=question.question_id, round=1, project_key=f"key-{project_id}", task_id=task_id,
                state="pushed" if task_id is not None else "planned", changed_at=NOW,
            )
            for question, task_id in zip(questions, task_ids, strict=True)
        ]
    )  # fmt: skip


def _task(task_id: object, question_id: object, project: object = PROJECT, **more: object) -> dict[str, object]:
    return {"id": task_id, "project": project, "data": {"question_id": question_id}, **more}


def _predict(client: Client, *tasks: object) -> list[Any]:
    answer = client.post("/predict", json={"tasks": list(tasks), "label_config": "<View/>", "project": "7.1"})
    assert answer.status_code == 200
    found: list[Any] = answer.json()["results"]
    return found


def test_a_task_gets_the_suggestion_of_now_in_the_screens_format(desk: Desk) -> None:
    client = desk.client()
    (entry,) = _predict(client, _task(1, desk.questions[0].question_id))
    assert entry["model_version"] == "now-1"
    assert entry["result"][0]["value"] == {"choices": ["same"]}
    assert entry["result"][0]["meta"] == {"text": ["person-x similarity 0.51 chance 0.75"]}
    desk.believer.state, desk.believer.chance = 2, 0.1
    (entry,) = _predict(client, _task(1, desk.questions[0].question_id))
    assert (entry["model_version"], entry["result"][0]["value"]) == ("now-2", {"choices": ["different"]})
    assert client.post("/setup", json={"project": "7.1", "access_token": "secret"}).json() == {"model_version": "now-2"}
    assert client.get("/versions").json() == {"versions": ["now-2"]}
    assert desk.said == []


def test_tasks_of_a_batch_keep_their_places(desk: Desk) -> None:
    first, second, third = (question.question_id for question in desk.questions)
    found = _predict(desk.client(), _task(3, third), _task(2, first), _task(1, first), _task(2, second))
    assert [bool(entry) for entry in found] == [True, False, True, True]


@pytest.mark.parametrize(
    "task",
    [
        _task(1, "unknown"),
        _task(1, None),
        _task(1, ["list"]),
        _task(True, {}),
        _task("1", "x" * 100_000),
        _task(1, "evil\nline\x1b[2J"),
        "text",
        None,
        {"id": 1, "data": "text"},
        {"id": 1, "project": 10**30, "data": {"question_id": "\ud800"}},
    ],
    ids=repr,
)
def test_a_task_that_is_none_of_ours_goes_without_and_leaves_one_clear_line(desk: Desk, task: object) -> None:
    body = json.dumps({"tasks": [task]})
    answer = desk.client().post("/predict", content=body.encode())
    assert answer.json() == {"results": [[]]}
    (line,) = desk.said
    assert "which we did not ask there" in line
    assert line.isprintable()
    assert len(line) < 300


def test_a_task_that_now_names_another_question_or_lies_in_another_project_goes_without(desk: Desk) -> None:
    first, second, _ = (question.question_id for question in desk.questions)
    found = _predict(desk.client(), _task(1, second), _task(1, first, project=8), _task(99, first))
    assert found == [[], [], []]
    assert len(desk.said) == 3


def test_a_task_whose_making_was_cut_short_is_served(desk: Desk) -> None:
    question = _question(9)
    desk.log.offer([question], at=NOW)
    _push(desk.log, [question], 9, [None])
    (entry,) = _predict(desk.client(), _task(55, question.question_id, project=9))
    assert entry["model_version"] == "now-1"


def test_an_editor_gets_an_empty_suggestion_where_there_is_none(desk: Desk) -> None:
    (entry,) = _predict(desk.client(), _task(1, "unknown", drafts=[]))
    assert entry == {"result": [], "score": 0.0, "model_version": "now-1"}


@pytest.mark.parametrize("error", [DataError("tables are gone"), StoreError("the database is locked")], ids=repr)
def test_a_suggester_that_fails_is_no_failure_of_the_labelling_tool(desk: Desk, error: Exception) -> None:
    desk.believer.broken = error
    assert _predict(desk.client(), _task(1, desk.questions[0].question_id)) == [[]]
    (line,) = desk.said
    assert str(error) in line


def test_setup_says_what_is_missing(desk: Desk) -> None:
    desk.believer.broken = StoreError("the database is locked")
    answer = desk.client().post("/setup", json={})
    assert (answer.status_code, answer.json()) == (503, {"error": "the database is locked"})


@pytest.mark.parametrize("path", ["/health", "/versions", "/setup", "/predict"])
def test_nobody_learns_anything_without_the_login(desk: Desk, path: str) -> None:
    method = "GET" if path in ("/health", "/versions") else "POST"
    for client in (
        desk.stranger(),
        desk.client(password=LOGIN.password[:-1]),
        desk.client(password=LOGIN.password + "x"),
        desk.client(user="admin"),
        desk.stranger("Basic not base64!"),
        desk.stranger("Bearer " + base64.b64encode(f"{LOGIN.user}:{LOGIN.password}".encode()).decode()),
    ):
        answer = client.request(method, path)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic")
    assert desk.client().request(method, path).status_code != 401


@pytest.mark.parametrize(("user", "password"), [("", "x"), ("a", ""), ("a:b", "x"), ("a", "ü")])
def test_a_login_that_keeps_nobody_out_is_refused(user: str, password: str) -> None:
    with pytest.raises(ConfigError, match="give both"):
        Login(user=user, password=password)


def test_requests_that_make_no_sense_are_told_so(desk: Desk) -> None:
    client = desk.client()
    assert client.post("/predict", content=b"{").status_code == 400
    assert client.post("/predict", content=b"[" * 100_000).status_code == 400
    assert client.post("/predict", json={"tasks": "all"}).status_code == 400
    assert client.post("/predict", json=[]).status_code == 400
    assert client.post("/predict", content=b" " * (MAX_BODY_BYTES + 1)).status_code == 413
    assert client.get("/predict").status_code == 405
    assert client.post("/train", json={}).status_code == 404
    assert desk.stranger().post("/webhook", json={"action": "START_TRAINING"}).json() == {"status": "ignored"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Served:
    url: str


@pytest.fixture
def served(desk: Desk) -> Iterator[_Served]:
    """The service on a port of its own."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(desk.app(), log_level="warning", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    yield _Served(url=f"http://127.0.0.1:{listening.getsockname()[1]}")
    server.should_exit = True
    thread.join(20)
    listening.close()


@pytest.mark.integration
def test_the_real_label_studio_shows_annotators_what_is_suggested_now(
    desk: Desk, served: _Served, label_studio: RunningServer
) -> None:
    with httpx.Client(base_url=label_studio.url, headers=_bearer(label_studio), timeout=60) as tool:
        config = label_config("same_person", SCHEMA)
        body = {"title": "Same person?", "label_config": config, "show_collab_predictions": True}
        project_id = _made(tool.post("/api/projects", json=body))["id"]
        asked = [_question(place + 20) for place in range(3)]
        data = [{"data": _shown(question), "predictions": [_as_pushed()]} for question in asked]
        imported = _made(tool.post(f"/api/projects/{project_id}/import?return_task_ids=true", json=data))
        first, second, third = imported["task_ids"]
        desk.log.offer(asked, at=NOW)
        _push(desk.log, asked[:2], project_id, [first, second])
        backend = {
            "url": served.url, "project": project_id, "title": "faceloop", "auth_method": "BASIC_AUTH",
            "basic_auth_user": LOGIN.user, "is_interactive": True,
        }  # fmt: skip
        refused = tool.post("/api/ml", json={**backend, "basic_auth_pass": "wrong"})
        assert refused.status_code == 400
        assert "authentication" in refused.text
        added = _made(tool.post("/api/ml", json={**backend, "basic_auth_pass": LOGIN.password}))
        assert (added["readable_state"], added["model_version"]) == ("Connected", "now-1")
        tool.patch(f"/api/projects/{project_id}", json={"model_version": "faceloop"}).raise_for_status()

        assert _next_suggestion(tool, project_id) == (first, "now-1", "same")
        desk.believer.state, desk.believer.chance = 2, 0.1
        assert _next_suggestion(tool, project_id) == (first, "now-2", "different")
        editor = tool.post(f"/api/ml/{added['id']}/interactive-annotating", json={"task": first}).json()["data"]
        assert editor["result"][0]["value"] == {"choices": ["different"]}
        assert editor["result"][0]["meta"]["text"] == ["person-x similarity 0.51 chance 0.75"]

        stranger = tool.post(f"/api/ml/{added['id']}/interactive-annotating", json={"task": third}).json()["data"]
        assert stranger["result"] == []
        tool.post(
            f"/api/dm/actions?id=retrieve_tasks_predictions&project={project_id}",
            json={"selectedItems": {"all": True, "excluded": []}},
        ).raise_for_status()
        kept = tool.get("/api/predictions", params={"project": project_id}).json()
        fresh = {(entry["task"], entry["model_version"]) for entry in kept if entry["model_version"] != "as pushed"}
        assert fresh == {(first, "now-1"), (first, "now-2"), (second, "now-2")}
    assert all(line.startswith("suggestions: task ") for line in desk.said)


def _next_suggestion(tool: httpx.Client, project_id: int) -> tuple[int, str, str]:
    """Task, version and choice that the labelling stream opens with."""
    found = tool.get(f"/api/projects/{project_id}/next").json()
    (prediction,) = found["predictions"]
    return found["id"], prediction["model_version"], prediction["result"][0]["value"]["choices"][0]


def _shown(question: Question) -> dict[str, Any]:
    return task_data(question, dict.fromkeys(pictures_of(subject_of(question)), "/static/images/logo.svg"), SCHEMA)


def _as_pushed() -> dict[str, Any]:
    result = {"from_name": "verdict", "to_name": "why", "type": "choices", "value": {"choices": ["same"]}}
    return {"model_version": "as pushed", "score": 0.6, "result": [result]}


def _bearer(server: RunningServer) -> dict[str, str]:
    answer = httpx.post(f"{server.url}/api/token/refresh", json={"refresh": server.token}, timeout=60)
    answer.raise_for_status()
    return {"Authorization": f"Bearer {answer.json()['access']}"}


def _made(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 201, answer.text[:500]
    found: dict[str, Any] = answer.json()
    return found
