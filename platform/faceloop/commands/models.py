"""Models of our own: kept, held against their gate, promoted, taken back, compared."""

import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from faceloop.commands.options import ALL_THREADS, ParamsOption, RootOption, SetOption, ThreadsOption, workspace
from faceloop.loop_params import LoopParams
from faceloop.params import section
from facestore.models import ModelTurn

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

WhoOption = Annotated[str, typer.Option("--by", help="Who stands for it.")]
ModelOption = Annotated[str | None, typer.Option("--model", help="The model that is meant.")]


@app.command()
def register(root: RootOption = None, params: ParamsOption = None, values: SetOption = None) -> None:
    """Keep the published candidate under its digest. Prints it; twice is once."""
    from faceloop.jobs.revision import running_revision
    from faceloop.promotion import model_registry

    work = workspace(root, params, values)
    with model_registry.opened_models(work) as models:
        model = model_registry.register(work, models, revision=running_revision(os.environ))
    told = {name: getattr(model, name) for name in ("model_id", "release", "contract_id", "folder", "revision")}
    typer.echo(json.dumps(told, sort_keys=True))


@app.command()
def gate(
    model: ModelOption = None, root: RootOption = None, params: ParamsOption = None, values: SetOption = None
) -> None:
    """Fails (exit code 2), naming all that speaks against the evaluated candidate."""
    from faceloop.promotion.model_gate import check_model_gate
    from faceloop.promotion.model_registry import judge

    work = workspace(root, params, values)
    model_id, evaluation, judged = judge(work, model)
    check_model_gate(model_id, judged, section(work.tree, "loop", LoopParams).model_gate)
    typer.echo(json.dumps({"model_id": model_id, "evaluation": evaluation, "passed": True}))


@app.command()
def promote(
    by: WhoOption,
    model: ModelOption = None,
    root: RootOption = None,
    params: ParamsOption = None,
    values: SetOption = None,
) -> None:
    """Make the evaluated candidate the promoted model. It must pass its gate; done twice, it is done once.

    Labels follow by `faceloop models switch`.
    """
    from faceloop.jobs.revision import running_revision
    from faceloop.promotion.model_registry import note_promoted, opened_models, promote_model

    work = workspace(root, params, values)
    floors = section(work.tree, "loop", LoopParams).model_gate
    with opened_models(work) as models:
        done = promote_model(work, models, floors, by=by, model_id=model, revision=running_revision(os.environ))
        note_promoted(work, models)
        folder = models.find(done.model_id).folder
    typer.echo(json.dumps({**_told(done), "folder": folder}, sort_keys=True))


@app.command()
def rollback(
    by: WhoOption,
    why: Annotated[str, typer.Option("--why", help="What is wrong with it.")],
    model: ModelOption = None,
    root: RootOption = None,
    params: ParamsOption = None,
    values: SetOption = None,
) -> None:
    """Take the promoted model back; the one before is promoted again. A second call with --model finds it done.

    Labels follow by `faceloop models switch`.
    """
    from faceloop.promotion.model_registry import note_promoted, opened_models

    work = workspace(root, params, values)
    with opened_models(work) as models:
        done = models.roll_back(by=by, why=why, model_id=model)
        note_promoted(work, models)
        now = models.current()
    current = now.model_id if now is not None else None
    typer.echo(json.dumps({"rolled_back": done.model_id, "current": current}))


@app.command()
def switch(
    abort_above: Annotated[
        float, typer.Option(min=0, max=1, help="Refuse when a larger share of labelled faces would move.")
    ] = 0.2,
    root: RootOption = None,
    params: ParamsOption = None,
    values: SetOption = None,
    threads: ThreadsOption = ALL_THREADS,
) -> None:
    """Bring embeddings and labels to the promoted model; ids and decisions stay. Nothing to do is said, and is well."""
    from faceloop.promotion.switching import switch_to_promoted, told

    work = workspace(root, params, values, threads)
    typer.echo(json.dumps(told(switch_to_promoted(work, abort_above=abort_above, now=datetime.now(UTC)))))


@app.command(name="list")
def list_command(root: RootOption = None, params: ParamsOption = None, values: SetOption = None) -> None:
    """Every model that was registered, every promotion and roll-back, newest first, and which model is used."""
    from faceloop.promotion.model_registry import opened_models

    with opened_models(workspace(root, params, values)) as models:
        now = models.current()
        known = [{**asdict(model), "registered_at": at.isoformat()} for model, at in models.all()]
        turns = [{**asdict(turn), "at": turn.at.isoformat()} for turn in models.turns()]
    current = now.model_id if now is not None else None
    typer.echo(json.dumps({"current": current, "models": known, "turns": turns}, sort_keys=True))


def _told(turn: ModelTurn) -> dict[str, str]:
    """Without who it was: that stays in the table."""
    told = {name: str(getattr(turn, name)) for name in ("turn_id", "model_id", "evaluation")}
    return {**told, "at": turn.at.isoformat()}
