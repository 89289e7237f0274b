"""serve-webhook: hears from Label Studio that something changed, and notes where to look."""

import sys
import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from faceloop.commands.options import ParamsOption, RootOption, SetOption, workspace
from facereview.services.webhook import Limits, receiver
from facestore.reviewlog import ReviewLog

_LIMITS = Limits(body_bytes=1_000_000, body_seconds=10.0, waiting=10_000, refusals_per_second=20.0)


def serve_webhook(
    secret: Annotated[str, typer.Option(envvar="FACELOOP_WEBHOOK_SECRET", help="That Label Studio must send.")],
    old_secret: Annotated[
        str, typer.Option(envvar="FACELOOP_WEBHOOK_OLD_SECRET", help="Taken too, while the secret is changed.")
    ] = "",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8090,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Take in webhooks until stopped. They are hints only: `faceloop review pull` reads what is true."""
    from facereview.services.serve import serve

    work = workspace(root, params, overrides)
    work.root.mkdir(parents=True, exist_ok=True)
    log = ReviewLog(work.ledger_url())
    try:
        app = receiver(
            secrets=[one for one in (secret, old_secret) if one],
            keep=log.take_hints,
            limits=_LIMITS,
            now=lambda: datetime.now(UTC),
            monotonic=time.monotonic,
            say=_to_stderr,
        )
        _to_stderr(f"webhooks are taken at http://{host}:{port}/hook")
        serve(app, host=host, port=port)
    finally:
        log.close()


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
