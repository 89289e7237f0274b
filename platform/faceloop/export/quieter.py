"""ONNX Runtime's quantiser warns through the root logger about every layer it leaves alone; that is no news here."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_logging() -> Iterator[None]:
    """Drop the root logger's own records below ERROR while the block runs; those of named loggers pass."""
    root = logging.getLogger()

    def is_worth_it(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    root.addFilter(is_worth_it)
    try:
        yield
    finally:
        root.removeFilter(is_worth_it)
