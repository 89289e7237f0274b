"""The command line. Settings are read here, once, and handed down; results go to stdout, progress to stderr."""

import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from faceloop.commands.auditing import audited
from faceloop.commands.late import LateCommands
from faceloop.commands.options import ALL_THREADS, ParamsOption, RootOption, SetOption, ThreadsOption, workspace
from faceloop.commands.recording import COME_BACK, NOT_READY, recorded
from faceloop.experiments.pin import refuse_pinned
from faceloop.progress import complain, log_as_json, progress_for
from faceloop.runner import Outcome, Workspace, run_stage
from facestore.errors import ConfigError, FaceloopError, InputsNotReady, LeaseHeld, ServerAway, StoreAway
from facestore.publish import write_whole

if TYPE_CHECKING:
    from faceloop.reports.truth import TruthSpec

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__, cls=LateCommands
)

TruthOption = Annotated[str | None, typer.Option("--truth", help="A truth.json, or `folders`: one folder a person.")]
TruthExceptOption = Annotated[
    Path | None, typer.Option("--truth-except", help="Paths, one a line, whose folder lies about who is on them.")
]


@app.callback()
def _commands() -> None:
    """Faceloop: raw footage to identity-labelled shards, and back round."""


def _summary(outcome: Outcome) -> dict[str, object]:
    state = "unchanged" if outcome.was_published_before else "published" if outcome.is_published else "staged"
    return {"stage": outcome.stage, "state": state, "run_key": outcome.run_key, **outcome.report.counts()}


@app.command()
def run(
    stage: Annotated[
        str, typer.Argument(help="ingest, detect, embed, cluster, identify, select, pack, train, evaluate or export.")
    ],
    batch: Annotated[
        list[str] | None, typer.Option("--batch", help="Only this batch; may be repeated; staged until a run without.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Run it although it is published for these inputs.")] = False,
    wait: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait while another run does the same.")] = 0,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
    threads: ThreadsOption = ALL_THREADS,
) -> None:
    """Run one stage. Prints one line of JSON: state and counts."""
    batches = sorted(set(batch or ()))
    work = workspace(root, params, overrides, threads)
    refuse_pinned(work, stage)
    outcome = run_stage(work, stage, batches=batches, again=again, wait_s=wait)
    _put_on_record(work, outcome)
    chosen = {"batches": batches} if batches else {}
    typer.echo(json.dumps({**_summary(outcome), **chosen}, ensure_ascii=False))


def _put_on_record(work: Workspace, outcome: Outcome) -> None:
    """Trainings and evaluations, with what they ran with."""
    if outcome.stage not in ("train", "evaluate"):
        return
    from faceloop.experiments.recording import record_run
    from faceloop.jobs.revision import running_revision

    record_run(work, outcome, revision=running_revision(os.environ))


@app.command()
def flow(
    source: Annotated[str, typer.Argument(help="A folder of videos and photos, or s3://BUCKET/PREFIX.")],
    root: Annotated[Path, typer.Option("--root", help="Where everything is written.")],
    truth: TruthOption = None,
    truth_except: TruthExceptOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
    threads: ThreadsOption = ALL_THREADS,
) -> None:
    """Run ingest to pack on any folder, then the report. Bad files are quarantined and shown; exit code 0."""
    from faceloop.flow import run_flow

    spec = _truth_spec(truth, truth_except)
    fixed = [f"paths.source={json.dumps(source if '://' in source else str(Path(source).resolve()))}"]
    if spec is not None and spec.file is None:
        fixed.append("ingest.subset_from=source")  # the folder is the answer: no stage may see it as a subset
    work = workspace(root, params, [*(overrides or []), *fixed], threads)
    refuse_pinned(work, "pack")
    run_flow(work)
    _report(work, spec)


@app.command()
def report(
    root: RootOption = None,
    truth: TruthOption = None,
    truth_except: TruthExceptOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Write metrics.json and the report page of a root; with --truth, score it."""
    _report(workspace(root, params, overrides, threads=1), _truth_spec(truth, truth_except))


@app.command(name="sample-footage")
def sample_footage(
    directory: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    seed: Annotated[int, typer.Option(help="Another seed gives other motion and light.")] = 7,
) -> None:
    """Make sample footage: clips and photos of eight people with real difficulties, and a truth file."""
    from faceloop.sample.build import build_sample_footage

    summary = build_sample_footage(directory, seed=seed, progress=progress_for(os.environ).say)
    typer.echo(
        f"{summary.clips} clips ({summary.footage_s:.0f} s), {summary.photos} photos, {summary.bad_files} bad files of "
        f"{len(summary.people)} people: {summary.size_bytes / 1e6:.1f} MB in {summary.directory}"
    )


def _truth_spec(truth: str | None, truth_except: Path | None) -> "TruthSpec | None":
    from faceloop.reports.truth import FOLDERS, TruthSpec

    if truth is None:
        return None
    file = None if truth == FOLDERS else Path(truth)
    if file is not None and not file.is_file():
        raise ConfigError(f"--truth {truth}: no such file; give a truth.json, or the word {FOLDERS}")
    return TruthSpec(file=file, except_file=truth_except)


def _report(work: Workspace, spec: "TruthSpec | None") -> None:
    from faceloop.reports.build import build_report

    files = build_report(work, truth=spec)
    write_whole(work.root / "metrics.json", files.metrics.read_text(encoding="utf-8"))
    typer.echo(files.summary)
    typer.echo(f"report: {files.page}")


def main() -> None:
    """Entry point. Our errors end as one line on stderr, never as a traceback, and say by their code what to do.

    2: something is wrong; 75: come back later, another run is in the way, or a server, the store or the database is
    away; 98: what it reads is missing or being made anew, whoever makes it comes first. A polite end (SIGTERM) is an
    exception like any other, so that leases are given back.
    """
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    log_as_json(os.environ)
    signal.signal(signal.SIGTERM, _end)
    with recorded(sys.argv[1:], os.environ):
        try:
            with audited(sys.argv[1:], os.environ):
                app()
        except (LeaseHeld, ServerAway, StoreAway) as error:
            complain(os.environ, str(error))
            raise SystemExit(COME_BACK) from None
        except InputsNotReady as error:
            complain(os.environ, str(error))
            raise SystemExit(NOT_READY) from None
        except FaceloopError as error:
            complain(os.environ, str(error))
            raise SystemExit(2) from None


def _end(signal_number: int, _: object) -> None:
    raise SystemExit(128 + signal_number)
