"""Which program a kind of job runs: the stage of that name, over the release that the job is for.

A program is a command: it writes `result.json` into the folder that it is given, progress to stderr, and exits with 0;
or it writes why it could not, as its last line on stderr.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from facestore.errors import DataError, FaceloopError
from facestore.ids import JsonValue, canonical_json
from facestore.jobs import JobKind
from facestore.publish import write_whole

RESULT = "result.json"
_MOST_RESULT_BYTES = 16_384  # it goes into SQL, and on to the scheduler


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What one attempt of a job is to work on."""

    stage: str
    root: Path
    params: Path  # as they were when the job was submitted
    release_digest: str
    out: Path  # a folder of this attempt alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A command and its version; another version makes another job."""

    name: str
    version: int
    argv: Callable[[Order], list[str]]


def _run_stage(order: Order) -> list[str]:
    place = [str(order.root), str(order.params), order.release_digest, str(order.out)]
    return [sys.executable, "-m", "faceloop.jobs.stage_program", order.stage, *place]


_STAGE = Program(name="run_stage", version=1, argv=_run_stage)
PROGRAMS: dict[JobKind, Program] = {"train": _STAGE, "evaluate": _STAGE, "export": _STAGE}


def ended_as_program(run: Callable[[], JsonValue], out: Path) -> int:
    """Exit code of a program of ours: its result written whole, or one line why not."""
    try:
        result = run()
    except FaceloopError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    write_whole(out / RESULT, canonical_json(result) + "\n")
    return 0


def read_result(out: Path) -> JsonValue:
    """What a program wrote. Raises DataError when it is missing, no JSON, or too long for SQL."""
    path = out / RESULT
    try:
        text = path.read_text(encoding="utf-8")
        if len(text) > _MOST_RESULT_BYTES:
            raise DataError(f"{path.name}: {len(text)} characters, at most {_MOST_RESULT_BYTES}; write less into it")
        result: JsonValue = json.loads(text)
    except (OSError, ValueError) as error:
        raise DataError(f"the program left no readable {path.name} ({error}); see the job's log") from error
    return result
