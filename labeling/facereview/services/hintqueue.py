"""Hints on their way to the database: taken in at once, written in batches by a thread of their own."""

import queue
import threading
from collections.abc import Callable, Sequence

from facestore.errors import StoreError
from facestore.questions import Hint

_BATCH = 1_000  # hints in one transaction
_FIRST_WAIT_S = 0.05  # before a write that failed is tried again; doubles
_LONGEST_WAIT_S = 2.0


class HintQueue:
    """At most `room` messages wait, in memory: what does not fit, or dies with the process, the next sweep finds."""

    def __init__(
        self,
        keep: Callable[[Sequence[Hint]], None],
        *,
        room: int,
        kept: Callable[[int], None] | None,
        say: Callable[[str], None],
    ) -> None:
        """`keep` writes hints and may raise StoreError: then it is asked again. `kept` is told how many it wrote."""
        self._keep, self._kept, self._say = keep, kept, say
        self._waiting: queue.Queue[Sequence[Hint]] = queue.Queue(maxsize=room)
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._write, name="hints", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, grace_s: float) -> None:
        """Write what waits, for so long at most."""
        self._is_ending.set()
        self.offer(())  # wakes the thread; when there is no room it is awake
        self._thread.join(grace_s)
        if lost := self._waiting.qsize():
            self._say(f"{lost} hints were not written in {grace_s:g} s; the next full pull finds what they were about")

    def offer(self, hints: Sequence[Hint]) -> bool:
        """Never waits; False when there is no room."""
        try:
            self._waiting.put_nowait(hints)
        except queue.Full:
            return False
        return True

    def waiting(self) -> int:
        return self._waiting.qsize()

    def _write(self) -> None:
        while True:
            batch = list(self._waiting.get())
            while len(batch) < _BATCH:
                try:
                    batch += self._waiting.get_nowait()
                except queue.Empty:
                    break
            if batch:
                self._insist(_distinct(batch))
            if self._is_ending.is_set() and self._waiting.empty():
                return

    def _insist(self, batch: Sequence[Hint]) -> None:
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                self._keep(batch)
                break
            except StoreError as error:
                if self._is_ending.is_set():
                    self._say(f"{len(batch)} hints are dropped, a full pull finds what they were about: {error}")
                    return
                self._say(f"hints wait: {error}")
            self._is_ending.wait(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        if self._kept is not None:
            self._kept(len(batch))


def _distinct(hints: Sequence[Hint]) -> list[Hint]:
    """One of each: a message that came five times is looked into once."""
    places = {(hint.project_id, hint.task_id, hint.annotation_id): hint for hint in hints}
    return list(places.values())
