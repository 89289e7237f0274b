"""The receiver of Label Studio's webhooks. What they say is never believed: ids become hints of where to look, and the
labelling server is asked. It cannot sign what it sends and does not send again, so a shared secret tells its messages
from others', and what is lost here a sweep finds.
"""

import asyncio
import hmac
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from facereview.services.hintqueue import HintQueue
from facestore.errors import ConfigError
from facestore.questions import Hint

_SHORTEST_SECRET = 16  # characters
_IDS = 1_000  # of one message; of more only the project is noted
_CLOSE = {"Connection": "close"}  # what else the peer sends is not read

Action = Literal[
    "ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED", "TASKS_CREATED",
    "TASKS_DELETED", "PROJECT_CREATED", "PROJECT_UPDATED", "PROJECT_DELETED", "LABEL_LINK_CREATED",
    "LABEL_LINK_UPDATED", "LABEL_LINK_DELETED",
]  # fmt: skip
_ABOUT_ANSWERS = ("ANNOTATION", "TASKS_DELETED")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a message may cost us. Raises ConfigError for one that is not positive."""

    body_bytes: int
    body_seconds: float  # until it is here whole
    waiting: int  # messages in memory
    refusals_per_second: float  # that are told why; of more they learn only that they are too many

    def __post_init__(self) -> None:
        if min(self.body_bytes, self.body_seconds, self.waiting, self.refusals_per_second) <= 0:
            raise ConfigError("limits of the webhook receiver are above 0; correct the params")


class _Named(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)
    id: Annotated[int, Field(ge=1, lt=1 << 63)]


class _Message(BaseModel):
    """Of all that Label Studio sends the ids; the rest is not even read."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)
    action: Action
    project: _Named | None = None
    task: _Named | list[_Named] | None = None
    tasks: list[_Named] = []
    annotation: _Named | list[_Named] | None = None
    annotations: list[_Named] = []


def receiver(
    *,
    secrets: Sequence[str],
    keep: Callable[[Sequence[Hint]], None],
    limits: Limits,
    now: Callable[[], datetime],
    monotonic: Callable[[], float],
    say: Callable[[str], None],
    kept: Callable[[int], None] | None = None,
) -> Starlette:
    """`POST /hook` with `Authorization: Bearer SECRET`, `GET /health`. `secrets`: one, or two while it is changed.

    Answers 202 as soon as the message is noted in memory, also while the database is locked; `keep` writes hints from a
    thread, `kept` is told how many (to start a pull, say). 401, 413, 400, 408 and 405 refuse, write nothing, and turn
    into 429 when there are many; 503 says that too much waits. Raises ConfigError for a secret that can be guessed.
    """
    if not 1 <= len(secrets) <= 2 or any(len(secret) < _SHORTEST_SECRET for secret in secrets):
        raise ConfigError(f"the webhook needs one secret of {_SHORTEST_SECRET} characters or more, or two in a change")
    expected = [f"Bearer {secret}".encode() for secret in secrets]
    hints = HintQueue(keep, room=limits.waiting, kept=kept, say=say)
    refusals = _Refusals(limits.refusals_per_second, monotonic, say)

    async def take(request: Request) -> Response:
        given = request.headers.get("authorization", "").encode("latin-1")
        if not sum(hmac.compare_digest(given, right) for right in expected):  # each is compared, whichever is right
            return refusals.answer(401)
        try:
            async with asyncio.timeout(limits.body_seconds):
                body = await _body(request, limits.body_bytes)
        except TimeoutError:
            return refusals.answer(408)
        except ClientDisconnect:
            return Response(status_code=400)
        if body is None:
            return refusals.answer(413)
        try:
            message = _Message.model_validate_json(body)
        except ValidationError:
            return refusals.answer(400)
        found = hints_of(message, now())
        if found and not hints.offer(found):
            return Response(status_code=503, headers={"Retry-After": "10"})
        return Response(status_code=202)

    async def health(_: Request) -> Response:
        return JSONResponse({"waiting": hints.waiting()})

    @asynccontextmanager
    async def running(_: Starlette) -> AsyncIterator[None]:
        hints.start()
        yield
        await asyncio.to_thread(hints.stop, grace_s=10.0)

    routes = [Route("/hook", take, methods=["POST"]), Route("/health", health, methods=["GET"])]
    return Starlette(routes=routes, lifespan=running)


def hints_of(message: _Message, at: datetime) -> list[Hint]:
    """Where to look; nowhere for a message that is not about answers."""
    if not message.action.startswith(_ABOUT_ANSWERS):
        return []
    tasks = [*_listed(message.task), *message.tasks]
    annotations = [*_listed(message.annotation), *message.annotations]
    project_id = None if message.project is None else message.project.id
    pairs: list[tuple[int | None, int | None]] = [(None, None)]
    if tasks and len(tasks) <= _IDS:
        pairs = [(task.id, None) for task in tasks]
    elif annotations and len(annotations) <= _IDS:
        pairs = [(None, annotation.id) for annotation in annotations]
    return [
        Hint(
            hint_id=None,
            project_id=project_id,
            task_id=task_id,
            annotation_id=annotation_id,
            action=message.action,
            received_at=at,
        )
        for task_id, annotation_id in pairs
        if project_id is not None
    ]


async def _body(request: Request, most: int) -> bytes | None:
    """None for more than `most` bytes; no more than one block beyond them is read, whatever the peer announced."""
    announced = request.headers.get("content-length", "0")
    if not announced.isdigit() or int(announced) > most:
        return None
    read = bytearray()
    async for block in request.stream():
        read += block
        if len(read) > most:
            return None
    return bytes(read)


def _listed(named: _Named | list[_Named] | None) -> list[_Named]:
    if named is None:
        return []
    return named if isinstance(named, list) else [named]


class _Refusals:
    """Refuses, and says so once a minute at most: a flood costs neither log nor disk."""

    def __init__(self, per_second: float, monotonic: Callable[[], float], say: Callable[[str], None]) -> None:
        self._per_second, self._monotonic, self._say = per_second, monotonic, say
        self._left, self._at = per_second, monotonic()
        self._silent, self._told_at = 0, float("-inf")

    def answer(self, status: int) -> Response:
        now = self._monotonic()
        self._left = min(self._per_second, self._left + (now - self._at) * self._per_second)
        self._at = now
        self._silent += 1
        if now - self._told_at >= 60:
            self._say(f"refused {self._silent} messages, the last with {status}; a wrong secret is 401")
            self._silent, self._told_at = 0, now
        if self._left < 1:
            return Response(status_code=429, headers=_CLOSE)
        self._left -= 1
        return Response(status_code=status, headers=_CLOSE)
