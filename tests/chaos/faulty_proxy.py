"""A proxy of ours before a real S3 server. It spoils some answers, drawn by a seed, in one of eight ways."""

import http.client
import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Fault = Literal["error_500", "slow_down_503", "drip", "cut", "flip_single", "flip_ranged", "reset", "hang"]
FAULTS: tuple[Fault, ...] = (
    "error_500", "slow_down_503", "drip", "cut", "flip_single", "flip_ranged", "reset", "hang",
)  # fmt: skip
_ERRORS = {"error_500": (500, "InternalError"), "slow_down_503": (503, "SlowDown")}
_DRIP_PAUSE_S = 0.05


@dataclass(slots=True)
class FaultyProxy:
    """Relays to `upstream_port`; `share` of the requests meet `fault`. `fired` counts them."""

    upstream_port: int
    fault: Fault | None = None
    share: float = 0.0
    seed: int = 0
    fired: int = 0
    port: int = 0
    _chooser: random.Random = field(default_factory=random.Random)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _is_over: threading.Event = field(default_factory=threading.Event)

    def begin(self, fault: Fault | None, share: float, seed: int) -> None:
        self.fault, self.share, self.fired = fault, share, 0
        self._chooser = random.Random(seed)

    def drawn(self, method: str, has_range: bool, body_bytes: int) -> Fault | None:
        """The fault that this answer meets. Bytes turn over only in bodies of objects."""
        if self.fault is None or (self.fault == "cut" and not body_bytes):
            return None
        if self.fault in ("flip_single", "flip_ranged") and not (method == "GET" and has_range and body_bytes):
            return None
        with self._lock:
            if self._chooser.random() >= self.share:
                return None
            self.fired += 1
        return self.fault

    def place(self, body_bytes: int) -> int:
        with self._lock:
            return self._chooser.randrange(body_bytes)

    def pause(self, seconds: float | None) -> None:
        """Until so much time has passed (None: for ever), or the proxy ends."""
        self._is_over.wait(seconds)

    @contextmanager
    def running(self) -> Iterator["FaultyProxy"]:
        proxy = self

        class Handler(_Relay):
            owner = proxy

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                return  # a client that hung up

        server = Server(("127.0.0.1", 0), Handler)
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._is_over.set()
            server.shutdown()
            server.server_close()
            thread.join()


class _Relay(BaseHTTPRequestHandler):
    owner: FaultyProxy
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return

    def _relay(self) -> None:
        body = self._body()
        upstream = http.client.HTTPConnection("127.0.0.1", self.owner.upstream_port, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _NOT_RELAYED}
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                upstream.putheader(name, value)
            upstream.putheader("Connection", "close")
            if body or self.command in ("PUT", "POST"):
                upstream.putheader("Content-Length", str(len(body)))
            upstream.endheaders(body or None)
            answer = upstream.getresponse()
            payload = answer.read()
            self._answer(answer, payload)
        finally:
            upstream.close()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _relay  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        whole = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def _answer(self, answer: http.client.HTTPResponse, payload: bytes) -> None:
        fault = self.owner.drawn(self.command, "Range" in self.headers, len(payload))
        match fault:
            case "hang":
                self.owner.pause(None)
                self.close_connection = True
                return
            case "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True
                return
            case "error_500" | "slow_down_503":
                self._refuse(*_ERRORS[fault])
                return
            case "flip_single" | "flip_ranged":
                place = self.owner.place(8 * len(payload))
                spoiled = bytearray(payload)
                spoiled[place // 8] ^= 1 << place % 8
                payload = bytes(spoiled)
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(payload))
        if length is not None and answer.status != 204:
            self.send_header("Content-Length", length)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "drip":
            for place in range(len(payload)):
                self.wfile.write(payload[place : place + 1])
                self.wfile.flush()
                self.owner.pause(_DRIP_PAUSE_S)
            return
        if fault == "cut":
            payload = payload[: self.owner.place(len(payload))]
            self.close_connection = True
        with suppress(OSError):
            self.wfile.write(payload)

    def _refuse(self, status: int, code: str) -> None:
        text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>drawn</Message></Error>".encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", "0" if self.command == "HEAD" else str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)


_NOT_RELAYED = {"connection", "expect", "transfer-encoding", "content-length"}
