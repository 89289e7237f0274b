"""Progress of long work: a protocol for stages, a rich bar for people, silence for tests and pipes."""

import sys
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")


class ProgressReporter(Protocol):
    def track(self, items: Sequence[Item], label: str) -> Iterator[Item]:
        """Yield the items; show how many are done."""
        ...

    def say(self, text: str) -> None:
        """One line for people."""
        ...


class SilentProgress:
    def track(self, items: Sequence[Item], label: str) -> Iterator[Item]:
        yield from items

    def say(self, text: str) -> None:
        return


class ConsoleProgress:
    """Bars on a terminal, plain lines elsewhere. Writes to stderr; stdout belongs to results."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)

    def track(self, items: Sequence[Item], label: str) -> Iterator[Item]:
        if not sys.stderr.isatty():
            yield from items
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self._console, transient=True) as bar:
            yield from bar.track(items, description=label)

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)
