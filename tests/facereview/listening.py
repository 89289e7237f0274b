"""A tiny HTTP server that hears calls and answers as told: the network's edge, for hints and for faults."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    method: str
    path: str
    authorization: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What to answer: to paths that begin so, after so long."""

    path: str = "/"
    status: int = 200
    content: str = "{}"
    content_type: str = "application/json"
    after_s: float = 0.0
    times: int = 1_000_000  # then the next that fits


@contextmanager
def listening(answers: Sequence[Told] = (Told(),)) -> Iterator[tuple[str, list[Heard]]]:
    """Its address, and what it heard so far. The first answer that fits is given, 404 where none does."""
    heard: list[Heard] = []
    given = dict.fromkeys(range(len(answers)), 0)

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            authorization = self.headers.get("Authorization") or ""
            heard.append(Heard(method=self.command, path=self.path, authorization=authorization, body=body))
            for number, told in enumerate(answers):
                if self.path.startswith(told.path) and given[number] < told.times:
                    given[number] += 1
                    time.sleep(told.after_s)
                    self._answer(told)
                    return
            self._answer(Told(status=404))

        do_GET = do_POST = do_PATCH = do_DELETE = handle_one  # noqa: N815

        def _answer(self, told: Told) -> None:
            content = told.content.encode()
            try:
                self.send_response(told.status)
                self.send_header("Content-Type", told.content_type)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                return  # whoever asked did not wait

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", heard
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
