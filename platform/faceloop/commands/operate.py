"""The whole loop on this machine: Airflow, Label Studio, the webhook and the metrics, up, down, and how they stand."""

import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

import faceloop
from faceloop.operate.bucket import known_access, make_access
from faceloop.operate.deployment import (
    SUPERVISOR_GRACE_S,
    end,
    install_databases,
    leftovers,
    one_at_a_time,
    prepare,
    standing_up,
    start_supervisor,
    wait_until_ready,
)
from faceloop.operate.parts import Site, parts_of
from faceloop.operate.place import Place, kept_keys, kept_ports, place_of, refuse_taken
from faceloop.operate.processes import find_process, lives
from faceloop.operate.supervisor import Supervisor
from faceloop.params import default_params_path
from facereview.labelstudio.local import RunningServer, running
from facestore.errors import ConfigError, StageError

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

FolderOption = Annotated[Path, typer.Option("--folder", help="Everything of the deployment lies in it.")]
DagsOption = Annotated[Path | None, typer.Option("--dags", envvar="FACELOOP_DAGS", help="Folder of the Dag files.")]
PortOption = Annotated[
    int | None, typer.Option("--port-base", min=1024, max=65_000, help="First of four ports; default: the free ones.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]
S3Option = Annotated[bool, typer.Option("--s3", help="A new deployment keeps media in an S3 server of its own.")]
DEFAULT_FOLDER = Path("data/loop")


@app.command()
def up(
    folder: FolderOption = DEFAULT_FOLDER,
    port_base: PortOption = None,
    dags: DagsOption = None,
    has_bucket: S3Option = False,
    as_json: JsonOption = False,
) -> None:
    """Start everything, wait until it is ready, say where it is and how to get in."""
    place, began = place_of(folder), time.monotonic()
    with one_at_a_time(place):
        if standing_up(place) is None:
            if leftovers(place):
                _say("what an earlier supervisor left behind is ended first")
                end(place)
            if has_bucket:
                make_access(place)
            site = _site(place, port_base, dags)
            refuse_taken(site.ports)
            prepare(site, default_params_path())
            _say("Airflow's database, Label Studio …")
            install_databases(site, os.environ, _say)
            command = [str(Path(sys.executable).with_name("faceloop")), "operate", "supervise"]
            command += ["--folder", str(place.folder), "--dags", str(site.dags)]
            broken = wait_until_ready(site, start_supervisor(site, command, os.environ), _say)
            seconds: float | None = round(time.monotonic() - began, 1)
        else:
            site, broken, seconds = _site(place, port_base, dags), [], None
    server = _labels(place)
    if as_json:
        _print_json(site, server, broken, seconds)
    else:
        _print_words(site, server, broken, seconds)


@app.command()
def down(folder: FolderOption = DEFAULT_FOLDER) -> None:
    """End everything, also what survived its supervisor. Nothing that was published is lost."""
    place = place_of(folder)
    if not place.folder.is_dir():
        raise ConfigError(f"{folder}: there is no such folder; nothing was started in it")
    with one_at_a_time(place):
        found = leftovers(place)
        killed = end(place)
        left = leftovers(place)
    if left:
        raise StageError(f"{left} processes of {folder} do not end; look at them with `ps`")
    typer.echo(json.dumps({"ended": found, "killed": killed, "left": left}))


@app.command()
def status(folder: FolderOption = DEFAULT_FOLDER, as_json: JsonOption = False) -> None:
    """Which parts run, since when, and how often they had to be started again. Exit code 2 when it is not up."""
    place = place_of(folder)
    standing = standing_up(place) if place.folder.is_dir() else None
    if standing is None:
        raise StageError(f"{folder} is not up; `faceloop operate up --folder {folder}` starts it")
    parts = [{**asdict(part), "is_up": part.process is not None and lives(part.process)} for part in standing.parts]
    if as_json:
        typer.echo(json.dumps({"supervisor": standing.supervisor.pid, "parts": parts}))
        return
    rows = [("part", "process", "up since (UTC)", "restarts", "address")]
    for part, shown in zip(standing.parts, parts, strict=True):
        pid = str(part.process.pid) if part.process and shown["is_up"] else "starts again"
        rows.append((part.name, pid, part.up_since[:19].replace("T", " "), str(part.restarts), part.address))
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@app.command(hidden=True)
def supervise(folder: FolderOption = DEFAULT_FOLDER, dags: DagsOption = None) -> None:
    """What `up` starts: keep the parts running until TERM, then end them."""
    place = place_of(folder)
    own = find_process(os.getpid())
    if own is None:
        raise StageError("the supervisor cannot read its own entry in /proc; this needs Linux")
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    site = _site(place, None, dags)
    supervisor = Supervisor(place, parts_of(site, _labels(place), os.environ), own=own, say=_say)
    supervisor.watch(told.wait)
    supervisor.end(grace_s=SUPERVISOR_GRACE_S)


def _site(place: Place, port_base: int | None, dags: Path | None) -> Site:
    dags = (dags or Path(faceloop.__path__[0]).parents[1] / "dags").resolve()
    if not dags.is_dir():
        raise ConfigError(f"{dags} is no folder of Dag files; name it with --dags")
    return Site(
        place=place,
        ports=kept_ports(place, port_base),
        keys=kept_keys(place),
        dags=dags,
        cores=os.cpu_count() or 1,
        has_metrics=find_spec("faceloop.commands.serve_metrics") is not None,
        bucket=known_access(place),
    )


def _labels(place: Place) -> RunningServer:
    server = running(place.labels)
    if server is None:
        raise StageError(f"Label Studio does not run in {place.labels}; its log lies there")
    return server


def _print_json(site: Site, server: RunningServer, broken: list[str], seconds: float | None) -> None:
    shown = {
        "airflow": site.airflow_url,
        "label_studio": server.url,
        "metrics": site.metrics_url if site.has_metrics else None,
        "folder": str(site.place.folder),
        "was_up": seconds is None,
        "seconds": seconds,
        "broken_dags": broken,
    }
    typer.echo(json.dumps(shown))


def _print_words(site: Site, server: RunningServer, broken: list[str], seconds: float | None) -> None:
    begun = "It was up already." if seconds is None else f"Up in {seconds:.0f} s."
    keys = site.keys.passwords
    lines = [
        begun,
        f"  Airflow       {site.airflow_url}   user admin, password {keys['admin']}",
        f"                (to look only: user viewer, password {keys['viewer']})",
        f"  Label Studio  {server.url}   user {server.email}, password {server.password}",
        *([f"  Metrics       {site.metrics_url}/metrics"] if site.has_metrics else []),
        f"Drop a folder of videos or photos into {site.place.inbox}.",
        "Within minutes Airflow shows its run, and Label Studio what people are asked.",
        f"Settings: {site.place.params}. Logs: {site.place.logs}.",
        f"To end it: `faceloop operate down --folder {site.place.folder}`.",
        *(f"Broken Dag file: {name}; Airflow's page shows why." for name in broken),
    ]
    typer.echo("\n".join(lines))


def _say(line: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stderr.flush()
