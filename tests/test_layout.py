"""The house rules that a machine can check."""

import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE_ROOTS = ("platform", "labeling", "storage", "dags")
PLAIN_FOLDERS = (*SOURCE_ROOTS, "docker", "benchmarks", "tests")
VAGUE_NAMES = {"utils", "util", "helpers", "common", "manager", "core", "base", "data", "process", "handle", "misc"}
MAX_LINES = 300
VENDOR_HOMES = {
    "sqlalchemy": {
        "storage/facestore/catalogue.py",
        "storage/facestore/schema.py",
        "storage/facestore/migrations/",
        "storage/facestore/pgaddress.py",
        "storage/facestore/peppers.py",
        "storage/facestore/rowcopies.py",
        "storage/facestore/backups.py",
        "storage/facestore/ledger.py",
        "storage/facestore/keystore.py",
        "storage/facestore/auditlog.py",
        "storage/facestore/decisionlog.py",
        "storage/facestore/identitylog.py",
        "storage/facestore/reviewlog.py",
        "storage/facestore/reviewrows.py",
        "storage/facestore/reviewtables.py",
        "storage/facestore/turns.py",
        "storage/facestore/leases.py",
        "storage/facestore/erasures.py",
        "storage/facestore/rowpurge.py",
        "storage/facestore/jobs.py",
        "storage/facestore/intake.py",
        "storage/facestore/announcements.py",
        "storage/facestore/consents.py",
        "storage/facestore/consentbasis.py",
        "storage/facestore/measurements.py",
        "storage/facestore/activities.py",
        "storage/facestore/promotions.py",
        "storage/facestore/models.py",
        "storage/facestore/runlog.py",
        "storage/facestore/current_rows.py",
        "storage/facestore/vitals.py",
    },
    "alembic": {"storage/facestore/migrations/"},
    "numba": {"platform/faceloop/clustering"},
    "cryptography": {"storage/facestore/ciphers.py"},
    "boto3": {"storage/facestore/s3.py"},
    "botocore": {"storage/facestore/s3.py"},
    "lmdb": {"storage/facestore/lmdbfile.py"},
    "faiss": {"platform/faceloop/clustering"},
}


def _modules(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)]


@pytest.mark.parametrize("folder", PLAIN_FOLDERS)
def test_plain_folders_are_no_packages(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


def test_python_finds_its_own_platform_module_from_the_repository_root() -> None:
    program = "import sys; sys.path.insert(0, '.'); import platform, uuid; print(platform.system(), platform.__file__)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "Linux" in done.stdout
    assert str(ROOT / "platform") not in done.stdout


def test_no_file_is_longer_than_three_hundred_lines() -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in _modules(*SOURCE_ROOTS)
    }
    assert lengths
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def test_module_names_say_what_is_inside() -> None:
    vague = [
        path.relative_to(ROOT).as_posix()
        for path in _modules(*SOURCE_ROOTS)
        if VAGUE_NAMES & {path.stem, path.parent.name}
    ]
    assert vague == []


def test_one_opencv_is_installed() -> None:
    found = {str(dist.metadata["Name"]).lower() for dist in distributions()}
    assert {name for name in found if name.startswith("opencv-")} == {"opencv-python-headless"}


@pytest.mark.parametrize("vendor", sorted(VENDOR_HOMES))
def test_a_vendor_has_one_home(vendor: str) -> None:
    imports = re.compile(rf"^\s*(import|from) {vendor}\b", re.MULTILINE)
    users = {
        path.relative_to(ROOT).as_posix()
        for path in _modules(*SOURCE_ROOTS)
        if imports.search(path.read_text(encoding="utf-8"))
    }
    assert users
    assert {user for user in users if not any(user.startswith(home) for home in VENDOR_HOMES[vendor])} == set()


def test_storage_imports_nothing_else_of_ours() -> None:
    for path in _modules("storage"):
        assert not re.search(r"^\s*(import|from) (faceloop|facereview)\b", path.read_text("utf-8"), re.MULTILINE), path
