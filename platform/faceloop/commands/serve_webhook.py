"""serve-webhook: hears from Label Studio that something changed, notes where to look, and tells Airflow."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer

from faceloop.commands.options import ParamsOption, RootOption, SetOption, workspace
from facereview.services.webhook import Limits, receiver
from facestore.reviewlog import ReviewLog

_LIMITS = Limits(body_bytes=1_000_000, body_seconds=10.0, waiting=10_000, refusals_per_second=20.0)
_ASSET = "reviews"
_EVENT_EVERY_S = 10.0
_AIRFLOW_TIMEOUT_S = 30.0


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
    """Take in webhooks until stopped. They are hints only: `faceloop review pull` reads what is true.

    With FACELOOP_AIRFLOW_URL, _USER and _PASSWORD set, Airflow is told (asset `reviews`), every ten seconds at most.
    """
    from facereview.services.serve import serve

    work = workspace(root, params, overrides)
    work.root.mkdir(parents=True, exist_ok=True)
    log = ReviewLog(work.ledger_url())
    try:
        with _airflow_told(os.environ) as told:
            app = receiver(
                secrets=[one for one in (secret, old_secret) if one],
                keep=log.take_hints,
                limits=_LIMITS,
                now=lambda: datetime.now(UTC),
                monotonic=time.monotonic,
                say=_to_stderr,
                kept=told,
            )
            _to_stderr(f"webhooks are taken at http://{host}:{port}/hook")
            serve(app, host=host, port=port)
    finally:
        log.close()


@contextmanager
def _airflow_told(environ: Mapping[str, str]) -> Iterator[Callable[[int], None] | None]:
    """What to call after hints are stored; None where no Airflow is named."""
    from faceloop.operate.airflow_api import Airflow
    from faceloop.operate.asset_event import Announcer
    from faceloop.operate.parts import AIRFLOW_PASSWORD, AIRFLOW_URL, AIRFLOW_USER

    url, user, password = (environ.get(name) for name in (AIRFLOW_URL, AIRFLOW_USER, AIRFLOW_PASSWORD))
    if not url or not user or not password:
        yield None
        return
    airflow = Airflow(url, user, password, timeout_s=_AIRFLOW_TIMEOUT_S)
    announcer = Announcer(
        lambda changes: airflow.post_asset_event(_ASSET, {"changes": changes}), every_s=_EVENT_EVERY_S, say=_to_stderr
    )
    announcer.start()
    try:
        yield announcer.tell
    finally:
        announcer.stop()
        airflow.close()


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
