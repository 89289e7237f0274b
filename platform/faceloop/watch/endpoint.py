"""The web side of watching: /metrics for Prometheus, /healthz, and the reports of Dag runs under /runs/."""

import json
from collections.abc import Callable, Iterable
from html import escape
from http import HTTPStatus
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.registry import Collector

from faceloop.watch.page import PAGE, VALUES
from faceloop.watch.runs import FOLDER, folder_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_MOST_LISTED = 200
_IDLE_S = 10  # a client that says nothing for so long is let go
_KINDS = {PAGE: "text/html; charset=utf-8", VALUES: "application/json"}
_SAFE = [
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"),
]


def web_app(root: Path, collector: Collector) -> "WSGIApplication":
    """The service as a WSGI application. Files are found by run id alone: no address leads to any other."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    metrics = make_wsgi_app(registry)

    def app(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        path = str(environ.get("PATH_INFO", "")).encode("latin-1").decode("utf-8", "replace")
        if environ.get("REQUEST_METHOD") not in ("GET", "HEAD"):
            return _answer(start, HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b"GET only\n")
        if path == "/metrics":
            found: Iterable[bytes] = metrics(environ, start)
            return found
        if path == "/healthz":
            return _answer(start, HTTPStatus.OK, "text/plain", b"ok\n")
        if path in ("/runs", "/runs/"):
            return _answer(start, HTTPStatus.OK, _KINDS[PAGE], _listing(root).encode())
        if path.startswith("/runs/"):
            return _run_file(root, path.removeprefix("/runs/"), start)
        return _answer(start, HTTPStatus.NOT_FOUND, "text/plain", b"/metrics, /runs/ or /healthz\n")

    return app


def serve(app: "WSGIApplication", *, host: str, port: int, ready: Callable[[], None]) -> None:
    """Until the process is told to end. Raises OSError when the port cannot be had."""
    with make_server(host, port, app, server_class=_Server, handler_class=_SilentHandler) as server:
        ready()
        server.serve_forever()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """As the parents do, without asking a name server for this machine's name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _SilentHandler(WSGIRequestHandler):
    timeout = _IDLE_S

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  # the parent's name
        """Requests carry addresses: they are not logged."""


def _run_file(root: Path, asked: str, start: "StartResponse") -> Iterable[bytes]:
    """`RUN_ID/`, `RUN_ID/index.html` or `RUN_ID/report.json`; a run id may hold slashes."""
    run_id, _, name = asked.rpartition("/")
    name = name or PAGE
    if not run_id or name not in _KINDS:
        if (root / FOLDER / folder_of(asked) / PAGE).is_file():  # the slash at the end was forgotten
            start("301 Moved Permanently", [("Location", f"/runs/{quote(asked, safe='')}/"), ("Content-Length", "0")])
            return []
        return _answer(start, HTTPStatus.NOT_FOUND, "text/plain", b"no such report\n")
    try:
        body = (root / FOLDER / folder_of(run_id) / name).read_bytes()
    except OSError:
        text = b"no report of this run yet; `faceloop watch report` writes it\n"
        return _answer(start, HTTPStatus.NOT_FOUND, "text/plain", text)
    return _answer(start, HTTPStatus.OK, _KINDS[name], body)


def _listing(root: Path) -> str:
    pages = sorted((root / FOLDER).glob(f"*/{PAGE}"), key=lambda page: (-page.stat().st_mtime_ns, page.parent.name))
    rows = "".join(
        f'<li><a href="{quote(one, safe="")}/">{escape(one)}</a></li>' for one in map(_run_of, pages[:_MOST_LISTED])
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Runs</title><style>body{font:15px/1.6 '
        "system-ui,sans-serif;margin:32px}</style><h1>Runs, newest first</h1><ul>" + rows + "</ul></html>\n"
    )


def _run_of(page: Path) -> str:
    """The run id of a report, from its values: a long one is not spelled in the folder's name."""
    try:
        return str(json.loads((page.parent / VALUES).read_text(encoding="utf-8"))["run_id"])
    except (OSError, ValueError, KeyError):
        return page.parent.name


def _answer(start: "StartResponse", status: HTTPStatus, kind: str, body: bytes) -> Iterable[bytes]:
    headers = [("Content-Type", kind), ("Content-Length", str(len(body))), *_SAFE]
    start(f"{status.value} {status.phrase}", headers)
    return [body]
