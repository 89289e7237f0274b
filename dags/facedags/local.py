"""A command as a process beside Airflow: no shell, its own process group, nothing left behind."""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from typing import IO, Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from facedags.commanded import Commanded, run_environment
from facedags.results import COME_BACK_LATER, NOT_READY, NOTHING_TO_DO, Result, parsed
from facedags.settings import settings

GRACE_S = 20.0
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_libc = ctypes.CDLL(None)


class LocalCommand(Commanded, BaseOperator):
    """Runs `faceloop ARGV` on this machine.

    Raises AirflowSkipException for an exit code of `skip_on`, AirflowException for any other but 0.
    """

    template_fields: Sequence[str] = ("argv", "env", "only_if")
    ui_color = "#e3f2e8"

    def __init__(self, *, argv: Sequence[str | Sequence[str]], skip_on: Sequence[int] = (), **kwargs: Any) -> None:
        super().__init__(argv=argv, **kwargs)
        self.skip_on = list(skip_on)
        self.env = run_environment()
        self._child: subprocess.Popen[str] | None = None

    def said(self, context: Context) -> Result:
        words = [*program(), *self.words]
        child = subprocess.Popen(
            words,
            env=os.environ | {name: str(value) for name, value in self.env.items()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
            preexec_fn=die_with_parent,  # one system call; takes no lock
        )
        self._child = child
        out, complaints = _LastLine(child.stdout, self.log.info), _LastLine(child.stderr, self.log.info)
        try:
            code = child.wait()
        finally:
            self._end()
            out.close()
            complaints.close()
        if code in self.skip_on:
            raise AirflowSkipException(f"faceloop {words[1]} ended with {code}{_why(code)}")
        if code != 0:
            raise AirflowException(f"faceloop {words[1]} ended with {code}{_why(code)}: {_told(complaints.line)}")
        return parsed(out.line, self.leave_out)

    def on_kill(self) -> None:
        """A person ended the task, or its time is up."""
        self._end()

    def _end(self) -> None:
        """End the command and all that it started: TERM first, KILL after a grace."""
        child = self._child
        if child is None:
            return
        if child.poll() is None:
            _signal_group(child, signal.SIGTERM)
            try:
                child.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                self.log.warning("the command did not end in %.0f s; it is killed", GRACE_S)
        _signal_group(child, signal.SIGKILL)  # its children too, and whoever of them is left
        child.wait()


class _LastLine:
    """Reads a stream to its end beside the task, logs every line, keeps the last that is not blank."""

    def __init__(self, stream: IO[str] | None, say: Callable[[str, str], None]) -> None:
        self._stream = stream
        self._say = say
        self.line = ""
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self) -> None:
        """Wait for the end of the stream, but not for a process that outlives the command and holds it open."""
        self._reader.join(GRACE_S)
        if self._stream is not None and not self._reader.is_alive():
            self._stream.close()

    def _read(self) -> None:
        for line in self._stream or ():
            if text := line.rstrip():
                self.line = text
                self._say("%s", text)


def program() -> list[str]:
    """The platform's command: where PATH has it, else in the environment that runs Airflow."""
    name = settings().program
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        raise AirflowException(
            f"no program {name!r} on PATH; install the platform beside Airflow, or name it in "
            "FACELOOP_PROGRAM, or run commands in containers (FACELOOP_EXECUTOR)"
        )
    return [found]


def die_with_parent() -> None:
    """The command ends when the worker is killed, so that a retry need not wait for its lease."""
    _libc.prctl(_DIE_WITH_PARENT, signal.SIGTERM)


def _signal_group(child: "subprocess.Popen[str]", number: int) -> None:
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return


def _told(line: str) -> str:
    """What a line of the log says: the platform writes them as JSON objects here."""
    try:
        return str(json.loads(line)["message"])
    except (ValueError, TypeError, KeyError):
        return line


def _why(code: int) -> str:
    known = {
        NOTHING_TO_DO: " (nothing to do)",
        COME_BACK_LATER: " (another holds it, or a server is away)",
        NOT_READY: " (its inputs are missing or being made anew)",
    }
    return known.get(code, " (a signal ended it)" if code < 0 else "")
