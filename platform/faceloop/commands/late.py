"""Commands whose modules are loaded when they are called: a stage called by a scheduler starts seconds sooner."""

from importlib import import_module

import typer
from typer._click.core import Command, Context  # typer carries its own click
from typer.core import TyperGroup

LATE = {  # command → module of this folder, and what it holds: a function, or a typer app of several commands
    "audit": ("audit_log", "app"),
    "audit-labels": ("audit_labels", "audit_labels"),
    "blame": ("blame", "blame"),
    "calibrate": ("calibrate", "calibrate"),
    "catalogue": ("catalogue", "app"),
    "cluster": ("cluster_vectors", "cluster"),
    "consent": ("consent", "app"),
    "decisions": ("decisions", "app"),
    "erase": ("erase", "app"),
    "identities": ("identities", "app"),
    "jobs": ("jobs", "app"),
    "keys": ("keys", "app"),
    "loop": ("loop", "app"),
    "migrate-model": ("migrate_model", "migrate_model"),
    "mine": ("mine", "app"),
    "models": ("models", "app"),
    "feedback": ("feedback", "app"),
    "gallery": ("gallery", "app"),
    "train-node": ("train_node", "train_node"),
    "triton": ("triton", "app"),
    "operate": ("operate", "app"),
    "release": ("release", "app"),
    "repair": ("verify", "repair"),
    "store": ("verify", "store"),
    "verify": ("verify", "verify"),
    "releases": ("releases", "app"),
    "restrict": ("restrict", "app"),
    "processing-records": ("processing_records", "processing_records"),
    "retention": ("retention", "app"),
    "review": ("review", "app"),
    "reviews": ("reviews", "app"),
    "runs": ("runs", "app"),
    "serve-metrics": ("serve_metrics", "serve_metrics"),
    "serve-suggestions": ("serve_suggestions", "serve_suggestions"),
    "serve-webhook": ("serve_webhook", "serve_webhook"),
    "sweep": ("sweep", "sweep"),
    "simulate": ("simulate", "simulate_answers"),
    "watch": ("watch", "app"),
}


class LateCommands(TyperGroup):
    """The commands of an app and, after them, the late ones."""

    def list_commands(self, ctx: Context) -> list[str]:
        return [*super().list_commands(ctx), *LATE]

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        if cmd_name not in LATE:
            return super().get_command(ctx, cmd_name)
        module, name = LATE[cmd_name]
        found = getattr(import_module(f"faceloop.commands.{module}"), name)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            alone.command()(found)
            found = alone
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command
