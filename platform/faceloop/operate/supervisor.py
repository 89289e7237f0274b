"""Keeps parts running: starts each in a session of its own, starts it again when it dies, ends all when told to.

A part that dies at once waits longer each time; what it left behind is ended before it is started again, so that two
schedulers never work side by side. Work that has a session of its own (a training job) goes on meanwhile.
"""

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from faceloop.operate.parts import Part
from faceloop.operate.place import Place
from faceloop.operate.processes import Process, end_all, find_process, in_session, tell
from faceloop.operate.standing import PartState, Standing, write_standing

_LOOK_S = 0.25
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
_STEADY_S = 60.0  # a part that lived so long begins with the short wait again
_REST_GRACE_S = 5.0
_LOG_BYTES = 50_000_000  # then the log steps aside, once


@dataclass(slots=True, kw_only=True)
class _Kept:
    part: Part
    popen: "subprocess.Popen[bytes] | None" = None
    process: Process | None = None
    up_since: str = ""
    began: float = 0.0
    restarts: int = 0
    wait_s: float = _FIRST_WAIT_S
    due: float = field(default=float("-inf"))


class Supervisor:
    """Of the parts of one place. `say` takes one line at a time."""

    def __init__(self, place: Place, parts: Sequence[Part], *, own: Process, say: Callable[[str], None]) -> None:
        self._place, self._own, self._say = place, own, say
        self._kept = [_Kept(part=part) for part in parts]

    def watch(self, is_told: Callable[[float], bool]) -> None:
        """Until `is_told(seconds)`, which waits so long at most, is true. Ends no part."""
        while True:
            changed = False
            for kept in self._kept:
                changed |= self._look(kept)
            if changed:
                self._write()
            if is_told(_LOOK_S):
                return

    def end(self, *, grace_s: float) -> None:
        """TERM to every part, KILL to what is left of their sessions after so many seconds."""
        for kept in reversed(self._kept):
            if kept.process is not None:
                tell(kept.process, signal.SIGTERM)
        until = time.monotonic() + grace_s
        for kept in self._kept:
            if kept.popen is None:
                continue
            try:
                code = kept.popen.wait(max(0.0, until - time.monotonic()))
                self._say(f"{kept.part.name} ended with {code}")
            except subprocess.TimeoutExpired:
                self._say(f"{kept.part.name} did not end in {grace_s:g} s")
            end_all(lambda session=kept.popen.pid: in_session(session), grace_s=0.0)  # type: ignore[misc]
            kept.popen.wait()

    def _look(self, kept: _Kept) -> bool:
        now = time.monotonic()
        if kept.popen is None:
            if now < kept.due:
                return False
            self._start(kept)
            return True
        code = kept.popen.poll()
        if code is None:
            return False
        lived_s = now - kept.began
        session = kept.popen.pid
        killed = end_all(lambda: in_session(session), grace_s=_REST_GRACE_S)
        if lived_s >= _STEADY_S:
            kept.wait_s = _FIRST_WAIT_S
        kept.popen, kept.process, kept.due = None, None, time.monotonic() + kept.wait_s
        kept.restarts += 1
        self._say(
            f"{kept.part.name} ended with {code} after {lived_s:.0f} s (its log: {kept.part.name}.log); "
            f"{killed} processes of it were killed; it starts again in {kept.wait_s:g} s, for the {kept.restarts}. time"
        )
        kept.wait_s = min(2 * kept.wait_s, _LONGEST_WAIT_S)
        return True

    def _start(self, kept: _Kept) -> None:
        log = self._place.logs / f"{kept.part.name}.log"
        _step_aside(log)
        with log.open("ab") as into:
            kept.popen = subprocess.Popen(
                kept.part.argv,
                env=dict(kept.part.environment),
                cwd=self._place.folder,
                stdin=subprocess.DEVNULL,
                stdout=into,
                stderr=into,
                start_new_session=True,
            )
        kept.process = find_process(kept.popen.pid)
        kept.began, kept.up_since = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
        self._say(f"{kept.part.name} started as process {kept.popen.pid}")

    def _write(self) -> None:
        parts = tuple(
            PartState(
                name=kept.part.name,
                process=kept.process,
                up_since=kept.up_since,
                restarts=kept.restarts,
                address=kept.part.address,
            )
            for kept in self._kept
        )
        write_standing(self._place, Standing(supervisor=self._own, parts=parts))


def _step_aside(log: Path) -> None:
    if log.is_file() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_suffix(".old.log"))
