"""Bits that turn over at rest: drawn by a seed over files of a store, put back afterwards. Bar B9 of every concern."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """One bit of a file: `bit` counts from its first byte's lowest."""

    path: Path
    bit: int


def flip_bit(path: Path, bit: int) -> None:
    """Turn one bit over, in place: same inode, same size, as a failing disk does."""
    with path.open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


@contextmanager
def flipped(flip: Flip) -> Iterator[Path]:
    """The file with that bit turned over; turned back at the end."""
    flip_bit(flip.path, flip.bit)
    try:
        yield flip.path
    finally:
        flip_bit(flip.path, flip.bit)


def drawn_flips(paths: Sequence[Path], count: int, seed: int) -> list[Flip]:
    """`count` flips, the same for the same seed: every file that is not empty as likely, and every bit of it."""
    chooser = random.Random(seed)
    sizes = {path: path.stat().st_size for path in sorted(paths)}
    filled = [path for path, size in sizes.items() if size]
    chosen = [chooser.choice(filled) for _ in range(count)]
    return [Flip(path=path, bit=chooser.randrange(8 * sizes[path])) for path in chosen]
