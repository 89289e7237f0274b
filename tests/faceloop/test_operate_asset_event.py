"""Airflow hears of answers: soon, not often, and never at the cost of the answer."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from faceloop.operate.airflow_api import PARTS, Airflow, Pool
from faceloop.operate.asset_event import Announcer
from facestore.errors import ServerAway, ServerError, ServerRefused
from facestore.ids import JsonValue


def until(is_so: Callable[[], bool], patience_s: float = 10.0) -> None:
    end = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


class Post:
    """Notes what it is told; fails as often as it should, or waits until it may go on."""

    def __init__(self, failures: int = 0) -> None:
        self.told: list[int] = []
        self.failures, self.calls = failures, 0
        self.may = threading.Event()
        self.may.set()

    def __call__(self, changes: int) -> None:
        self.may.wait(10)
        self.calls += 1
        if self.calls <= self.failures:
            raise ServerAway("Airflow is away")
        self.told.append(changes)


def announcer(post: Post, said: list[str], every_s: float = 0.05) -> Announcer:
    made = Announcer(post, every_s=every_s, say=said.append)
    made.start()
    return made


def test_what_comes_in_a_burst_is_one_event_and_nothing_is_left_out() -> None:
    post, said = Post(), list[str]()
    heard = announcer(post, said)
    post.may.clear()
    began = time.monotonic()
    for _ in range(1_000):
        heard.tell(2)
    assert time.monotonic() - began < 1.0, "telling never waits for Airflow"
    post.may.set()
    until(lambda: sum(post.told) == 2_000)
    assert len(post.told) <= 2
    heard.stop()


def test_events_are_as_far_apart_as_they_should_be() -> None:
    post, said = Post(), list[str]()
    heard = announcer(post, said, every_s=0.3)
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        heard.tell(1)
        time.sleep(0.005)
    assert 3 <= len(post.told) <= 4
    heard.stop()


def test_a_post_that_fails_is_tried_again_and_given_up_in_one_line() -> None:
    post, said = Post(failures=2), list[str]()
    heard = announcer(post, said)
    heard.tell(5)
    until(lambda: post.told == [5])
    assert said == []
    post.failures = 100
    heard.tell(7)
    until(lambda: len(said) == 1)
    assert said[0].startswith("Airflow was not told of 7 changes, its schedule finds them")
    post.failures = 0
    heard.tell(1)
    until(lambda: post.told == [5, 1])
    heard.stop()


def test_ending_does_not_wait_for_an_airflow_that_hangs() -> None:
    post, said = Post(), list[str]()
    post.may.clear()
    heard = announcer(post, said)
    heard.tell(1)
    began = time.monotonic()
    heard.stop()
    assert time.monotonic() - began < 2.0
    post.may.set()


class Stage:
    """An api-server's edge: answers by method and path, notes what it was asked. A token works `good_for` times."""

    def __init__(self, answers: dict[str, tuple[int, JsonValue]], good_for: int = 1_000) -> None:
        self.asked: list[str] = []
        self.bodies: list[JsonValue] = []
        self.left, outer = 0, self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.asked.append(f"{self.command} {path}")
                if path == "/auth/token":
                    outer.left = good_for
                    self.say(201, {"access_token": "one"})
                elif path != "/api/v2/monitor/health" and outer.left <= 0:
                    self.say(401, {})
                else:
                    outer.left -= 1
                    outer.bodies.append(json.loads(body) if body else None)
                    self.say(*answers.get(f"{self.command} {path}", (404, {"detail": "nothing here"})))

            do_POST = do_GET  # noqa: N815

            def say(self, status: int, content: JsonValue) -> None:
                text = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> "Stage":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def airflow(self) -> Airflow:
        return Airflow(f"http://127.0.0.1:{self.server.server_address[1]}", "robot", "secret", timeout_s=5)


ASSETS: tuple[int, JsonValue] = (200, {"assets": [{"id": 3, "name": "reviews2"}, {"id": 7, "name": "reviews"}]})


def test_an_event_names_the_asset_by_its_id_and_a_token_that_ran_out_is_fetched_anew() -> None:
    answers = {"GET /api/v2/assets": ASSETS, "POST /api/v2/assets/events": (200, {})}
    with Stage(answers, good_for=3) as stage:
        airflow = stage.airflow()
        for changes in (1, 2):
            airflow.post_asset_event("reviews", {"changes": changes})
        airflow.close()
    assert [body for body in stage.bodies if body] == [
        {"asset_id": 7, "extra": {"changes": 1}},
        {"asset_id": 7, "extra": {"changes": 2}},
    ]
    assert stage.asked.count("POST /auth/token") == 2


def test_each_kind_of_refusal_is_an_error_of_ours() -> None:
    with Stage({"GET /api/v2/assets": (200, {"assets": []}), "GET /a": (500, {}), "GET /b": (403, {})}) as stage:
        airflow = stage.airflow()
        with pytest.raises(ServerError, match="knows no asset 'reviews'"):
            airflow.post_asset_event("reviews", {})
        with pytest.raises(ServerAway, match="500"):
            airflow.call("GET", "/a")
        with pytest.raises(ServerRefused, match="403"):
            airflow.call("GET", "/b")
        with pytest.raises(ServerError, match="404"):
            airflow.call("GET", "/c")
    with pytest.raises(ServerAway, match="does not answer"):
        airflow.call("GET", "/a")
    assert airflow.unhealthy() == list(PARTS)
    airflow.close()


def test_parts_without_a_sign_of_life_are_named() -> None:
    health: JsonValue = {part: {"status": None if part == "triggerer" else "healthy"} for part in PARTS}
    with Stage({"GET /api/v2/monitor/health": (200, health)}) as stage:
        airflow = stage.airflow()
        assert airflow.unhealthy() == ["triggerer"]
        airflow.close()
    assert stage.asked == ["GET /api/v2/monitor/health"], "no password is needed"


def test_a_pool_that_an_operator_changed_is_left_alone() -> None:
    answers: dict[str, tuple[int, JsonValue]] = {"GET /api/v2/pools": (200, {"pools": [{"name": "faceloop"}]})}
    answers["POST /api/v2/pools"] = (201, {})
    with Stage(answers) as stage:
        airflow = stage.airflow()
        for name in ("faceloop", "faceloop_gpu"):
            airflow.ensure_pool(Pool(name=name, slots=1, description="one"))
        airflow.close()
    assert [body for body in stage.bodies if body] == [
        {"name": "faceloop_gpu", "slots": 1, "description": "one", "include_deferred": False}
    ]
