"""`faceloop triton`: what the stage exported goes to the repository that servers read, and back."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from faceloop.commands.triton import app
from facestore.errors import InputsNotReady
from facestore.ids import JsonValue

from .runner_world import tree_of
from .triton_world import write_tiny


def run(*words: str) -> dict[str, JsonValue]:
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, JsonValue] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_deploying_showing_and_going_back_print_one_object_each(tmp_path: Path) -> None:
    params, live = tmp_path / "params.yaml", str(tmp_path / "live")
    params.write_text(yaml.safe_dump(tree_of(tmp_path / "source")), encoding="utf-8")
    where = ("--root", str(tmp_path / "root"), "--params", str(params))
    with pytest.raises(InputsNotReady, match="run the stage export"):
        run("deploy", live, *where)
    exported = tmp_path / "root" / "exported"
    write_tiny(exported).rename(exported / "triton")
    first = run("deploy", live, *where)
    assert (first["version"], first["state"], run("deploy", live, *where)["state"]) == (1, "deployed", "unchanged")
    (exported / "triton").rename(exported / "models")
    write_tiny(exported, seed=1).rename(exported / "triton")
    assert run("deploy", live, *where)["version"] == 2
    shown = run("show", live)
    assert (shown["version"], shown["before"], shown["state"]) == (2, 1, "serving")
    assert shown["models"] == ["face_align", "face_detect", "face_embed", "face_unit", "faces"]
    assert run("roll-back", live)["contract_id"] == first["contract_id"]
