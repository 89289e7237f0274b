"""Tells Airflow that people answered, so that it looks at once. Only a hint: the schedule looks anyway."""

import threading
from collections.abc import Callable

from facestore.errors import ServerError

_TRIES = 3


class Announcer:
    """Posts one event for all that came within `every_s` seconds, from a thread of its own: nobody waits for it.

    `post` is told how many changes there were since the last event, and may raise ServerError: then it is asked again
    after a while, three times at most.
    """

    def __init__(self, post: Callable[[int], None], *, every_s: float, say: Callable[[str], None]) -> None:
        self._post, self._every_s, self._say = post, every_s, say
        self._lock = threading.Lock()
        self._changes = 0
        self._news, self._is_ending = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="asset events", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """What was not posted is dropped: the schedule finds it."""
        self._is_ending.set()
        self._news.set()
        self._thread.join(1.0)

    def tell(self, changes: int) -> None:
        """Never waits."""
        with self._lock:
            self._changes += changes
        self._news.set()

    def _run(self) -> None:
        while True:
            self._news.wait()
            if self._is_ending.is_set():
                return
            self._news.clear()
            with self._lock:
                changes, self._changes = self._changes, 0
            if changes:
                self._insist(changes)
                self._is_ending.wait(self._every_s)

    def _insist(self, changes: int) -> None:
        for chance in range(_TRIES):
            try:
                self._post(changes)
            except ServerError as error:
                if chance == _TRIES - 1:
                    self._say(f"Airflow was not told of {changes} changes, its schedule finds them: {error}")
                elif self._is_ending.wait(self._every_s):
                    return
            else:
                return
