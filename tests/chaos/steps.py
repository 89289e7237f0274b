"""Steps of this process that are calls of ours, where system calls would say nothing of a server: killed at any."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

Steps = tuple[tuple[object, tuple[str, ...]], ...]  # owners, with names of what they can be called for


@contextmanager
def deadly(point: int, steps: Steps, *, is_after: bool = False) -> Iterator[Counter[str]]:
    """This process kills itself before its step number `point` (from 1), or when that is done. Counts `steps`."""
    done = Counter[str]()

    def counted(step: Callable[..., object]) -> Callable[..., object]:
        def run(*given: object, **named: object) -> object:
            done["steps"] += 1
            is_it = done["steps"] == point
            if is_it and not is_after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = step(*given, **named)
            if is_it:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return run

    with pytest.MonkeyPatch.context() as patch:
        for owner, names in steps:
            for name in names:
                patch.setattr(owner, name, counted(getattr(owner, name)))
        yield done
