"""Runs of a made-up `detect` in processes of their own, which can be stopped, woken and killed at any moment.

Every file that a run writes says which run wrote it, so that a mixture would show.
"""

import os
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from multiprocessing import get_context
from pathlib import Path

from sqlalchemy import create_engine, text

from faceloop import cli
from faceloop.runner import Workspace, run_stage
from faceloop.stage import Report
from faceloop.stages import detect
from facestore.errors import LeaseHeld, LeaseLost
from facestore.ledger import Ledger
from facestore.publish import read_manifest, verify

from .runner_world import open_root

OUTS = ("faces", "crops")
ELSEWHERE = "another-machine:0000:1:77:12345"
DONE, HELD, LOST, BROKEN = 0, 10, 11, 12
_FILES = 3
_running: list["Running"] = []


def leased(work: Workspace, lease_s: float, ledger_url: str | None = None) -> Workspace:
    """The same root with other lease seconds, and its catalogue elsewhere."""
    loop = work.tree["loop"]
    assert isinstance(loop, dict)
    loop = {**loop, "lease_s": lease_s}
    changed = open_root(work.root, {**work.tree, "loop": loop})
    return replace(changed, paths=changed.paths.model_copy(update={"ledger": ledger_url})) if ledger_url else changed


@dataclass(slots=True)
class Running:
    """One run in a process of its own."""

    pid: int
    process: object

    def ended(self, within_s: float) -> int | None:
        """Its exit code, or None while it runs."""
        self.process.join(within_s)  # type: ignore[attr-defined]
        code: int | None = self.process.exitcode  # type: ignore[attr-defined]
        return code

    def is_stopped(self) -> bool:
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        except OSError:
            return False

    def wait_until_stopped(self) -> bool:
        """False when it ended before it stopped."""
        while not self.is_stopped():
            if self.ended(0.005) is not None:
                return False
        return True

    def send(self, number: signal.Signals) -> None:
        """Nothing happens to one that has ended: its number may be another's by now."""
        if self.ended(0) is None:
            os.kill(self.pid, number)


def start(
    work: Workspace,
    who: str,
    *,
    batches: tuple[str, ...] = (),
    wait_s: float = 0.0,
    pause_s: float = 0.0,
    gate: str | None = None,
    stop_at: int | None = None,
) -> Running:
    """Run the made-up `detect`. In batch `gate` it waits for `open_gate`; it stops itself before rename `stop_at`."""

    def run() -> int:
        if stop_at is not None:
            _stop_before_rename(stop_at)
        run_stage(work, "detect", batches=batches, wait_s=wait_s)
        return DONE

    return _forked(run, who, work.root, pause_s, gate)


def start_command(work: Workspace, who: str, arguments: list[str], *, gate: str | None = None) -> Running:
    """The command line itself, in a process of its own, with the made-up `detect`."""

    def run() -> int:
        sys.argv = ["faceloop", *arguments]
        cli.main()
        return DONE

    return _forked(run, who, work.root, 0.0, gate)


def _forked(run: Callable[[], int], who: str, root: Path, pause_s: float, gate: str | None) -> Running:
    def child() -> None:
        detect.run = _made_up(detect.run, who, root, pause_s, gate)
        try:
            code = run()
        except LeaseHeld:
            code = HELD
        except LeaseLost:
            code = LOST
        except SystemExit as end:
            code = int(str(end.code))
            (root.parent / f"{who}.log").write_text(repr(end.__context__))
        except BaseException:
            (root.parent / f"{who}.log").write_text(traceback.format_exc())
            code = BROKEN
        os._exit(code)

    process = get_context("fork").Process(target=child)
    process.start()
    assert process.pid is not None
    _running.append(Running(pid=process.pid, process=process))
    return _running[-1]


def kill_all() -> None:
    """After a test: nothing may stay stopped."""
    while _running:
        left = _running.pop()
        left.send(signal.SIGKILL)
        left.ended(10)


@contextmanager
def own_database(server_url: str) -> Iterator[str]:
    """A new database on a PostgreSQL server, so that tests share no leases."""
    engine = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as session:
        number = session.execute(text("SELECT count(*) FROM pg_database")).scalar_one()
        session.execute(text(f"CREATE DATABASE own_{number}"))
    engine.dispose()
    yield server_url.rpartition("/")[0] + f"/own_{number}"


def _made_up(
    real: Callable[..., Report], who: str, root: Path, pause_s: float, gate: str | None
) -> Callable[..., Report]:
    @wraps(real)
    def run(**arguments: object) -> Report:
        folders = {out: Path(str(arguments[out])) for out in OUTS}
        with (root.parent / "runs.log").open("a") as log:
            log.write(f"{who} {folders['faces'].name}\n")
        while folders["faces"].name == gate and not (root.parent / "open").exists():
            time.sleep(0.005)
        for number in range(_FILES):
            for folder in folders.values():
                folder.mkdir(parents=True, exist_ok=True)  # as if nothing had happened, also after a sweep
                (folder / f"{number}.txt").write_text(who)
                time.sleep(pause_s)
        return Report(items_in=_FILES, published=_FILES)

    return run


def _stop_before_rename(target: int) -> None:
    real, calls = Path.rename, 0

    def rename(self: Path, goal: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls - 1 == target:
            os.kill(os.getpid(), signal.SIGSTOP)
        return real(self, goal)

    Path.rename = rename  # type: ignore[method-assign,assignment]


def open_gate(work: Workspace) -> None:
    (work.root.parent / "open").touch()


def begun(work: Workspace, line: str) -> None:
    """Wait until a run is in a batch: `WHO BATCH`."""
    until = time.monotonic() + 60
    while not worked(work)[line]:
        assert time.monotonic() < until, why(work)
        time.sleep(0.005)


def worked(work: Workspace) -> Counter[str]:
    """How often each run worked on each batch."""
    log = work.root.parent / "runs.log"
    return Counter(log.read_text().split("\n")[:-1]) if log.exists() else Counter()


def why(work: Workspace) -> str:
    return "\n".join(log.read_text() for log in sorted(work.root.parent.glob("*.log")))


def writers(work: Workspace) -> dict[str, str]:
    """Which run wrote each published batch. Everything is whole, of one writer a batch, counted, and in the ledger."""
    found: dict[str, set[str]] = {}
    manifests = []
    for out in OUTS:
        verify(work.path(out))
        manifest = read_manifest(work.path(out))
        assert manifest is not None
        manifests.append(manifest)
        for name in manifest.files:
            if name.endswith(".txt"):
                found.setdefault(name.partition("/")[0], set()).add((work.path(out) / name).read_text())
        assert sorted(path.name for path in work.path(out).glob("*/*.txt")) == sorted(
            Path(name).name for name in manifest.files if name.endswith(".txt")
        )
    assert manifests[0].run_key == manifests[1].run_key
    assert manifests[0].counts == {
        "in": _FILES * len(found),
        "published": _FILES * len(found),
        "rejected": {},
        "pending": {},
    }
    ledger = Ledger(work.ledger_url())
    row = ledger.find(manifests[0].run_key)
    ledger.close()
    assert row is not None
    assert row.outputs == {out: manifest.digest for out, manifest in zip(OUTS, manifests, strict=True)}
    assert all(len(names) == 1 for names in found.values()), found
    return {batch: names.pop() for batch, names in found.items()}


def leftovers(work: Workspace) -> list[str]:
    """What of a run is left beside its artifacts."""
    return [path.name for path in work.root.iterdir() if path.name[0] == "." or path.suffix in (".partial", ".old")]
