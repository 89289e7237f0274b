"""Processes of a deployment: told apart from others for certain, and ended without a rest.

A process id alone is not enough, it is given out again. So a process is its id and its start, and all that a
deployment starts carries the deployment's folder in its environment, whoever its parent is by now.
"""

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MARK = "FACELOOP_DEPLOYMENT"
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Process:
    """One process, for ever: `started` is in clock ticks since the machine's boot."""

    pid: int
    started: int


def find_process(pid: int) -> Process | None:
    """None when it ended, also if nobody has waited for it yet."""
    fields = _stat(pid)
    return Process(pid=pid, started=int(fields[19])) if fields else None


def lives(process: Process) -> bool:
    return find_process(process.pid) == process


def marked(folder: Path) -> list[Process]:
    """Every process that was started for the deployment in this folder, but this one and those it descends from."""
    own = _line(os.getpid())
    mark = f"{MARK}={folder}".encode()
    return _those(lambda pid: pid not in own and mark in _environment(pid))


def in_session(session: int) -> list[Process]:
    """What a leader left behind: its children, those they made, but not those that began sessions of their own."""
    return _those(lambda pid: _session(pid) == session)


def end_all(find: Callable[[], Iterable[Process]], *, grace_s: float) -> int:
    """TERM to all that is found, KILL after so many seconds, until nothing is found. How many had to be killed."""
    found = list(find())
    _tell(found, signal.SIGTERM)
    until = time.monotonic() + grace_s
    while found and time.monotonic() < until:
        time.sleep(0.1)
        found = list(find())
    killed = set(found)
    while found:
        _tell(found, signal.SIGKILL)
        time.sleep(0.05)
        found = list(find())
        killed |= set(found)
    return len(killed)


def tell(process: Process, number: signal.Signals) -> None:
    """A signal, if the process still is the one that was meant."""
    if lives(process):
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _tell(processes: Iterable[Process], number: signal.Signals) -> None:
    for process in processes:
        tell(process, number)


def _those(is_meant: Callable[[int], bool]) -> list[Process]:
    pids = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
    return [found for pid in sorted(pids) if is_meant(pid) and (found := find_process(pid)) is not None]


def _stat(pid: int) -> list[str]:
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return [] if fields[0] in "ZX" else fields


def _session(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[3]) if fields else None


def _line(pid: int) -> set[int]:
    line: set[int] = set()
    while pid and pid not in line:
        line.add(pid)
        fields = _stat(pid)
        pid = int(fields[1]) if fields else 0
    return line


def _environment(pid: int) -> list[bytes]:
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
