"""serve-metrics: the data loop for Prometheus, and the reports of Dag runs for people."""

import os
import signal
import time
from contextlib import suppress
from typing import Annotated

import typer

from faceloop.commands.options import ParamsOption, RootOption, SetOption
from faceloop.commands.recording import bare_workspace
from faceloop.progress import progress_for
from facestore.errors import ConfigError, StoreError
from facestore.ledger import Ledger

_FRESH_S = 3.0  # a scrape within so long after another gets the same figures


def serve_metrics(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 9108,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Serve /metrics, /runs/ and /healthz until stopped. Reads the catalogue only; asks no file and no server."""
    from faceloop.watch.collector import LoopCollector
    from faceloop.watch.endpoint import serve, web_app

    work = bare_workspace(root, params, overrides or [])
    progress = progress_for(os.environ)
    work.root.mkdir(parents=True, exist_ok=True)
    with suppress(StoreError):  # away: the metrics say so
        Ledger(work.ledger_url()).close()  # a root that never ran has an empty catalogue, not a missing one
    collector = LoopCollector(
        work.ledger_url(), work.root, fresh_s=_FRESH_S, monotonic=time.monotonic, say=progress.say
    )
    signal.signal(signal.SIGTERM, _stop)
    app = web_app(work.root, collector)
    try:
        serve(app, host=host, port=port, ready=lambda: progress.say(f"metrics are at http://{host}:{port}/metrics"))
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from error
    except KeyboardInterrupt:
        progress.say("metrics are no longer served")


def _stop(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt
