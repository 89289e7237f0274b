"""Progress of long work: a protocol for stages, a rich bar for people, JSON lines for machines, silence for tests.

No line names a person, a path or a file of the footage: ids and counts only. Lines are kept for months by whatever
collects them, and nobody erases a subject from there.
"""

import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePath
from types import TracebackType
from typing import Literal, Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")
Level = Literal["info", "warning", "error"]
LOG = "FACELOOP_LOG"  # `json`: one JSON object a line on stderr
RUN_ID, TASK, TRY = "FACELOOP_RUN_ID", "FACELOOP_TASK", "FACELOOP_TRY"  # a scheduler says what a command belongs to
_SECONDS_BETWEEN_LINES = 10.0
_MOST_FRAMES = 12
_SUFFIX = r"\.(?:mp4|mov|avi|mkv|webm|m4v|mpe?g|3gp|wmv|flv|mts|m2ts|jpe?g|png|webp|bmp|tiff?|gif|heic)"
_MEDIA = re.compile(rf"""'[^'\n]*{_SUFFIX}'|"[^"\n]*{_SUFFIX}"|[^\s'":;,]+{_SUFFIX}\b""", re.IGNORECASE)
_KEYS = re.compile(r"""(s3://[^/\s]+)/[^'":;,\n]+""")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonLines:
    """Writes one JSON object a line: time (UTC), level, run_id, task, attempt, message, and counts where there are."""

    run_id: str | None
    task: str | None
    attempt: str | None
    write: Callable[[str], object]
    now: Callable[[], datetime]

    def line(self, level: Level, message: str, **counts: int) -> None:
        said: dict[str, object] = {
            "time": self.now().isoformat(timespec="milliseconds"),
            "level": level,
            "run_id": self.run_id,
            "task": self.task,
            "attempt": self.attempt,
            "message": message,
            **counts,
        }
        self.write(json.dumps({key: value for key, value in said.items() if value is not None}) + "\n")


class JsonProgress:
    """Lines for machines: the beginning and the end of what is tracked, and how far it is every ten seconds."""

    def __init__(self, lines: JsonLines, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._lines = lines
        self._monotonic = monotonic

    def track(self, items: Sequence[Item], label: str) -> Iterator[Item]:
        total = len(items)
        self._lines.line("info", label, done=0, total=total)
        said_at = self._monotonic()
        for done, item in enumerate(items):
            if self._monotonic() - said_at >= _SECONDS_BETWEEN_LINES:
                self._lines.line("info", label, done=done, total=total)
                said_at = self._monotonic()
            yield item
        self._lines.line("info", label, done=total, total=total)

    def say(self, text: str) -> None:
        self._lines.line("info", text)


class _JsonHandler(logging.Handler):
    """What libraries log, as lines of ours: the logger's name and the message, never its arguments or a traceback."""

    def __init__(self, lines: JsonLines) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        level: Level = "error" if record.levelno >= logging.ERROR else "warning"
        self._lines.line(level, f"{record.name}: {record.msg}")


def json_lines(environ: Mapping[str, str]) -> JsonLines | None:
    """Where the environment asks for JSON, the writer of its lines on stderr."""
    if environ.get(LOG) != "json":
        return None
    return JsonLines(
        run_id=environ.get(RUN_ID),
        task=environ.get(TASK),
        attempt=environ.get(TRY),
        write=_to_stderr,
        now=lambda: datetime.now(UTC),
    )


def progress_for(environ: Mapping[str, str]) -> ProgressReporter:
    """JSON lines where the environment asks for them, else bars and plain lines."""
    lines = json_lines(environ)
    return ConsoleProgress() if lines is None else JsonProgress(lines)


def log_as_json(environ: Mapping[str, str]) -> None:
    """Where the environment asks for JSON: logging, warnings and errors that nobody foresaw are lines of ours too."""
    lines = json_lines(environ)
    if lines is None:
        return
    logging.captureWarnings(True)
    logging.getLogger().addHandler(_JsonHandler(lines))

    def unforeseen(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        frames = traceback.extract_tb(trace)[-_MOST_FRAMES:]
        places = " > ".join(f"{PurePath(one.filename).name}:{one.lineno} {one.name}" for one in frames)
        lines.line("error", f"{kind.__name__} at {places}")  # its words stay out: they may name a file

    sys.excepthook = unforeseen


def complain(environ: Mapping[str, str], text: str) -> None:
    """An error on one line of stderr, for people or, without names of files of the footage, for machines."""
    lines = json_lines(environ)
    if lines is None:
        _to_stderr(f"faceloop: {text}\n")
    else:
        lines.line("error", without_footage(text))


def without_footage(text: str) -> str:
    """A text in which `[footage]` stands for names of media files, quoted or not, and for keys of buckets."""
    return _KEYS.sub(r"\1/[footage]", _MEDIA.sub("[footage]", text))


def _to_stderr(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
