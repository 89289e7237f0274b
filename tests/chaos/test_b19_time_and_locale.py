"""Bar B19: zones, locales and jumping clocks change nothing: what time_core.py says is the same everywhere."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from facestore.leases import Leases

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
IS_LONG = bool(os.environ.get("FACELOOP_LONG"))
ZONES = ("UTC", "Asia/Kolkata", "America/St_Johns")
HOURS_36 = 36 * 3_600
CORE_TESTS = (
    "test_ids.py", "test_leases.py", "test_ledger.py", "test_decisionlog.py", "test_identitylog.py", "test_jobs.py",
    "test_activities.py", "test_measurements.py", "test_promotions.py", "test_publish.py",
    "test_sources.py", "test_tables.py", "test_workareas.py",
)  # fmt: skip

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that shifts the wall clock of the process that preloads it."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler on this machine: the clock of a process cannot be shifted")
    library = tmp_path_factory.mktemp("shim") / "clock_shift.so"
    words = [compiler, "-shared", "-fPIC", "-O1", str(HERE / "clock_shift.c"), "-o", str(library), "-ldl"]
    subprocess.run(words, check=True, capture_output=True)
    return library


def _environment(zone: str, locale: str, shim: Path, shift_s: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "TZ"))}
    return kept | {"TZ": zone, "LC_ALL": locale, "LD_PRELOAD": str(shim), "CLOCK_SHIFT_S": str(shift_s)}


def _said(environment: dict[str, str], *words: str) -> object:
    done = subprocess.run(
        [sys.executable, str(HERE / "time_core.py"), *words], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def plain(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> object:
    return _said(_environment("UTC", "C.UTF-8", shim, 0), str(tmp_path_factory.mktemp("plain")))


def test_the_core_is_right_where_everybody_is_in_greenwich(plain: object) -> None:
    assert isinstance(plain, dict)
    assert plain["decisions"]["is_same"] is True
    assert [line[2] for line in plain["decisions"]["log"]] == sorted(line[2] for line in plain["decisions"]["log"])
    assert plain["latest"][1] == "2026-11-01T05:30:00.000250+00:00"
    assert len(set(plain["names"]["paths"])) == 8
    # No jump; back 36 hours: still held. Forward: run out, taken over, and the first holder is fenced off. Then the
    # local jumps: still held.
    assert plain["leases"] == [[False, True], [False, True], [True, False], [False, True], [False, True]]


@pytest.mark.parametrize(
    ("zone", "locale"), [("Asia/Kolkata", "C.UTF-8"), ("America/St_Johns", "C")] if not IS_LONG else
    [(zone, locale) for zone in ZONES for locale in ("C.UTF-8", "C", "POSIX")],
)  # fmt: skip
def test_zone_and_locale_change_nothing(zone: str, locale: str, shim: Path, plain: object, tmp_path: Path) -> None:
    for shift_s in (0, HOURS_36, -HOURS_36) if IS_LONG else (HOURS_36,):
        said = _said(_environment(zone, locale, shim, shift_s), str(tmp_path / str(shift_s)))
        assert said == plain


def test_times_as_a_local_clock_shows_them_are_caught(shim: Path, plain: object, tmp_path: Path) -> None:
    """The mutant: naive local times. In Greenwich it goes unnoticed, elsewhere it does not."""
    said = _said(_environment("America/St_Johns", "C.UTF-8", shim, 0), str(tmp_path), "naive")
    assert isinstance(said, dict)
    assert isinstance(plain, dict)
    assert said["decisions"] != plain["decisions"]
    assert said["latest"] != plain["latest"]


@pytest.mark.parametrize("shift_s", [HOURS_36, -HOURS_36])
def test_a_machine_whose_clock_is_wrong_takes_no_lease_that_is_held(
    postgres_url: str, shim: Path, tmp_path: Path, shift_s: int
) -> None:
    """The server's clock decides. The mutant, which asks its own clock, takes the lease when that is fast."""
    holder = Leases(postgres_url, "elsewhere:1:1")
    lease = holder.take(f"wrong clock {shift_s}", 600)
    try:
        environment = _environment("America/St_Johns", "C.UTF-8", shim, shift_s)
        assert _said(environment, str(tmp_path), "take", postgres_url, lease.name) is False
        holder.renew(lease, 600)
        if shift_s > 0:
            assert _said(environment, str(tmp_path), "take", postgres_url, lease.name, "own_clock") is True
    finally:
        holder.give_back(lease)
        holder.close()


@pytest.mark.skipif(not IS_LONG, reason="FACELOOP_LONG=1 runs the tests of the core in every zone")
@pytest.mark.parametrize(("zone", "shift_s"), list(zip(ZONES, (HOURS_36, -HOURS_36, 0), strict=True)))
def test_the_tests_of_the_core_pass_in_every_zone(zone: str, shift_s: int, shim: Path, tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "not integration",
        "-p",
        "no:cacheprovider",
        f"--basetemp={tmp_path}/t",
    ]
    files = [str(ROOT / "tests" / "facestore" / name) for name in CORE_TESTS]
    environment = _environment(zone, "C", shim, shift_s)
    done = subprocess.run([*words, *files], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3_000:]
