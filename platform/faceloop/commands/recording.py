"""What every command leaves behind in the catalogue: an activity. What was given to it is not kept."""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import typer

from faceloop.commands.late import LATE
from faceloop.params import Paths, default_params_path, read_params, section
from faceloop.progress import RUN_ID, TASK, TRY, SilentProgress, complain
from faceloop.runner import Workspace
from faceloop.stage import STAGES
from facestore.errors import FaceloopError
from facestore.ids import JsonValue

DONE, FAILED, NOTHING_TO_DO, COME_BACK, NOT_READY = 0, 2, 99, 75, 98  # 75: EX_TEMPFAIL of sysexits.h
_OUTCOMES = {DONE: "done", NOTHING_TO_DO: "skipped", COME_BACK: "held", NOT_READY: "held"}  # others: failed
_WITHOUT_SCHEDULER = {"run", "review push", "review pull", "migrate-model", "mine", "watch check"}
_NEVER = {  # they last for ever, or only look, some every few seconds
    "operate", "serve-metrics", "serve-suggestions", "serve-webhook", "sample-footage", "verify", "blame",
    "jobs show", "jobs list", "releases list", "review status", "review queue", "decisions list", "identities list",
}  # fmt: skip
_STATES = {"published", "unchanged", "staged", "submitted", "running", "succeeded", "failed", "cancelled", "lost"}
_LONGEST_LINE = 1 << 16  # characters of a result that are looked at
_MOST_COUNTS = 60
_WORD = re.compile(r"[a-z][a-z0-9_.-]{0,39}")


@contextmanager
def recorded(argv: Sequence[str], environ: Mapping[str, str]) -> Iterator[None]:
    """Around a command: when it ends, however it ends, its activity is appended to the catalogue that it worked on.

    Under a scheduler (FACELOOP_RUN_ID) every command is; by hand only those that turn the loop. Passes every error on,
    and fails for none of its own: what could not be recorded is said on stderr.
    """
    command = command_of(argv)
    if not _is_recorded(argv, command, environ):
        yield
        return
    out, started = LastLine(sys.stdout), datetime.now(UTC)
    sys.stdout = out
    ended_by: BaseException | None = None
    try:
        yield
    except BaseException as error:
        ended_by = error
        raise
    finally:
        sys.stdout = out.stream
        try:
            _record(argv, environ, command, started, ended_by, out.last)
        except FaceloopError as error:
            complain(environ, f"this command could not be recorded: {error}")


class LastLine:
    """A stdout that remembers its last line."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream
        self.last = ""
        self._begun = ""

    def write(self, text: str) -> int:
        *whole, self._begun = (self._begun + text).split("\n")
        self._begun = self._begun[: _LONGEST_LINE + 1]
        self.last = next((line for line in reversed(whole) if line.strip()), self.last)
        return self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def command_of(argv: Sequence[str]) -> str:
    """The command's own words: `run detect`, `review pull`; never what a person typed as a value. Empty for others."""
    first, second = [*argv[:2], "", ""][:2]
    if first == "run" and second in STAGES:
        return f"{first} {second}"
    if first not in LATE:
        return first if _WORD.fullmatch(first) else ""
    module, name = LATE[first]
    try:
        found = getattr(import_module(f"faceloop.commands.{module}"), name)
    except ImportError:
        return first
    if not isinstance(found, typer.Typer):
        return first
    known = {
        command.name or str(command.callback and command.callback.__name__) for command in found.registered_commands
    }
    return f"{first} {second}" if second in {one.replace("_", "-") for one in known} else first


def _is_recorded(argv: Sequence[str], command: str, environ: Mapping[str, str]) -> bool:
    names = {command, command.partition(" ")[0]}
    if not command or names & _NEVER or "--help" in argv:
        return False
    return bool(environ.get(RUN_ID)) or bool(names & _WITHOUT_SCHEDULER)


def _record(
    argv: Sequence[str],
    environ: Mapping[str, str],
    command: str,
    started: datetime,
    ended_by: BaseException | None,
    last: str,
) -> None:
    from facestore.activities import Activities, Activity  # SQL is loaded late: a command that fails early is quick
    from facestore.leases import this_process

    work = workspace_of(argv, environ)
    if not work.root.is_dir():
        return  # nothing was done here
    said = result_of(last)
    exit_code, error_name = ending_of(ended_by)
    state, published = said.get("state"), said.get("published", 0)
    activity = Activity(
        run_id=environ.get(RUN_ID),
        task=environ.get(TASK),
        attempt=int(environ[TRY]) if environ.get(TRY, "").isdigit() else 1,
        command=command,
        started_at=started,
        ended_at=datetime.now(UTC),
        outcome=_OUTCOMES.get(exit_code, "failed"),  # type: ignore[arg-type]
        exit_code=exit_code,
        error=error_name,
        state=state if isinstance(state, str) and state in _STATES else None,
        items=published if isinstance(published, int) and not isinstance(published, bool) else 0,
        counts=counts_of(said),
    )
    activities = Activities(work.ledger_url())
    try:
        activities.record(activity, by=this_process())
    finally:
        activities.close()


def ending_of(ended_by: BaseException | None) -> tuple[int, str | None]:
    """Exit code, and the class of our error that led to it."""
    if ended_by is None:
        return DONE, None
    if not isinstance(ended_by, SystemExit):
        return (FAILED if isinstance(ended_by, FaceloopError) else 1), type(ended_by).__name__
    code = ended_by.code if isinstance(ended_by.code, int) else DONE if ended_by.code is None else 1
    before = ended_by.__cause__ or ended_by.__context__
    return code, type(before).__name__ if code and isinstance(before, FaceloopError) else None


def result_of(line: str) -> dict[str, JsonValue]:
    if len(line) > _LONGEST_LINE:
        return {}
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def counts_of(said: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Numbers of a result, and those of its groups (rejected: reason → number), and how long its lists are. Words stay
    out: one of them may be a name."""
    found: dict[str, JsonValue] = {}
    for name, value in list(said.items())[:_MOST_COUNTS]:
        if isinstance(value, bool | int | float):
            found[name] = value
        elif isinstance(value, list):
            found[name] = len(value)
        elif isinstance(value, dict):
            numbers = [(key, inner) for key, inner in value.items() if isinstance(inner, bool | int | float)]
            found[name] = {key: inner for key, inner in numbers[:_MOST_COUNTS] if _WORD.fullmatch(key)}
    return found


def workspace_of(argv: Sequence[str], environ: Mapping[str, str]) -> Workspace:
    """The one that the command itself worked on."""
    root, params = environ.get("FACELOOP_ROOT"), environ.get("FACELOOP_PARAMS")
    overrides = []
    for word, after in zip(argv, [*argv[1:], ""], strict=True):
        name, given, inline = word.partition("=")
        value = inline if given and name.startswith("--") else after
        match name:
            case "--root":
                root = value
            case "--params":
                params = value
            case "--set" | "-S" if "=" in value:  # elsewhere --set names a parameter set
                overrides.append(value)
            case _ if word.startswith("-S") and len(word) > 2:
                overrides.append(word[2:])
    return bare_workspace(Path(root) if root else None, Path(params) if params else None, overrides)


def bare_workspace(root: Path | None, params: Path | None, overrides: Sequence[str]) -> Workspace:
    """The workspace that options name, for who only needs its places: no stage is loaded, nor its params checked."""
    tree = read_params(params or default_params_path(), overrides)
    paths = section(tree, "paths", Paths)
    return Workspace(root=root or Path(str(tree["root"])), tree=tree, paths=paths, threads=1, progress=SilentProgress())
