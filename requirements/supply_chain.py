"""What we stand on: the bill of materials, licences, known weaknesses. `make supply-chain` runs it.

Writes OUT/sbom.json (CycloneDX 1.6, with the weights that come along) and OUT/licences.csv. Ends with 1 where a licence
was not agreed to, a locked version has a known weakness, or an audit found one. Where no vulnerability service can be
reached it says so: the minimum versions of supply-policy.yaml are then all that was held against the locks.
"""

import argparse
import csv
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from license_expression import ExpressionError, get_spdx_licensing
from packaging.utils import canonicalize_name
from packaging.version import Version

HERE = Path(__file__).parent
POLICY = HERE / "supply-policy.yaml"
_PINNED = re.compile(r"(?m)^([A-Za-z0-9][\w.-]*)(?:\[[\w,-]+\])?==([^\s;\\]+)")
_SPDX = get_spdx_licensing()


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One distribution of the environment. `licence` is an SPDX expression, or None where nothing says one."""

    name: str
    version: str
    licence: str | None


def read_policy(path: Path = POLICY) -> Mapping[str, Any]:
    policy: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return policy


def pinned(lock: Path) -> dict[str, Version]:
    """Every version that a lock names, by normalised name."""
    found = _PINNED.findall(lock.read_text(encoding="utf-8"))
    return {canonicalize_name(name): Version(version) for name, version in found}


def too_old(versions: Mapping[str, Version], policy: Mapping[str, Any]) -> list[str]:
    """What is below the version from which a known weakness is mended, one sentence each."""
    return [
        f"{name} {versions[name]} is below {rule['at_least']}: {rule['why']}"
        for name, rule in policy["minimum_versions"].items()
        if name in versions and versions[name] < Version(rule["at_least"])
    ]


def components(sbom: Mapping[str, Any], policy: Mapping[str, Any]) -> list[Component]:
    """The distributions of a CycloneDX bill; what was looked at by a person outweighs what a package says."""
    found = []
    for entry in sbom["components"]:
        if entry["type"] == "machine-learning-model":
            continue
        name = canonicalize_name(entry["name"])
        known = policy["looked_at"].get(name)
        licence = known["licence"] if known else _said(entry.get("licenses", ()), policy["spelled"])
        found.append(Component(name=name, version=entry["version"], licence=licence))
    return sorted(found, key=lambda one: one.name)


def not_agreed(found: Iterable[Component], policy: Mapping[str, Any]) -> list[str]:
    """Those whose licence nobody agreed to, one sentence each."""
    return [
        f"{one.name} {one.version}: licence {one.licence or 'unknown'}; look at it and add it to {POLICY.name}"
        for one in found
        if one.name not in policy["looked_at"] and not (one.licence and _is_allowed(one.licence, policy["allowed"]))
    ]


def audited(locks: Sequence[Path]) -> tuple[list[str], str | None]:
    """What pip-audit found, one sentence each; and why it could not look, where it could not.

    With --strict: without it, a package that could not be looked up counts as clean.
    """
    command = [sys.executable, "-m", "pip_audit", "--strict", "--require-hashes", "--disable-pip"]
    command += ["--format=json", "--progress-spinner=off"]
    done = subprocess.run(
        command + [word for lock in locks for word in ("-r", str(lock))], capture_output=True, text=True, check=False
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        return [], (done.stderr.strip().splitlines() or ["no answer"])[-1][:200]
    return [
        f"{one['name']} {one['version']}: {weakness['id']}, fixed in {', '.join(weakness['fix_versions'])}"
        for one in answer["dependencies"]
        for weakness in one.get("vulns", ())
    ], None


def bill(environment: Path, project: Path) -> dict[str, Any]:
    """The CycloneDX bill of an environment, the same for the same environment, with the weights that it carries."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--spec-version=1.6", "--output-reproducible"]
    command += [f"--pyproject={project}", str(environment)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    sbom: dict[str, Any] = json.loads(done.stdout)
    sbom["components"] += list(_weights())
    return sbom


def _weights() -> Iterable[dict[str, Any]]:
    from faceloop.vision.packs import load_pack

    pack = load_pack("builtin", accept_licence=None, insightface_root=None)
    assert pack.detector is not None and pack.recogniser is not None  # noqa: S101  # the built-in pack has both
    for name, spec, licence in (("YuNet", pack.detector, "MIT"), ("SFace", pack.recogniser, "Apache-2.0")):
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"weights:{name}",
            "name": name,
            "hashes": [{"alg": "SHA-256", "content": spec.sha256}],
            "licenses": [{"license": {"id": licence}}],
        }


def _said(entries: Sequence[Mapping[str, Any]], spelled: Mapping[str, str]) -> str | None:
    """An expression of all that a package says; a classifier adds nothing where there is an SPDX id."""
    ids = [entry.get("expression") or entry["license"].get("id") for entry in entries]
    named = [spelled.get(entry.get("license", {}).get("name", "")) for entry in entries]
    said = [one for one in ids if one] or [one for one in named if one]
    return " AND ".join(f"({one})" for one in said) if said else None


def _is_allowed(expression: str, allowed: Sequence[str]) -> bool:
    """Whether it can be met by allowed licences alone: every one of an AND, any one of an OR."""
    try:
        parsed = _SPDX.parse(expression, validate=False)
    except ExpressionError:
        return False
    names = {str(symbol): symbol for symbol in _SPDX.license_symbols(parsed, unique=True, decompose=False)}
    truth = {symbol: name in allowed for name, symbol in names.items()}
    return _holds(parsed, truth)


def _holds(expression: Any, truth: Mapping[Any, bool]) -> bool:
    if expression in truth:
        return truth[expression]
    parts = [_holds(part, truth) for part in expression.args]
    return any(parts) if expression.operator.strip() in {"OR", "|"} else all(parts)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/supply-chain"))
    parser.add_argument("--without-audit", action="store_true", help="ask no vulnerability service")
    given = parser.parse_args(words)
    out: Path = given.out
    out.mkdir(parents=True, exist_ok=True)
    policy, locks = read_policy(), sorted(HERE.glob("*.lock"))
    sbom = bill(Path(sys.prefix), HERE.parent / "pyproject.toml")
    (out / "sbom.json").write_text(json.dumps(sbom, indent=1) + "\n", encoding="utf-8")
    found = components(sbom, policy)
    with (out / "licences.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [("name", "version", "licence"), *((one.name, one.version, one.licence) for one in found)]
        )
    problems = not_agreed(found, policy)
    for lock in locks:
        problems += [f"{lock.name}: {line}" for line in too_old(pinned(lock), policy)]
    weaknesses, why_not = ([], "not asked to") if given.without_audit else audited(locks)
    problems += weaknesses
    if why_not is None:
        print(f"{len(locks)} locks audited: {len(weaknesses)} known weaknesses")
    else:
        print(f"not audited ({why_not}); {len(policy['minimum_versions'])} minimum versions held instead")
    print(f"{len(found)} distributions, {len(sbom['components']) - len(found)} weights in {out / 'sbom.json'}")
    for line in problems:
        print(f"problem: {line}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
