"""One checker for every chaos test: what went in must come out (Jepsen's total-queue, github.com/jepsen-io/jepsen)."""

import mmap
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounting:
    """Items by what became of them; each tuple is sorted."""

    lost: tuple[str, ...]  # said to be kept, and not there
    doubled: tuple[str, ...]  # there more than once
    unexpected: tuple[str, ...]  # there, and nobody tried to put them there
    recovered: tuple[str, ...]  # there although nobody was told so: allowed

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.unexpected)


def account(*, attempted: Iterable[str], acknowledged: Iterable[str], found: Iterable[str]) -> Accounting:
    """Attempted: may be there. Acknowledged, a part of them: must be there. Found: what is there, each time."""
    there, tried, kept = Counter(found), set(attempted), set(acknowledged)
    return Accounting(
        lost=tuple(sorted(kept - there.keys())),
        doubled=tuple(sorted(item for item, times in there.items() if times > 1)),
        unexpected=tuple(sorted(there.keys() - tried - kept)),
        recovered=tuple(sorted((there.keys() & tried) - kept)),
    )


class Receipts:
    """What a process that may die at any instruction was told is kept: lines in memory it shares with its parent.

    Writing one makes no system call, so that none of them is a fault point.
    """

    _HEAD = 8

    def __init__(self, size_bytes: int = 1 << 16) -> None:
        self._shared = mmap.mmap(-1, size_bytes)

    def write(self, line: str) -> None:
        end = int.from_bytes(self._shared[: self._HEAD], "little")
        payload = line.replace("\n", " ").encode() + b"\n"
        start = self._HEAD + end
        payload = payload[: len(self._shared) - start]
        self._shared[start : start + len(payload)] = payload
        self._shared[: self._HEAD] = (end + len(payload)).to_bytes(self._HEAD, "little")

    def lines(self) -> list[str]:
        end = int.from_bytes(self._shared[: self._HEAD], "little")
        return self._shared[self._HEAD : self._HEAD + end].decode(errors="replace").splitlines()

    def close(self) -> None:
        self._shared.close()
