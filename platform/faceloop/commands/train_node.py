"""train-node: another machine of a training that runs on several. See docs/training.md."""

import json
from typing import Annotated

import typer

from faceloop.commands.options import ParamsOption, RootOption, SetOption, workspace
from faceloop.training.nodes import attend
from faceloop.training.places import trainings_of


def train_node(
    node: Annotated[int, typer.Option("--node", min=1, help="Which of train.nodes this machine is; 0 runs the stage.")],
    wait_s: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for the training to begin.")] = 600.0,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Lend this machine's ranks to the training of a root that both see. Ends with it; publishes nothing."""
    work = workspace(root, params, overrides)
    attend(trainings_of(work.path("candidate")), node, patience_s=wait_s, say=work.progress.say)
    typer.echo(json.dumps({"stage": "train", "node": node, "state": "done"}))
