"""What we stand on: locks with hashes, minimum versions, licences somebody agreed to, code that runs no data."""

import csv
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
SOURCES = [
    path
    for folder in ("platform", "labeling", "storage", "dags", "docker", "requirements", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def _supply_chain() -> ModuleType:
    spec = importlib.util.spec_from_file_location("supply_chain", ROOT / "requirements" / "supply_chain.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["supply_chain"] = module  # its dataclasses look for their module
    spec.loader.exec_module(module)
    return module


supply: Any = _supply_chain()
POLICY: Any = supply.read_policy()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_locked_file_has_its_hash_and_no_known_weakness(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", text)
    assert [entry.split()[0] for entry in entries[1:] if "--hash=sha256:" not in entry] == []
    versions = supply.pinned(lock)
    assert len(versions) == len(entries) - 1
    assert supply.too_old(versions, POLICY) == []


def test_a_version_with_a_known_weakness_is_named() -> None:
    (line,) = supply.too_old({"onnx": Version("1.20.1"), "pillow": Version("12.0")}, POLICY)
    assert line.startswith("onnx 1.20.1 is below 1.21")


def test_each_minimum_version_concerns_something_that_is_locked() -> None:
    locked = {name for lock in LOCKS for name in supply.pinned(lock)} | {"torch"}  # torch comes by torch.sh
    assert set(POLICY["minimum_versions"]) <= locked
    torch = re.search(r"torch==([\d.]+)", (ROOT / "requirements" / "torch.sh").read_text(encoding="utf-8"))
    assert torch is not None
    assert supply.too_old({"torch": Version(torch[1])}, POLICY) == []


@pytest.mark.parametrize(
    ("licences", "is_fine"),
    [
        ([{"license": {"id": "MIT"}}], True),
        ([{"expression": "Apache-2.0 OR GPL-2.0-or-later"}], True),
        ([{"expression": "Apache-2.0 AND GPL-2.0-or-later"}], False),
        ([{"expression": "Apache-2.0 WITH LLVM-exception"}], True),
        ([{"expression": "GPL-2.0-only WITH GCC-exception-2.0"}], False),
        ([{"license": {"name": "License :: OSI Approved :: BSD License"}}], True),
        ([{"license": {"id": "AGPL-3.0-only"}}], False),
        ([{"license": {"id": "CC-BY-NC-4.0"}}], False),
        ([{"license": {"name": "ask the author"}}], False),
        ([], False),
    ],
)
def test_a_licence_that_nobody_agreed_to_is_refused(licences: list[dict[str, object]], is_fine: bool) -> None:
    sbom = {"components": [{"type": "library", "name": "Some.Thing", "version": "1", "licenses": licences}]}
    found = supply.components(sbom, POLICY)
    assert [one.name for one in found] == ["some-thing"]
    assert (supply.not_agreed(found, POLICY) == []) is is_fine


@pytest.mark.integration
def test_the_bill_of_this_environment_names_everything_and_every_licence_was_agreed_to(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "requirements" / "supply_chain.py"), "--out", str(tmp_path)]
    done = subprocess.run([*command, "--without-audit"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "not audited (not asked to)" in done.stdout
    sbom = json.loads((tmp_path / "sbom.json").read_text(encoding="utf-8"))
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.6")
    weights = [entry for entry in sbom["components"] if entry["type"] == "machine-learning-model"]
    assert {entry["name"] for entry in weights} == {"YuNet", "SFace"}
    assert all(len(entry["hashes"][0]["content"]) == 64 for entry in weights)
    with (tmp_path / "licences.csv").open(encoding="utf-8") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert rows["sqlalchemy"]["licence"]
    assert set(supply.pinned(ROOT / "requirements" / "linux-x86_64-py311.lock")) <= set(rows) | {"pip"}


@pytest.mark.integration
def test_an_audit_that_could_not_look_does_not_count_as_clean(tmp_path: Path) -> None:
    """Plain pip-audit ends with 0 where it looked up nothing. No such package can be looked up anywhere."""
    lock = tmp_path / "some.lock"
    lock.write_text(f"no-such-package-of-anybody==1.0 \\\n    --hash=sha256:{'0' * 64}\n", encoding="utf-8")
    weaknesses, why_not = supply.audited([lock])
    assert weaknesses == []
    assert why_not is not None and "no-such-package" in why_not


# What may run code when it is read, or trusts whom it should not. Each with a place where it would be caught.
FORBIDDEN = {
    "pickle": (r"\b(?:import|from) (?:pickle|cPickle|dill|cloudpickle|joblib|shelve|marshal)\b", "import pickle"),
    "torch.load": (r"\btorch\.load\(", "torch.load(path)"),
    "yaml.load": (r"\byaml\.(?:unsafe_load|full_load|load\((?!\w+, Loader=_Yaml\b))", "yaml.load(text)"),
    "allow_pickle": (r"allow_pickle\s*=\s*True", "np.load(path, allow_pickle=True)"),
    "eval": (r"(?<![\w.])(?:eval|exec)\(", "eval(text)"),
    "no TLS check": (
        r"verify\s*=\s*False|CERT_NONE|_create_unverified_context|sslmode=disable",
        "get(url, verify=False)",
    ),
    "shell": (r"shell\s*=\s*True|\bos\.system\(", "run(text, shell=True)"),
}


@pytest.mark.parametrize("name", sorted(FORBIDDEN))
def test_nothing_that_runs_what_it_reads_or_trusts_everybody_is_in_the_sources(name: str) -> None:
    pattern, control = FORBIDDEN[name]
    assert re.search(pattern, control), "the check itself must be able to fail"
    assert len(SOURCES) > 300
    found = [
        path.relative_to(ROOT).as_posix() for path in SOURCES if re.search(pattern, path.read_text(encoding="utf-8"))
    ]
    assert found == []


# What one process of ours tells another; nobody sets it by hand.
SAID_BY_US = {"DAGS", "DEPLOYMENT", "KUBERNETES_", "REVISION", "RUN_ID", "S3_PORTS", "TASK", "TORCHRUN_PID", "TRY"}


def test_the_example_of_the_environment_names_what_commands_read_and_holds_no_value() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    variables = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in variables if not line.endswith("=")] == []
    named = {line[:-1] for line in variables}
    ours = [path for path in SOURCES if path.relative_to(ROOT).parts[0] in ("platform", "labeling", "storage")]
    read = {
        name for path in ours for name in re.findall(r"\"(FACELOOP_[A-Z0-9_]+)\"", path.read_text(encoding="utf-8"))
    }
    expected = read - {f"FACELOOP_{word}" for word in SAID_BY_US}
    assert {name for name in named if name.startswith("FACELOOP_")} - {f"{name}_FILE" for name in read} == expected
