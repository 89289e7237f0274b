"""How long a store on the network may take: attempts with pauses of random length, and one deadline over them all.

A time-out of a socket starts anew with every byte, so a server that drips holds a reader for ever. Here each request
runs in a thread of its own, and the caller goes on when the deadline of the whole operation has passed.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Limits of one operation. What moves bytes gets time for them on top, at the slowest rate that is no fault."""

    attempts: int
    connect_s: float
    read_s: float  # without a byte
    overall_s: float  # of all attempts and pauses
    slowest_bytes_per_s: float
    pause_s: float  # longest before the second attempt; doubles with each one after it, up to …
    longest_pause_s: float

    @property
    def try_s(self) -> float:
        """Of one attempt at a request that moves no object: all attempts at one leave time for another."""
        return self.overall_s / (2 * self.attempts)

    def deadline(self, size_bytes: int = 0) -> "Deadline":
        return Deadline(seconds=self.overall_s + size_bytes / self.slowest_bytes_per_s)


PATIENCE = Patience(
    attempts=5,
    connect_s=5.0,
    read_s=60.0,
    overall_s=120.0,
    slowest_bytes_per_s=128 << 10,
    pause_s=0.5,
    longest_pause_s=8.0,
)


class TryEnded(ConnectionError):
    """An attempt took too long, and there is time for another."""


@dataclass(slots=True, kw_only=True)
class Deadline:
    """The end of an operation, by this machine's steady clock."""

    seconds: float
    _end_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._end_s = time.monotonic() + self.seconds

    def remaining_s(self) -> float:
        return max(0.0, self._end_s - time.monotonic())

    def allow(self, seconds: float) -> None:
        """So much longer: the size of what is to be moved became known."""
        self.seconds += seconds
        self._end_s += seconds

    def run(self, call: Callable[[], Result], interrupt: Callable[[], None], most_s: float | None = None) -> Result:
        """What `call` gives or raises, in the time that is left. Else TimeoutError, or TryEnded where only `most_s` has
        passed; `interrupt` then ends the thread, which nobody waits for."""
        outcome: list[Any] = []
        is_done = threading.Event()

        def work() -> None:
            try:
                outcome.append((call(), None))
            except BaseException as error:  # the caller's to look at, in the caller's thread
                outcome.append((None, error))
            is_done.set()

        threading.Thread(target=work, daemon=True, name="store request").start()
        allowed_s = self.remaining_s() if most_s is None else min(most_s, self.remaining_s())
        if not is_done.wait(allowed_s):
            interrupt()
            if self.remaining_s() > 0:
                raise TryEnded(f"no end after {allowed_s:.1f} s")
            raise TimeoutError(f"no end after {self.seconds:.0f} s")
        result, error = outcome[0]
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def rest(self, attempt: int, patience: Patience, jitter: random.Random) -> bool:
        """Pause before the next attempt, a random part of what doubles each time (AWS, "Exponential backoff and
        jitter", 2015). False, and no pause, when the deadline would pass meanwhile."""
        pause_s = jitter.random() * min(patience.longest_pause_s, patience.pause_s * 2.0 ** (attempt - 1))
        if pause_s >= self.remaining_s():
            return False
        time.sleep(pause_s)
        return True
