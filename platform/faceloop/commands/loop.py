"""What a scheduler asks between stages: what is new, how to share it out, whether to tell others."""

import json
import time
from typing import Annotated, Literal

import typer

from faceloop.commands.options import ParamsOption, RootOption, SetOption, workspace
from faceloop.intake.changes import What, announce_change
from faceloop.intake.groups import plan_batches
from faceloop.intake.planning import plan_footage
from faceloop.intake.settling import Pace
from faceloop.intake.taking import take
from faceloop.loop_params import LoopParams
from faceloop.params import section
from facestore.ids import JsonValue

NOTHING_TO_DO = 99  # a scheduler marks the task as skipped

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.command(name="plan-footage")
def plan_footage_command(root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None) -> None:
    """Wait until the source is quiet, then share new footage out over tasks. Exit code 99 when nothing changed."""
    work = workspace(root, params, overrides)
    loop = section(work.tree, "loop", LoopParams)
    pace = Pace(quiet_s=loop.settle_s, at_most_s=loop.settle_at_most_s, sleep=time.sleep, clock=time.monotonic)
    plan = plan_footage(work, pace, now_s=time.time())
    counts: dict[str, JsonValue] = {
        "locations": plan.locations,
        "known": plan.known,
        "new": plan.new,
        "new_mb": plan.new_mb,
        "arriving": plan.arriving,
        "shares": list(plan.shares),
    }
    _answer(counts, is_due=plan.is_due)


@app.command(name="take")
def take_command(
    share: Annotated[str, typer.Argument(help="PLAN/000, as `loop plan-footage` named it.")],
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Hash, probe and store one share of new footage. `run ingest` publishes it."""
    report = take(workspace(root, params, overrides), share, now_ns=time.time_ns())
    _answer({"share": share, **report.counts()}, is_due=True)


@app.command(name="plan-batches")
def plan_batches_command(
    stage: Annotated[Literal["detect", "embed"], typer.Argument(help="A stage that works by batches.")],
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Which batches need work, in groups of nearly equal weight. None is an answer too: the stage then publishes."""
    plan = plan_batches(workspace(root, params, overrides), stage)
    groups: list[JsonValue] = [" ".join(group) for group in plan.groups]
    _answer({"stage": plan.stage, "batches": plan.batches, "unchanged": plan.unchanged, "groups": groups}, is_due=True)


@app.command(name="changed")
def changed_command(
    what: Annotated[What, typer.Argument(help="What others may wait for.")],
    by: Annotated[str, typer.Option("--by", envvar="FACELOOP_RUN_ID", help="The run that would tell them.")],
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Whether this run has news to tell. Exit code 99 when the content is what was announced last."""
    change = announce_change(workspace(root, params, overrides), what, run_id=by)
    _answer({"what": change.what, "digest": change.digest, "changed": change.is_news}, is_due=change.is_news)


def _answer(body: dict[str, JsonValue], *, is_due: bool) -> None:
    typer.echo(json.dumps(body, sort_keys=True))
    if not is_due:
        raise typer.Exit(NOTHING_TO_DO)
