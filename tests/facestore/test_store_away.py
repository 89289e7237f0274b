"""What may go through later is told apart from what is wrong: a catalogue and a bucket that do not answer now."""

import random
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy import text
from tests.chaos.postgres_cluster import Cluster, running_cluster

from facestore import catalogue
from facestore.catalogue import connected, open_catalogue, reading, writing
from facestore.errors import StoreAway, StoreError
from facestore.patience import PATIENCE
from facestore.s3 import S3Bucket, S3Refused

QUICK = replace(PATIENCE, attempts=2, connect_s=1.0, read_s=1.0, overall_s=2.0, pause_s=0.01)


def unused_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_no_server_at_the_address_is_away() -> None:
    with pytest.raises(StoreAway, match="cannot open the ledger"):
        open_catalogue(f"postgresql+psycopg://app@127.0.0.1:{unused_port()}/postgres", "ledger")


def test_a_file_that_others_hold_for_too_long_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/c.sqlite3"
    holder = open_catalogue(url, "ledger")
    monkeypatch.setattr(catalogue, "_PRAGMAS", ("busy_timeout=50", *catalogue._PRAGMAS[1:]))
    late = connected(url, "ledger")
    with writing(holder, "hold it") as first:
        first.execute(text("SELECT 1"))
        with pytest.raises(StoreAway, match="cannot note it"), writing(late, "note it") as second:
            second.execute(text("SELECT 1"))
    with writing(late, "note it") as second:  # the same call, later
        second.execute(text("SELECT 1"))
    holder.dispose()
    late.dispose()


def test_a_broken_file_is_not_away(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no database, but it is long enough to be taken for one " * 30)
    with pytest.raises(StoreError) as caught:
        open_catalogue(f"sqlite:///{tmp_path / 'text'}", "ledger")
    assert not isinstance(caught.value, StoreAway)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster("max_connections=4", "superuser_reserved_connections=1") as running:
        yield running


@pytest.mark.integration
def test_a_server_that_crashed_is_away_until_it_is_back(cluster: Cluster) -> None:
    engine = open_catalogue(cluster.url, "ledger")
    with reading(engine, "look") as session:
        assert session.scalar(text("SELECT 1")) == 1
    cluster.crash()
    try:
        with pytest.raises(StoreAway), reading(engine, "look") as session:
            session.scalar(text("SELECT 1"))
        with pytest.raises(StoreAway):
            open_catalogue(cluster.url, "ledger")
    finally:
        cluster.start()
    with reading(engine, "look") as session:
        assert session.scalar(text("SELECT 1")) == 1
    engine.dispose()


@pytest.mark.integration
def test_a_session_that_the_server_ended_in_the_middle_is_away(cluster: Cluster) -> None:
    engine, admin = connected(cluster.url, "ledger"), connected(cluster.url, "ledger")
    with pytest.raises(StoreAway), writing(engine, "write") as session:
        own = session.scalar(text("SELECT pg_backend_pid()"))
        with admin.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": own})
        session.execute(text("SELECT 1"))
    engine.dispose()
    admin.dispose()


@pytest.mark.integration
def test_a_server_with_too_many_clients_is_away(cluster: Cluster) -> None:
    engines = [connected(cluster.url, "ledger") for _ in range(5)]
    held = []
    try:
        with pytest.raises(StoreAway):
            for engine in engines:
                with catalogue._database("take a connection"):
                    held.append(engine.connect())
        assert len(held) >= 3
    finally:
        for connection in held:
            connection.close()
        for engine in engines:
            engine.dispose()


@pytest.mark.integration
@pytest.mark.parametrize("wrong", ["/nothing?", "nobody@/postgres?"])
def test_a_server_that_says_no_is_not_away(cluster: Cluster, wrong: str) -> None:
    right = "/postgres?" if wrong.startswith("/") else "app@/postgres?"
    with pytest.raises(StoreError, match="FATAL") as caught:
        open_catalogue(cluster.url.replace(right, wrong), "ledger")
    assert not isinstance(caught.value, StoreAway)


@contextmanager
def answering(status: int, code: str) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def bucket(port: int, monkeypatch: pytest.MonkeyPatch) -> S3Bucket:
    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    return replace(S3Bucket.from_url("s3://faces", QUICK)[0], jitter=random.Random(3))


def test_a_bucket_without_a_server_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreAway, match="s3://faces"):
        list(bucket(unused_port(), monkeypatch).list(""))


def test_a_bucket_that_never_answers_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent, pytest.raises(StoreAway):
        list(bucket(silent.getsockname()[1], monkeypatch).list(""))


@pytest.mark.parametrize(
    ("status", "code", "is_away"),
    [(503, "SlowDown", True), (500, "InternalError", True), (403, "AccessDenied", False), (403, "ExpiredToken", False)],
)
def test_an_answer_of_a_bucket_says_whether_later_helps(
    status: int, code: str, is_away: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(status, code) as port, pytest.raises(S3Refused, match=code) as caught:
        list(bucket(port, monkeypatch).list(""))
    assert caught.value.code == code
    assert isinstance(caught.value, StoreAway) is is_away


def test_one_answer_that_drips_leaves_time_to_ask_again() -> None:
    """A listing, whose answer comes byte by byte, is no reason to wait until the operation's end."""
    asked, forever = Counter[str](), Event()

    class Dripping:
        def list_multipart_uploads(self, **_: object) -> dict[str, object]:
            asked["list"] += 1
            if asked["list"] == 1:
                forever.wait(60)
            return {"Uploads": []}

    bucket = S3Bucket("faces", Dripping(), patience=replace(PATIENCE, overall_s=4.0, pause_s=0.01))
    deadline = bucket.patience.deadline()
    assert bucket.started_uploads("media/", deadline) == []
    assert asked["list"] == 2
    assert deadline.remaining_s() > 0
    forever.set()
