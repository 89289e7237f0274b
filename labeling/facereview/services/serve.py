"""Runs our small web services: the webhook receiver and the suggestion service."""

import uvicorn
from starlette.types import ASGIApp

_CONNECTIONS = 512  # at once; more are told to come again
_HEADERS_BYTES = 16 << 10
_IDLE_SECONDS = 5


def serve(app: ASGIApp, *, host: str, port: int) -> None:
    """Until the process is told to end; then what waits is finished first. Logs no request: they carry addresses.

    Raises SystemExit when the port cannot be had.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        lifespan="on",
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_IDLE_SECONDS,
        h11_max_incomplete_event_size=_HEADERS_BYTES,
        http="h11",
        ws="none",
        timeout_graceful_shutdown=15,
    )
    uvicorn.Server(config).run()
