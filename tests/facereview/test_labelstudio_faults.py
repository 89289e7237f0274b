"""The adapter against servers that fail: which error comes, how often is tried, what is said."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from facereview.labelstudio.adapter import LabelStudioServer
from facereview.labelstudio.local import free_port
from facereview.server import TaskDraft
from facestore.errors import ServerAway, ServerError, ServerGone, ServerRefused

from .listening import Told, listening

LEGACY = "1" * 40
WHO = Told(path="/api/organizations/", content='[{"id": 1, "created_at": "2026-01-02T03:04:05.000006Z"}]')


@contextmanager
def adapter(url: str, *, retries: int = 0, timeout_s: float = 5.0) -> Iterator[LabelStudioServer]:
    server = LabelStudioServer(url, LEGACY, retries=retries, timeout_s=timeout_s, sleep=lambda seconds: None)
    with closing(server):
        yield server


def instance(url: str) -> str:
    with adapter(url) as server:
        return server.instance


def test_nobody_there_is_away_and_says_what_to_do() -> None:
    with pytest.raises(ServerAway, match="see that it runs"):
        LabelStudioServer(f"http://127.0.0.1:{free_port()}", LEGACY, sleep=lambda seconds: None)


def test_a_slow_server_is_away_after_the_time_that_was_given() -> None:
    slow = [WHO, Told(after_s=0.6)]
    late = pytest.raises(ServerAway, match="did not answer in time")
    with listening(slow) as (url, _), adapter(url, timeout_s=0.2) as server, late:
        server.task(1)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (500, ServerAway),
        (502, ServerAway),
        (503, ServerAway),
        (429, ServerAway),
        (401, ServerRefused),
        (403, ServerRefused),
        (400, ServerRefused),
        (302, ServerRefused),
        (404, ServerGone),
    ],
)
def test_each_status_is_one_error(status: int, error: type[ServerError]) -> None:
    with listening([WHO, Told(status=status, content='{"detail": "because"}')]) as (url, _), adapter(url) as server:
        with pytest.raises(error) as caught:
            server.task(1)
        assert type(caught.value) is error


def test_a_read_is_tried_again_and_goes_through() -> None:
    waited: list[float] = []
    with listening([Told(path="/api/organizations/", status=500, times=2), WHO]) as (url, heard):
        LabelStudioServer(url, LEGACY, retries=2, sleep=waited.append).close()
    assert len(heard) == 3
    assert waited == [0.5, 1.0]


def test_a_write_is_never_tried_again() -> None:
    with (
        listening([WHO, Told(path="/api/projects/1/import", status=500)]) as (url, heard),
        adapter(url, retries=5) as server,
        pytest.raises(ServerAway),
    ):
        server.create_tasks(1, [TaskDraft(question_id="q", data={}, prediction=None)])
    assert [call.method for call in heard] == ["GET", "POST"]


def test_a_token_exchange_that_fails_is_told_apart_from_one_that_is_refused() -> None:
    # header {"alg":"HS256"}, payload {"token_type":"refresh","exp":4102444800}
    jwt = "eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCIsImV4cCI6NDEwMjQ0NDgwMH0.c2ln"
    html = Told(status=500, content="<html>broken</html>", content_type="text/html")
    with listening([html]) as (url, _), pytest.raises(ServerAway):
        LabelStudioServer(url, jwt, retries=0)
    refused = Told(status=401, content='{"detail": "Token is blacklisted", "code": "token_not_valid"}')
    with listening([refused]) as (url, _), pytest.raises(ServerRefused, match="blacklisted"):
        LabelStudioServer(url, jwt, retries=0)


def test_an_expired_token_is_refused_without_a_call() -> None:
    # payload {"token_type":"refresh","exp":1}
    jwt = "eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCIsImV4cCI6MX0.c2ln"
    with listening() as (url, heard), pytest.raises(ServerRefused, match="expired"):
        LabelStudioServer(url, jwt)
    assert not heard


@pytest.mark.parametrize(
    "content", ["<html>log in first</html>", '{"detail": "hello"}', '[{"id": "x"}]', "[7]", "[]", "null"]
)
def test_another_program_at_the_address_is_refused(content: str) -> None:
    with listening([Told(content=content)]) as (url, _), pytest.raises(ServerRefused):
        instance(url)


def test_another_database_at_the_same_address_is_another_instance() -> None:
    later = Told(path="/api/organizations/", content='[{"id": 1, "created_at": "2026-01-02T03:04:05.000007Z"}]')
    with listening([WHO]) as (url, _):
        first = instance(url)
    with listening([WHO]) as (url, _):
        assert instance(url) == first
    with listening([later]) as (url, _):
        assert instance(url) != first


def test_a_secret_in_a_message_is_none_of_ours() -> None:
    with listening([Told(status=401, content='{"detail": "Invalid token."}')]) as (url, _):
        with pytest.raises(ServerRefused) as caught:
            instance(url)
        assert LEGACY not in str(caught.value)
