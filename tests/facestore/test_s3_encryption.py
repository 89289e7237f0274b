"""What a bucket is asked on the wire for encryption: SSE-S3 and SSE-KMS, small objects and large ones."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from facestore.errors import ConfigError
from facestore.ids import media_key, sha256_hex
from facestore.objects import open_store

ALGORITHM, KEY_ID = "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id"
PART = 5 << 20
Call = tuple[str, str, dict[str, str]]  # method, what it does, its headers


class _Bucket(ThreadingHTTPServer):
    """Answers as S3 would to one who puts objects; keeps what was asked. `is_deaf`: encrypts nothing."""

    daemon_threads = True

    def __init__(self, *, is_deaf: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.calls: list[Call] = []
        self.stored: dict[str, dict[str, str]] = {}  # path → headers of its HEAD
        self.is_deaf = is_deaf


class _Answers(BaseHTTPRequestHandler):
    server: _Bucket

    def _take(self) -> tuple[str, Mapping[str, list[str]], bytes]:
        url = urlsplit(self.path)
        query = parse_qs(url.query, keep_blank_values=True)
        what = next((name for name in ("uploads", "partNumber", "uploadId", "delete", "versions") if name in query), "")
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.calls.append((self.command, what, headers))
        body = self.rfile.read(int(headers.get("content-length", 0)))
        return url.path, query, body

    def _say(self, status: int, headers: Mapping[str, str] = {}, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _keep(self, path: str, size: int) -> None:
        headers = self.server.calls[-1][2]
        kept = {name: value for name, value in headers.items() if name in (ALGORITHM, KEY_ID)}
        meta = {name: value for name, value in headers.items() if name.startswith("x-amz-meta-")}
        self.server.stored[path] = {
            "ETag": '"e"',
            "Content-Length": str(size),
            **meta,
            **({} if self.server.is_deaf else kept),
        }

    def do_HEAD(self) -> None:
        path, *_ = self._take()
        found = self.server.stored.get(path)
        self._say(200, found) if found else self._say(404)

    def do_PUT(self) -> None:
        path, query, body = self._take()
        if "partNumber" not in query:
            self._keep(path, int(self.headers.get("x-amz-decoded-content-length", len(body))))
        self._say(200, {"ETag": '"e"'})

    def do_GET(self) -> None:
        _, query, _ = self._take()
        name = "ListVersionsResult" if "versions" in query else "ListMultipartUploadsResult"
        self._say(200, {}, f"<{name}><IsTruncated>false</IsTruncated></{name}>".encode())

    def do_POST(self) -> None:
        path, query, _ = self._take()
        if "uploads" in query:
            self._keep(path, SIZE_LARGE)
            self._say(200, {}, b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
        elif "uploadId" in query:
            self._say(200, {}, b"<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>")
        else:
            self.server.stored.clear()
            self._say(200, {}, b"<DeleteResult/>")

    def log_message(self, *_: object) -> None:
        pass


SMALL = b"small" * 100
SIZE_LARGE = PART + 1_000


@contextmanager
def _bucket(monkeypatch: pytest.MonkeyPatch, *, is_deaf: bool = False) -> Iterator[_Bucket]:
    server = _Bucket(is_deaf=is_deaf)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "ci",
        "AWS_SECRET_ACCESS_KEY": "ci-secret-key",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_address[1]}",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("facestore.s3objects.SINGLE_PUT_BYTES", 1 << 20)
    monkeypatch.setattr("facestore.s3objects.PART_BYTES", PART)
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _put(url: str, payload: bytes, folder: Path) -> None:
    path = folder / "file"
    path.write_bytes(payload)
    store = open_store(url, may_link=False)
    store.put(media_key(sha256_hex(payload)), path)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ("?encryption=AES256", {ALGORITHM: "AES256"}),
        ("?encryption=aws:kms", {ALGORITHM: "aws:kms"}),
        ("?encryption=aws:kms&key=alias/faces", {ALGORITHM: "aws:kms", KEY_ID: "alias/faces"}),
        ("", {}),
    ],
)
@pytest.mark.parametrize("payload", [SMALL, bytes(SIZE_LARGE)], ids=["one request", "parts"])
def test_what_begins_an_object_asks_for_its_encryption(
    settings: str, wanted: dict[str, str], payload: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _bucket(monkeypatch) as server:
        _put(f"s3://faces/p{settings}", payload, tmp_path)
    begins = [headers for method, what, headers in server.calls if (method, what) in (("PUT", ""), ("POST", "uploads"))]
    assert len(begins) == 1
    assert {name: value for name, value in begins[0].items() if name in (ALGORITHM, KEY_ID)} == wanted
    ends = [headers for method, what, headers in server.calls if (method, what) in (("PUT", ""), ("POST", "uploadId"))]
    assert [headers.get("if-none-match") for headers in ends] == ["*"]


@pytest.mark.integration
def test_a_server_that_does_not_use_the_key_service_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _bucket(monkeypatch, is_deaf=True) as server:
        with pytest.raises(ConfigError, match="aws:kms"):
            _put("s3://faces/p?encryption=aws:kms&key=alias/faces", SMALL, tmp_path)
        assert ("GET", "versions") in [(method, what) for method, what, _ in server.calls]
