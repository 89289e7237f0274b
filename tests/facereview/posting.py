"""Messages to a web application in the same process, without a server in between: any header, any blocks of a body."""

from collections.abc import Iterable, Mapping
from typing import Any

from starlette.types import ASGIApp


async def post(
    app: ASGIApp,
    body: bytes | Iterable[bytes],
    headers: Mapping[str, str],
    *,
    path: str = "/hook",
    method: str = "POST",
) -> int:
    """The status of the answer. Bytes announce their length, blocks do not."""
    blocks = iter([body] if isinstance(body, bytes) else body)
    length = {"content-length": str(len(body))} if isinstance(body, bytes) else {}
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in {**length, **headers}.items()],
    }
    status: list[int] = []

    async def receive() -> dict[str, Any]:
        block = next(blocks, None)
        return {"type": "http.request", "body": block or b"", "more_body": block is not None}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    await app(scope, receive, send)
    return status[0]
