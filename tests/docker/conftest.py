"""The files of docker/ as an engine would see them: settings made, variables filled in, objects rendered."""

import re
import shutil
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from faceloop.cli import app

ROOT = Path(__file__).parents[2]
VARIABLE = re.compile(r"\$\{(\w+)(?::\?|:-([^}]*))?\}")


def settings_of(text: str) -> dict[str, str]:
    """The variables of a file of NAME=VALUE lines."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of docker/, and of what it needs beside it, after prepare.py has run for compose and for Kubernetes."""
    place = tmp_path_factory.mktemp("deployment")
    shutil.copytree(
        ROOT / "docker", place / "docker", ignore=shutil.ignore_patterns("deployment", ".env", "secrets.env")
    )
    shutil.copyfile(ROOT / "params.yaml", place / "params.yaml")
    (place / "docker" / "kubernetes" / "base" / "params.yaml").unlink(missing_ok=True)
    for options in ([], ["--kubernetes"]):
        subprocess.run([sys.executable, place / "docker" / "prepare.py", *options], check=True, capture_output=True)
    return place / "docker"


@pytest.fixture(scope="session")
def compose(prepared: Path) -> dict[str, Any]:
    """compose.yaml with the variables of the prepared .env."""
    values = settings_of((prepared / ".env").read_text(encoding="utf-8"))

    def value(found: re.Match[str]) -> str:
        assert found[1] in values or found[2] is not None, f"{found[0]} is in no .env"
        return values.get(found[1], found[2] or "")

    filled = VARIABLE.sub(value, (prepared / "compose.yaml").read_text(encoding="utf-8"))
    tree: dict[str, Any] = yaml.safe_load(filled)
    return tree


@pytest.fixture(scope="session")
def our_commands() -> dict[str, set[str]]:
    """Each command of the platform, one of a group as `group command`, with its options."""
    group = typer.main.get_group(app)
    context = typer.Context(group)
    found: dict[str, set[str]] = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = getattr(command, "commands", None)
        leaves = {f"{name} {sub}": leaf for sub, leaf in inner.items()} if inner else {name: command}
        found |= {key: {one for parameter in leaf.params for one in parameter.opts} for key, leaf in leaves.items()}
    return found


@pytest.fixture(scope="session", params=["cpu", "gpu"])
def overlay(request: pytest.FixtureRequest, prepared: Path) -> Path:
    """The folder of one overlay of the manifests."""
    return prepared / "kubernetes" / "overlays" / str(request.param)


@pytest.fixture(scope="session")
def cluster(overlay: Path) -> list[dict[str, Any]]:
    """The objects of one overlay, made by what of kustomize the manifests use; a test compares them with kubectl's."""
    return rendered(overlay)


def rendered(folder: Path) -> list[dict[str, Any]]:
    plan = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    objects: list[dict[str, Any]] = []
    for name in plan["resources"]:
        path = folder / name
        objects += rendered(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    for one in plan.get("configMapGenerator", []):
        data = dict(_named_file(folder, file) for file in one.get("files", []))
        for file in one.get("envs", []):
            data |= settings_of((folder / file).read_text(encoding="utf-8"))
        objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": one["name"]}, "data": data})
    for one in plan.get("secretGenerator", []):
        values = dict(word.split("=", 1) for word in one.get("literals", []))
        for file in one.get("envs", []):
            values |= settings_of((folder / file).read_text(encoding="utf-8"))
        data = {key: b64encode(value.encode()).decode() for key, value in values.items()}
        if one.get("behavior") == "merge":
            (known,) = [other for other in objects if other["metadata"]["name"] == one["name"]]
            known["data"] |= data
        else:
            objects.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": one["name"]}, "data": data})
    tags = {one["name"]: f"{one['newName']}:{one['newTag']}" for one in plan.get("images", [])}
    for one in objects:
        if one["kind"] != "Namespace":
            one["metadata"]["namespace"] = plan["namespace"]
        pod = one.get("spec", {}).get("template", {}).get("spec", {})
        for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
            container["image"] = tags.get(container["image"], container["image"])
    return objects


def _named_file(folder: Path, file: str) -> tuple[str, str]:
    key, _, name = file.rpartition("=")
    return key or name, (folder / name).read_text(encoding="utf-8")
