"""The webhook receiver: what is right is noted in milliseconds, what is wrong is refused and writes nothing."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from socket import create_connection, socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from facereview.services.webhook import Limits, receiver
from facestore.errors import ConfigError, StoreError
from facestore.ids import JsonValue
from facestore.questions import Hint
from facestore.reviewlog import ReviewLog

from .posting import post

NOW = datetime(2026, 6, 1, tzinfo=UTC)
OLD, NEW = "the old secret of tests", "the new secret of tests"
RIGHT = {"authorization": f"Bearer {NEW}"}
LIMITS = Limits(body_bytes=4_096, body_seconds=5, waiting=50, refusals_per_second=1e9)

PROGRAM = """
import sys, time
from datetime import UTC, datetime
from facereview.services.serve import serve
from facereview.services.webhook import Limits, receiver
from facestore.reviewlog import ReviewLog
log = ReviewLog(sys.argv[1])
limits = Limits(body_bytes=1 << 20, body_seconds=2, waiting=10_000, refusals_per_second=20)
app = receiver(
    secrets=[sys.argv[3]], keep=log.take_hints, limits=limits, now=lambda: datetime.now(UTC), monotonic=time.monotonic,
    say=lambda line: print(line, flush=True),
)
serve(app, host="127.0.0.1", port=int(sys.argv[2]))
"""


def _created(**changes: JsonValue) -> dict[str, JsonValue]:
    """Shaped as the real server's."""
    message: dict[str, JsonValue] = {
        "action": "ANNOTATION_CREATED",
        "annotation": {"id": 5, "task": 7, "result": [{"value": {"choices": ["same"]}}], "completed_by": 1},
        "task": {"id": 7, "data": {"question_id": "q"}, "project": 3},
        "project": {"id": 3, "title": "Same person? 1", "created_by": {"id": 1, "email": "a@example.com"}},
    }
    return message | changes


class Kept:
    """Where hints arrive."""

    def __init__(self) -> None:
        self.hints: list[Hint] = []
        self.told: list[int] = []
        self.said: list[str] = []

    def send(
        self,
        *messages: tuple[bytes | list[bytes], dict[str, str]],
        limits: Limits = LIMITS,
        secrets: Sequence[str] = (NEW,),
    ) -> list[int]:
        """The statuses of messages, posted one after another; what was noted is written before this returns."""

        async def run() -> list[int]:
            app = receiver(
                secrets=secrets, keep=self.hints.extend, limits=limits, now=lambda: NOW, monotonic=lambda: 0.0,
                say=self.said.append, kept=self.told.append,
            )  # fmt: skip
            async with app.router.lifespan_context(app):
                return [await post(app, body, headers) for body, headers in messages]

        return asyncio.run(run())


def _named(*ids: int) -> list[JsonValue]:
    return [{"id": one} for one in ids]


def _bytes(message: JsonValue) -> bytes:
    return json.dumps(message).encode()


def test_a_message_becomes_a_hint_of_ids_and_of_nothing_else() -> None:
    kept = Kept()
    assert kept.send((_bytes(_created()), RIGHT)) == [202]
    (hint,) = kept.hints
    assert hint == Hint(
        hint_id=None, project_id=3, task_id=7, annotation_id=None, action="ANNOTATION_CREATED", received_at=NOW
    )
    assert kept.told == [1]


@pytest.mark.parametrize(
    ("message", "places"),
    [
        ({"action": "ANNOTATIONS_DELETED", "annotations": _named(5, 6)}, {(3, None, 5), (3, None, 6)}),
        ({"action": "TASKS_DELETED", "tasks": _named(7)}, {(3, 7, None)}),
        ({"action": "ANNOTATIONS_CREATED", "annotation": _named(5), "task": _named(7)}, {(3, 7, None)}),
        ({"action": "ANNOTATIONS_DELETED", "annotations": _named(*range(1, 1_500))}, {(3, None, None)}),
        ({"action": "PROJECT_UPDATED"}, set()),
        ({"action": "TASKS_CREATED", "tasks": _named(7)}, set()),
        ({"action": "ANNOTATION_CREATED", "project": None}, set()),
    ],
)  # fmt: skip
def test_messages_of_all_kinds_say_where_to_look(
    message: dict[str, JsonValue], places: set[tuple[int | None, int | None, int | None]]
) -> None:
    kept = Kept()
    limits = Limits(body_bytes=1 << 20, body_seconds=5, waiting=50, refusals_per_second=9)
    assert kept.send((_bytes({"project": {"id": 3}, **message}), RIGHT), limits=limits) == [202]
    assert {(hint.project_id, hint.task_id, hint.annotation_id) for hint in kept.hints} == places


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": NEW},
        {"authorization": f"Bearer {OLD}"},
        {"authorization": f"Bearer {NEW} "},
        {"authorization": f"bearer {NEW}"},
        {"authorization": f"Bearer {NEW}x"},
    ],
)
def test_a_wrong_secret_is_refused_before_a_byte_of_the_body_is_read(headers: dict[str, str]) -> None:
    kept = Kept()

    def body() -> Iterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    async def run() -> int:
        app = receiver(
            secrets=[NEW], keep=kept.hints.extend, limits=LIMITS, now=lambda: NOW, monotonic=lambda: 0.0,
            say=kept.said.append,
        )  # fmt: skip
        return await post(app, body(), headers)

    assert asyncio.run(run()) == 401
    assert kept.hints == []


def test_two_secrets_are_valid_while_one_is_exchanged_for_the_other() -> None:
    kept = Kept()
    both = [(_bytes(_created()), {"authorization": f"Bearer {secret}"}) for secret in (OLD, NEW)]
    assert kept.send(*both, secrets=(OLD, NEW)) == [202, 202]
    assert kept.send(*both, secrets=(NEW,)) == [401, 202]


@pytest.mark.parametrize("secrets", [(), ("short",), (OLD, NEW, "a third secret of the tests")])
def test_a_secret_that_can_be_guessed_or_too_many_are_an_error(secrets: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="secret"):
        Kept().send(secrets=secrets)


def test_a_body_over_the_cap_is_refused_by_its_announced_length_and_after_one_block_without() -> None:
    kept, read = Kept(), []

    def blocks() -> Iterator[bytes]:
        while True:
            read.append(1)
            yield b"x" * 1_024

    async def run() -> int:
        app = receiver(
            secrets=[NEW], keep=kept.hints.extend, limits=LIMITS, now=lambda: NOW, monotonic=lambda: 0.0,
            say=kept.said.append,
        )  # fmt: skip
        return await post(app, blocks(), RIGHT)

    assert asyncio.run(run()) == 413
    assert len(read) == LIMITS.body_bytes // 1_024 + 1
    assert kept.send((_bytes(_created(padding="x" * 5_000)), RIGHT)) == [413]
    assert kept.hints == []


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["action", "project", "task", "annotation", "id", "tasks"]), inner, max_size=4),
    max_leaves=8,
).map(_bytes))  # fmt: skip
def test_whatever_is_no_message_is_refused_and_leaves_no_hint(body: bytes) -> None:
    kept = Kept()
    assert kept.send((body, RIGHT)) == [400]
    assert kept.hints == []


@pytest.mark.parametrize(
    "changes",
    [
        {"action": "DROP_TABLES"},
        {"project": {"id": "3"}},
        {"project": {"id": 3.0}},
        {"project": {"id": True}},
        {"project": {"id": -1}},
        {"task": {"id": 1 << 70}},
        {"annotation": [[{"id": 3}]]},
        {"tasks": {"id": 1}},
    ],
)
def test_a_message_with_something_else_than_ids_in_their_places_is_refused(changes: dict[str, JsonValue]) -> None:
    kept = Kept()
    assert kept.send((_bytes(_created(**changes)), RIGHT)) == [400]
    assert kept.hints == []


def test_deeply_nested_json_is_refused() -> None:
    limits = Limits(body_bytes=1 << 20, body_seconds=5, waiting=5, refusals_per_second=9)
    assert Kept().send((b"[" * 200_000, RIGHT), limits=limits) == [400]


def test_a_flood_of_refused_messages_is_cut_short_and_told_once_while_right_ones_pass() -> None:
    kept = Kept()
    limits = Limits(body_bytes=4_096, body_seconds=5, waiting=50, refusals_per_second=3)
    wrong = (b"{}", {"authorization": "Bearer x"})
    statuses = kept.send(*[wrong] * 50, (_bytes(_created()), RIGHT), limits=limits)
    assert statuses == [401] * 3 + [429] * 47 + [202]
    assert len(kept.said) == 1


def test_only_post_is_taken_and_only_at_its_place() -> None:
    async def run() -> list[int]:
        app = receiver(
            secrets=[NEW], keep=lambda _: None, limits=LIMITS, now=lambda: NOW, monotonic=lambda: 0.0,
            say=lambda _: None,
        )  # fmt: skip
        body = _bytes(_created())
        return [
            await post(app, body, RIGHT, method="PUT"),
            await post(app, body, RIGHT, method="GET"),
            await post(app, body, RIGHT, path="/"),
            await post(app, b"", {}, path="/health", method="GET"),
        ]

    assert asyncio.run(run()) == [405, 405, 404, 200]


def test_what_comes_five_times_is_one_hint_and_a_full_queue_says_come_again() -> None:
    gate = threading.Event()
    written: list[Sequence[Hint]] = []

    def keep(hints: Sequence[Hint]) -> None:
        gate.wait(5)
        written.append(hints)

    async def run() -> list[int]:
        limits = Limits(body_bytes=4_096, body_seconds=5, waiting=4, refusals_per_second=9)
        app = receiver(
            secrets=[NEW], keep=keep, limits=limits, now=lambda: NOW, monotonic=lambda: 0.0, say=lambda _: None
        )
        async with app.router.lifespan_context(app):
            first = [await post(app, _bytes(_created()), RIGHT)]
            await asyncio.sleep(0.3)  # the thread waits at the gate with the first
            rest = [await post(app, _bytes(_created()), RIGHT) for _ in range(6)]
            gate.set()
            return first + rest

    assert asyncio.run(run()) == [202] * 5 + [503] * 2
    assert [len(batch) for batch in written] == [1, 1]


def test_hints_outlast_a_database_that_fails_for_a_while() -> None:
    tries: list[Sequence[Hint]] = []
    said: list[str] = []

    def keep(hints: Sequence[Hint]) -> None:
        tries.append(hints)
        if len(tries) < 3:
            raise StoreError("the database is locked")

    async def run() -> None:
        app = receiver(secrets=[NEW], keep=keep, limits=LIMITS, now=lambda: NOW, monotonic=lambda: 0.0, say=said.append)
        async with app.router.lifespan_context(app):
            assert await post(app, _bytes(_created()), RIGHT) == 202
            deadline = time.monotonic() + 5
            while len(tries) < 3 and time.monotonic() < deadline:
                await asyncio.sleep(0.02)

    asyncio.run(run())
    assert [len(batch) for batch in tries] == [1, 1, 1]
    assert said == ["hints wait: the database is locked"] * 2


def test_a_peer_that_drips_is_let_go() -> None:
    async def run() -> int:
        limits = Limits(body_bytes=4_096, body_seconds=0.05, waiting=4, refusals_per_second=9)
        app = receiver(
            secrets=[NEW], keep=lambda _: None, limits=limits, now=lambda: NOW, monotonic=lambda: 0.0,
            say=lambda _: None,
        )  # fmt: skip
        status: list[int] = []

        async def receive() -> dict[str, object]:
            await asyncio.sleep(0.02)
            return {"type": "http.request", "body": b"{", "more_body": True}

        async def send(message: object) -> None:
            assert isinstance(message, dict | object)
            if isinstance(message, dict) and message["type"] == "http.response.start":
                status.append(message["status"])

        headers = [(b"authorization", RIGHT["authorization"].encode())]
        scope = {"type": "http", "http_version": "1.1", "method": "POST", "path": "/hook", "raw_path": b"/hook",
                 "query_string": b"", "root_path": "", "headers": headers}  # fmt: skip
        await app(scope, receive, send)
        return status[0]

    assert asyncio.run(run()) == 408


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[int, str]]:
    """The receiver as a process of its own: its port, and the URL of its database."""
    url = f"sqlite:///{tmp_path / 'catalogue.sqlite3'}"
    ReviewLog(url).close()
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = subprocess.Popen([sys.executable, "-c", PROGRAM, url, str(port), NEW], stdout=subprocess.PIPE, text=True)
    try:
        for _ in range(300):
            with suppress(OSError), create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        yield port, url
    finally:
        running.terminate()
        output, _ = running.communicate(timeout=30)
    assert NEW not in output


def _knock(port: int, body: bytes, secret: str = NEW) -> tuple[int, float]:
    """Status and milliseconds; a connection of its own, as the labelling server makes."""
    start = time.perf_counter()
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/hook", body, {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"})
    status = connection.getresponse().status
    connection.close()
    return status, 1_000 * (time.perf_counter() - start)


@pytest.mark.integration
def test_the_process_answers_at_once_while_the_database_is_locked_and_writes_all_when_it_is_free(
    server: tuple[int, str],
) -> None:
    port, url = server
    engine = create_engine(url)
    with engine.connect() as connection:
        connection.connection.driver_connection.isolation_level = None  # type: ignore[union-attr]
        connection.execute(text("BEGIN EXCLUSIVE"))
        answers = [_knock(port, _bytes(_created(task={"id": number}))) for number in range(1, 101)]
        connection.execute(text("COMMIT"))
    engine.dispose()
    assert {status for status, _ in answers} == {202}
    assert sorted(taken for _, taken in answers)[90] < 250  # ms; the machine may be busy
    log = ReviewLog(url)
    for _ in range(200):
        if len(log.hints()) == 100:
            break
        time.sleep(0.1)
    assert {hint.task_id for hint in log.hints()} == set(range(1, 101))
    log.close()


@pytest.mark.integration
def test_the_process_stands_a_flood_of_forgeries_and_endless_bodies_and_ends_when_told(server: tuple[int, str]) -> None:
    port, url = server
    statuses = {_knock(port, b"x" * 1_000, "a wrong one")[0] for _ in range(200)}
    assert statuses == {401, 429}
    with create_connection(("127.0.0.1", port), timeout=10) as endless:
        head = f"POST /hook HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {NEW}\r\nTransfer-Encoding: chunked\r\n\r\n"
        endless.sendall(head.encode())
        sent = 0
        with suppress(OSError):  # it hangs up
            while sent < 64 << 20:
                endless.sendall(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
                sent += 65_536
        assert sent < 32 << 20
    assert _knock(port, _bytes(_created()))[0] == 202
    log = ReviewLog(url)
    for _ in range(100):
        if log.hints():
            break
        time.sleep(0.1)
    assert len(log.hints()) == 1
    log.close()
