"""Commands that are loaded when they are called stand in the help by their names."""

from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.commands.late import LATE


def test_help_names_every_late_command() -> None:
    lines = CliRunner().invoke(app, ["--help"]).stdout.splitlines()
    shown = {line.strip("│ ").split("  ")[0] for line in lines}
    assert LATE.keys() <= shown
