"""The service that Label Studio asks for suggestions: its "ML backend" protocol, as version 1.23 speaks it.

Of a task only its ids are believed; the question comes from our own log. Label Studio sends its admin's token with
`/setup`: it is neither kept nor written anywhere, nor is any other body.
"""

import base64
import binascii
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from facereview.schema import AttributeSchema
from facereview.screens import prediction
from facereview.services.suggestion import NearIdentity, Suggester
from facestore.errors import ConfigError, FaceloopError
from facestore.ids import ID_HEX, JsonValue
from facestore.questions import Question
from facestore.reviewlog import ReviewLog

MAX_BODY_BYTES = 8 << 20  # a batch is 100 tasks with their data
_MODEL = "faceloop"
_ID = re.compile(f"[0-9a-f]{{{ID_HEX}}}")
_SHOWN = 40  # characters of an id that others wrote


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What Label Studio must send: HTTP basic authentication.

    Raises ConfigError for an empty part, a user with a colon, and what is not ASCII: clients spell that differently.
    """

    user: str
    password: str

    def __post_init__(self) -> None:
        if not self.user or ":" in self.user or not self.password or not (self.user + self.password).isascii():
            raise ConfigError("suggestions need a user without colons and a password, in ASCII; give both")

    def admits(self, header: str | None) -> bool:
        """Whether an Authorization header holds this login; the time it takes does not tell how much was right."""
        kind, _, code = (header or "").partition(" ")
        try:
            given = base64.b64decode(code.encode(), validate=True) if kind.lower() == "basic" else b""
        except (binascii.Error, UnicodeEncodeError):
            given = b""
        return hmac.compare_digest(given, f"{self.user}:{self.password}".encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What a task in a request says of itself; anybody may have edited its data."""

    task_id: int | None
    project_id: int | None
    question_id: str | None  # None for what cannot be one of ours
    named: str  # what stands there, fit to be shown
    is_open_in_editor: bool  # asked for by an annotator's editor, not for keeping

    @classmethod
    def read(cls, task: JsonValue) -> "_Asked":
        fields = task if isinstance(task, dict) else {}
        data = fields.get("data")
        named = data.get("question_id") if isinstance(data, dict) else None
        task_id, project_id = fields.get("id"), fields.get("project")
        return cls(
            task_id=task_id if isinstance(task_id, int) else None,
            project_id=project_id if isinstance(project_id, int) else None,
            question_id=named if isinstance(named, str) and _ID.fullmatch(named) else None,
            named=ascii(named)[:_SHOWN],
            is_open_in_editor="drafts" in fields,
        )


class SuggestionDesk:
    """Answers for tasks: looks their questions up and has them suggested."""

    def __init__(
        self, *, log: ReviewLog, suggester: Suggester, schema: AttributeSchema, say: Callable[[str], None]
    ) -> None:
        self._log = log
        self._suggester = suggester
        self._schema = schema
        self._say = say

    def version(self) -> str:
        """Raises what the suggester raises."""
        return self._suggester.version()

    def answers(self, tasks: Sequence[JsonValue]) -> list[JsonValue]:
        """One entry a task: a prediction of Label Studio's, or an empty one where there is nothing to suggest."""
        asked = [_Asked.read(task) for task in tasks]
        try:
            questions = self._questions(asked)
            version = self._suggester.version()
        except FaceloopError as error:
            self._say(f"suggestions: {len(asked)} tasks go without: {error}")
            return [_nothing(one, "") for one in asked]
        return [self._answer(one, questions, version) for one in asked]

    def _answer(self, asked: _Asked, questions: Mapping[_Asked, Question], version: str) -> JsonValue:
        question = questions.get(asked)
        if question is None:
            self._say(
                f"suggestions: task {asked.task_id} of project {asked.project_id} names question {asked.named}, which "
                "we did not ask there; it goes without (a task edited by hand, or another server's)"
            )
            return _nothing(asked, version)
        try:
            found = self._suggester.suggest(question)
            draft = prediction(found.question, self._schema)
        except FaceloopError as error:
            self._say(f"suggestions: question {question.question_id} goes without: {error}")
            return _nothing(asked, version)
        return {
            "result": _with_nearest(draft.result, found.nearest),
            "score": draft.score,
            "model_version": draft.model_version,
        }

    def _questions(self, asked: Sequence[_Asked]) -> dict[_Asked, Question]:
        """Of tasks with which we really asked the question that they name."""
        named = {one.question_id for one in asked if one.question_id is not None}
        number = {project.key: project.project_id for project in self._log.projects()}
        ours = {
            (number.get(task.project_key), task.task_id, task.question_id)
            for task in self._log.tasks(question_ids=named)
        }
        # A task whose number we do not know yet was planned, and its making was cut short.
        known = [
            one
            for one in asked
            if {(one.project_id, task_id, one.question_id) for task_id in (one.task_id, None)} & ours
        ]
        ids = {one.question_id for one in known if one.question_id is not None}
        found = {question.question_id: question for question in self._log.questions(ids)}
        return {one: found[one.question_id] for one in known if one.question_id in found}


def suggestion_app(*, desk: SuggestionDesk, login: Login) -> Starlette:
    """GET /health, /versions; POST /setup, /predict. /webhook, which Label Studio adds to the project by itself and
    calls without a login, is answered and ignored. Everything else asks for the login: 401, 413, 400, 404, 405."""

    def admit(request: Request) -> None:
        if not login.admits(request.headers.get("authorization")):
            raise HTTPException(401, "log in", headers={"WWW-Authenticate": 'Basic realm="faceloop"'})

    async def health(request: Request) -> JSONResponse:
        admit(request)
        return JSONResponse({"status": "UP", "model_class": _MODEL})

    async def setup(request: Request) -> JSONResponse:
        admit(request)
        return JSONResponse({"model_version": await _version(desk)})

    async def versions(request: Request) -> JSONResponse:
        admit(request)
        return JSONResponse({"versions": [await _version(desk)]})

    async def predict(request: Request) -> JSONResponse:
        admit(request)
        body = _parsed(await _body(request))
        tasks = body.get("tasks") if isinstance(body, dict) else None
        if not isinstance(tasks, list):
            raise HTTPException(400, "tasks are missing")
        return JSONResponse({"results": await run_in_threadpool(desk.answers, tasks)})

    async def webhook(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ignored"})

    return Starlette(
        routes=[
            Route("/", health, methods=["GET"]),
            Route("/health", health, methods=["GET"]),
            Route("/versions", versions, methods=["GET"]),
            Route("/setup", setup, methods=["POST"]),
            Route("/predict", predict, methods=["POST"]),
            Route("/webhook", webhook, methods=["POST"]),
        ],
        exception_handlers={HTTPException: _refused},
    )


async def _version(desk: SuggestionDesk) -> str:
    try:
        return await run_in_threadpool(desk.version)
    except FaceloopError as error:
        raise HTTPException(503, str(error)) from error


def _refused(_: Request, error: Exception) -> JSONResponse:
    status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (500, None)
    detail = error.detail if isinstance(error, HTTPException) else ""
    return JSONResponse({"error": detail}, status, headers=headers)


async def _body(request: Request) -> bytes:
    """At most MAX_BODY_BYTES are read, whatever was announced."""
    read = bytearray()
    try:
        async for block in request.stream():
            read += block
            if len(read) > MAX_BODY_BYTES:
                raise HTTPException(413, "ask about fewer tasks at once")
    except ClientDisconnect as error:
        raise HTTPException(400, "cut short") from error
    return bytes(read)


def _parsed(body: bytes) -> JsonValue:
    try:
        found: JsonValue = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "not JSON") from error
    return found


def _nothing(asked: _Asked, version: str) -> JsonValue:
    """For an editor an empty suggestion. For keeping none at all: an empty one would hide what was pushed."""
    return {"result": [], "score": 0.0, "model_version": version} if asked.is_open_in_editor else []


def _with_nearest(result: Sequence[JsonValue], nearest: Sequence[NearIdentity]) -> list[JsonValue]:
    """The result, its first entry with the nearest identities in its `meta`, where Label Studio keeps notes."""
    if not nearest or not result or not isinstance(result[0], dict):
        return list(result)
    lines: list[JsonValue] = [
        f"{near.identity_id} similarity {near.similarity:.2f} chance {near.chance:.2f}" for near in nearest
    ]
    return [{**result[0], "meta": {"text": lines}}, *result[1:]]
