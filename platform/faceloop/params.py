"""Params: one YAML file, checked before work starts; every error names the key, the value and what is allowed."""

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from facestore.errors import ConfigError
from facestore.ids import JsonValue

DEFAULT_NAME = "params.yaml"


class StageParams(BaseModel):
    """A section of params.yaml: frozen, every key required, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Paths(StageParams):
    """Where artifacts live, relative to the root."""

    source: str
    objects: str
    ledger: str
    footage: str
    faces: str
    crops: str
    embeddings: str
    decisions: str
    clusters: str
    assignments: str
    questions: str
    release: str
    candidate: str
    evaluation: str
    exported: str
    attributes: str
    report: str


Section = TypeVar("Section", bound=StageParams)
Tree = dict[str, JsonValue]


class _Yaml(yaml.SafeLoader):
    """YAML as people, JSON and DVC write it: PyYAML takes 1e-6 for a word, and `off`, a word of ours, for false."""


_BOOL = "tag:yaml.org,2002:bool"
_Yaml.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != _BOOL]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Yaml.add_implicit_resolver(_BOOL, re.compile(r"(?i:true|false|yes|no)\Z"), list("tTfFyYnN"))
_Yaml.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+\Z"), list("-+0123456789")
)


def yaml_value(text: str) -> JsonValue:
    """What a YAML text says, wherever params are spelled. Raises YAMLError."""
    found: JsonValue = yaml.load(text, Loader=_Yaml)  # noqa: S506  # a SafeLoader
    return found


def default_params_path() -> Path:
    """`params.yaml` in the working directory, else the one shipped with the package."""
    local = Path(DEFAULT_NAME)
    if local.is_file():
        return local
    shipped = Path(str(files("faceloop"))) / DEFAULT_NAME
    return shipped if shipped.is_file() else Path(str(files("faceloop"))).parents[1] / DEFAULT_NAME


def read_params(path: Path, overrides: Sequence[str] = ()) -> Tree:
    """The parsed file with `section.key=value` overrides applied.

    Raises ConfigError when the file or an override cannot be read, or an override names an unknown key.
    """
    try:
        tree = yaml_value(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read params {path}: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} must hold a mapping of sections")
    for override in overrides:
        _override(tree, override)
    return tree


def _override(tree: Tree, override: str) -> None:
    key, found, text = override.partition("=")
    *parents, leaf = key.split(".")
    node: JsonValue = tree
    for parent in parents:
        node = node.get(parent) if isinstance(node, dict) else None
    if not found or not isinstance(node, dict) or leaf not in node:
        raise ConfigError(f"--set {override!r}: no such key; write SECTION.KEY=VALUE with a key of params.yaml")
    try:
        node[leaf] = yaml_value(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override!r}: {text!r} is not a YAML value") from error


def section(tree: Mapping[str, JsonValue], name: str, kind: type[Section]) -> Section:
    """One section as its typed params. Raises ConfigError naming every wrong key, its value and the rule it breaks."""
    if name not in tree:
        raise ConfigError(f"params have no section {name!r}")
    try:
        return kind.model_validate(tree[name])
    except ValidationError as error:
        raise ConfigError("; ".join(_explained(name, kind, problem) for problem in error.errors())) from error


def _explained(name: str, kind: type[StageParams], problem: ErrorDetails) -> str:
    key = ".".join([name, *(str(part) for part in problem["loc"])])
    match problem["type"]:
        case "missing":
            return f"{key} is missing; it has no default"
        case "extra_forbidden":
            siblings = kind.model_fields if len(problem["loc"]) == 1 else {}
            return f"{key} = {problem['input']!r}: unknown key" + (
                f"; keys are {', '.join(siblings)}" if siblings else ""
            )
        case _:
            return f"{key} = {problem['input']!r}: {problem['msg']}"
