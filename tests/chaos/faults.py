"""Work in a forked process, and strace to kill it, or to fail one of its system calls, at a chosen point.

A fork inherits what is imported, so a run costs its own work and not a second of imports; strace is attached to the
child before it begins.
"""

import functools
import os
import re
import shutil
import signal
import subprocess
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from tests.chaos.accounting import Receipts

from facestore.errors import FaceloopError

Effect = Literal["SIGKILL", "ENOSPC", "EIO"]
EFFECTS: tuple[Effect, ...] = ("SIGKILL", "ENOSPC", "EIO")
SYSCALLS = (
    "write", "pwrite64", "writev", "pwritev", "sendfile", "copy_file_range", "fsync", "fdatasync", "ftruncate",
    "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "mkdir", "rmdir",
)  # fmt: skip
DONE, REFUSED, CRASHED = 0, 20, 21  # exit codes: ended, an error of ours, any other exception
Work = Callable[[Receipts], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One point: the `when`-th call (from 1) of `syscall`."""

    syscall: str
    when: int
    effect: Effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a process ended; `is_fired`: whether its fault was reached. `code` is negative after a signal."""

    code: int
    is_fired: bool
    receipts: tuple[str, ...]
    error: str  # its traceback, where it ended with an exception


class Forked:
    """A child that waits until it is released, then works and ends."""

    def __init__(self, work: Work) -> None:
        self.receipts, self._errors = Receipts(), Receipts()
        told, tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(tell)
            os.read(told, 1)
            os._exit(self._worked(work))
        os.close(told)
        self._tell = tell

    def release(self) -> None:
        os.write(self._tell, b"1")
        os.close(self._tell)

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def error(self) -> str:
        return "\n".join(self._errors.lines())

    def close(self) -> None:
        self.receipts.close()
        self._errors.close()

    def _worked(self, work: Work) -> int:
        try:
            work(self.receipts)
            return DONE
        except FaceloopError:
            self._note()
            return REFUSED
        except BaseException:
            self._note()
            return CRASHED

    def _note(self) -> None:
        for line in traceback.format_exc().splitlines()[-60:]:
            self._errors.write(line)


def run(work: Work) -> Ended:
    """Without a fault."""
    child = Forked(work)
    child.release()
    code = child.wait()
    ended = Ended(code=code, is_fired=False, receipts=tuple(child.receipts.lines()), error=child.error())
    child.close()
    return ended


def run_with(fault: Fault, work: Work, log: Path) -> Ended:
    how = "signal=SIGKILL" if fault.effect == "SIGKILL" else f"error={fault.effect}"
    ended, text = _traced(work, log, [fault.syscall], [f"inject={fault.syscall}:{how}:when={fault.when}"])
    is_fired = ended.code == -signal.SIGKILL if fault.effect == "SIGKILL" else "(INJECTED)" in text
    return Ended(code=ended.code, is_fired=is_fired, receipts=ended.receipts, error=ended.error)


def count_calls(work: Work, log: Path) -> Mapping[str, int]:
    """How often a run without a fault makes each of the system calls."""
    ended, text = _traced(work, log, SYSCALLS, [])
    assert ended.code == DONE, ended.error
    calls = Counter(re.findall(r"^\d+ +(\w+)\(", text, re.MULTILINE))
    return {name: calls[name] for name in SYSCALLS if calls[name]}


def spread(calls: Mapping[str, int], points: int, effects: Sequence[Effect] = EFFECTS) -> list[Fault]:
    """So many points over all calls and effects, evenly; every kind of call has a share."""
    every = [
        Fault(syscall=name, when=when, effect=effect)
        for effect in effects
        for name in sorted(calls)
        for when in range(1, calls[name] + 1)
    ]
    if points >= len(every):
        return every
    return [every[number * len(every) // points] for number in range(points)]


@functools.cache
def why_not() -> str:
    """Why no fault can be injected here; empty where it can."""
    if shutil.which("strace") is None:
        return "no strace on this machine"
    child = Forked(lambda _: None)
    tracer = _attach(child.pid, Path(os.devnull), ["write"], [])
    said = _until_attached(tracer)
    child.release()
    child.wait()
    child.close()
    tracer.communicate()
    return "" if "attached" in said else f"strace may not attach here: {said.strip()}"


def need_strace() -> None:
    if reason := why_not():
        pytest.skip(reason)


def _traced(work: Work, log: Path, syscalls: Sequence[str], inject: Sequence[str]) -> tuple[Ended, str]:
    child = Forked(work)
    tracer = _attach(child.pid, log, syscalls, inject)
    said = _until_attached(tracer)
    assert "attached" in said, said
    child.release()
    code = child.wait()
    tracer.communicate()
    ended = Ended(code=code, is_fired=False, receipts=tuple(child.receipts.lines()), error=child.error())
    child.close()
    return ended, log.read_text(errors="replace")


def _attach(pid: int, log: Path, syscalls: Sequence[str], inject: Sequence[str]) -> "subprocess.Popen[str]":
    wanted = [option for one in inject for option in ("-e", one)]
    command = ["strace", "-f", "-p", str(pid), "-o", str(log), "-e", f"trace={','.join(syscalls)}", *wanted]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def _until_attached(tracer: "subprocess.Popen[str]") -> str:
    assert tracer.stderr is not None
    said = ""
    while "attached" not in said:
        line = tracer.stderr.readline()
        if not line:
            break
        said += line
    return said
