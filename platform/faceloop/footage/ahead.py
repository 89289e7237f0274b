"""Pictures read ahead: a thread decodes the next ones while the one before is looked at."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def read_ahead(items: Iterable[Item], *, depth: int) -> Iterator[Item]:
    """The same items in the same order; at most `depth` (1 or more) of them are made before they are asked for.

    One thread makes them one after the other. What it raises is raised here, at the item's place.
    """
    source = iter(items)
    reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead")
    try:
        waiting = deque(reader.submit(_next_of, source) for _ in range(depth))
        while following := waiting.popleft().result():
            waiting.append(reader.submit(_next_of, source))
            yield following[0]
    finally:
        reader.shutdown(cancel_futures=True)  # waits for the item being made: nobody reads the file after this


def _next_of(source: Iterator[Item]) -> tuple[Item] | None:
    """In a tuple, because a future must not raise StopIteration and an item may be anything."""
    for item in source:
        return (item,)
    return None
