"""Write a file beside its place and rename it there, so that a killed run leaves no half file under a name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def published(final: Path) -> Iterator[Path]:
    """Path to write to; on a clean exit it becomes `final`, on an error it goes."""
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(final.name + ".partial")
    try:
        yield partial
        partial.replace(final)
    finally:
        partial.unlink(missing_ok=True)
