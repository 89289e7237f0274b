"""A lease for as long as work lasts: taken or waited for, renewed by a thread, given back however the work ends."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from facestore.errors import LeaseHeld, LeaseLost, StoreError
from facestore.leases import Fence, Lease, Leases

_FIRST_POLL_S, _POLL_S = 0.05, 0.5
_BEATS_A_LEASE = 3  # two may fail before it runs out
_RETRIES_A_BEAT = 4  # how much sooner a beat that failed is tried again


class HeldLease:
    """A lease that a thread keeps alive. Its end may be learnt late; the proof is in `fenced`."""

    def __init__(self, leases: Leases, lease: Lease, seconds: float) -> None:
        self.lease = lease
        self._leases = leases
        self._seconds = seconds
        self._lost: LeaseLost | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease of {lease.name}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises LeaseLost when the heartbeat found that another run took over. Cheap: call it between steps."""
        if self._lost is not None:
            raise LeaseLost(str(self._lost))

    def fenced(self, *others: Lease) -> Fence:
        """A turn to write in which the lease is proved ours and stays ours (`Leases.fenced`). Raises LeaseLost."""
        return self._leases.fenced(self.lease, *others)

    def prove(self) -> None:
        """Ask the database now. Raises LeaseLost, or StoreError when it cannot be asked."""
        self._leases.renew(self.lease, self._seconds)

    def end(self) -> None:
        """Stop the heartbeat and give the lease back. A database that is away now lets it run out instead."""
        self._over.set()
        self._thread.join(timeout=_POLL_S)
        with suppress(StoreError):
            self._leases.give_back(self.lease)

    def _beat(self) -> None:
        """A database out of reach is tried again for ever: while nobody takes the lease, it is ours."""
        pause_s = beat_s = self._seconds / _BEATS_A_LEASE
        while not self._over.wait(pause_s):
            try:
                self._leases.renew(self.lease, self._seconds)
                pause_s = beat_s
            except LeaseLost as error:
                self._lost = error
                return
            except StoreError:
                pause_s = beat_s / _RETRIES_A_BEAT


@contextmanager
def held(
    url: str, name: str, *, seconds: float, wait_s: float = 0.0, on_wait: Callable[[str], None] = lambda why: None
) -> Iterator[HeldLease]:
    """Hold the lease `name` of the catalogue at `url`. `wait_s`: how long to wait for another holder.

    Raises LeaseHeld when another holds it still; LeaseLost in place of whatever went wrong because another took over.
    """
    leases = Leases(url)
    try:
        mine = HeldLease(leases, _taken(leases, name, seconds, wait_s, on_wait), seconds)
        try:
            yield mine
        except LeaseLost:
            raise
        except Exception as error:
            with suppress(StoreError):  # cannot be asked: the error stands as it is
                _blame(mine, error)
            raise
        finally:
            mine.end()
    finally:
        leases.close()


def _blame(mine: HeldLease, error: Exception) -> None:
    try:
        mine.prove()
    except LeaseLost as lost:
        raise lost from error


def _taken(leases: Leases, name: str, seconds: float, wait_s: float, on_wait: Callable[[str], None]) -> Lease:
    until = time.monotonic() + wait_s
    pause_s = 0.0
    while True:
        try:
            return leases.take(name, seconds)
        except LeaseHeld as error:
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise
            if not pause_s:
                on_wait(str(error))
        pause_s = min(2 * pause_s or _FIRST_POLL_S, _POLL_S)
        time.sleep(min(pause_s, left_s))
