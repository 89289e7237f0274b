"""prepare.py: secrets that are drawn once, and a params.yaml that differs where a deployment does."""

import os
import re
import stat
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from faceloop.params import read_params, section
from faceloop.review_params import ReviewParams
from facestore.catalogue import _parsed

ROOT = Path(__file__).parents[2]


def _module() -> ModuleType:
    spec = spec_from_file_location("prepare", ROOT / "docker" / "prepare.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


prepare = _module()


def _flat(tree: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {
        key: leaf for name, node in tree.items() for key, leaf in _flat(node, f"{prefix}.{name}".strip(".")).items()
    }


def _differing(params: Path) -> set[str]:
    ours, theirs = (_flat(yaml.safe_load(path.read_text("utf-8"))) for path in (ROOT / "params.yaml", params))
    assert ours.keys() == theirs.keys()
    return {key for key in ours if ours[key] != theirs[key]}


def test_the_params_of_a_deployment_differ_in_what_is_meant_and_hold(prepared: Path) -> None:
    for params in (prepared / "deployment" / "params.yaml", prepared / "kubernetes" / "base" / "params.yaml"):
        assert _differing(params) == set(prepare.VALUES)
        tree = read_params(params)
        assert section(tree, "review", ReviewParams).pictures == "folder"
        paths = tree["paths"]
        assert isinstance(paths, dict)
        assert _parsed(str(paths["ledger"]))
        assert "@" in str(paths["ledger"])
        assert ":" not in str(paths["ledger"]).partition("//")[2].partition("@")[0], "a password in params.yaml"


def test_a_second_run_changes_nothing_and_secrets_are_for_the_owner_only(prepared: Path) -> None:
    made = [
        prepared / ".env",
        prepared / "deployment" / "params.yaml",
        prepared / "kubernetes" / "base" / "secrets.env",
    ]
    before = [path.read_bytes() for path in made]
    for options in ([], ["--kubernetes"]):
        subprocess.run([sys.executable, prepared / "prepare.py", *options], check=True, capture_output=True)
    assert [path.read_bytes() for path in made] == before
    assert [stat.S_IMODE(path.stat().st_mode) for path in made] == [0o600, 0o644, 0o600]
    assert os.access(prepared / "deployment" / "inbox", os.R_OK | os.X_OK)


def test_every_secret_of_compose_is_drawn_and_no_two_are_alike(prepared: Path) -> None:
    example, made = ((prepared / name).read_text("utf-8") for name in (".env.example", ".env"))
    assert "<" not in re.sub(r"(?m)^#.*$", "", made)
    placeholders = re.findall(r"(?m)^(\w+)=<", example)
    values = [re.findall(rf"(?m)^{name}=(.+)$", made)[0] for name in placeholders]
    assert len(set(values)) == len(values) == len(placeholders) > 10
    assert min(map(len, values)) >= 20


def test_what_only_a_person_can_know_stays_marked(prepared: Path) -> None:
    text = (prepared / "kubernetes" / "base" / "secrets.env").read_text("utf-8")
    assert "PGPASSWORD=<the password of the role faceloop>" in text
    assert not re.search(r"<(hex|fernet)", re.sub(r"(?m)^#.*$", "", text))


@given(st.integers(1, 64))
def test_a_drawn_value_has_the_bytes_that_were_asked_for(size_bytes: int) -> None:
    assert re.fullmatch(rf"[0-9a-f]{{{2 * size_bytes}}}", prepare.drawn(f"hex {size_bytes}"))


def test_an_unknown_placeholder_or_key_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be drawn"):
        prepare.drawn("word")
    with pytest.raises(ValueError, match=r"lacks paths\.nowhere"):
        prepare.with_values("paths:\n  source: a\n", {"paths.nowhere": "b"})
