"""Recording: each command leaves one activity, however it ends; nothing that was given to it is kept."""

import io
import json
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceloop.commands.recording import command_of, counts_of, recorded
from facestore.activities import Activities, Activity
from facestore.errors import LeaseHeld, StageError

RUN = {"FACELOOP_RUN_ID": "ingest_footage/run 1", "FACELOOP_TASK": "detect[3]", "FACELOOP_TRY": "2"}


def done(root: Path, run_id: str = RUN["FACELOOP_RUN_ID"]) -> list[Activity]:
    with closing(Activities(f"sqlite:///{root / 'ledger.sqlite3'}")) as log:
        return log.of_run(run_id)


def ended_with(argv: list[str], environ: dict[str, str], act: Callable[[], None]) -> object:
    """The exit code or error that `act` ended with, recorded meanwhile."""
    try:
        with recorded(argv, environ):
            act()
    except (SystemExit, Exception) as error:  # whatever it is, it must come through
        return error.code if isinstance(error, SystemExit) else error
    return None


def _raise(error: BaseException) -> None:
    raise error


def _translated(error: Exception, code: int) -> None:
    """As the command line ends with an error of ours."""
    try:
        raise error
    except Exception:
        raise SystemExit(code) from None


def test_a_command_leaves_what_it_counted_and_whose_it_was(tmp_path: Path) -> None:
    last = json.dumps({"stage": "detect", "state": "staged", "in": 5, "published": 4, "rejected": {"extreme_pose": 1}})
    argv = ["run", "detect", "--batch", "b003", "--root", str(tmp_path)]
    assert ended_with(argv, RUN, lambda: print(f"words\n{last}")) is None  # noqa: T201
    (found,) = done(tmp_path)
    assert (found.command, found.task, found.attempt, found.outcome) == ("run detect", "detect[3]", 2, "done")
    assert (found.state, found.items, found.exit_code) == ("staged", 4, 0)
    assert found.counts == {"in": 5, "published": 4, "rejected": {"extreme_pose": 1}}


@pytest.mark.parametrize(
    ("act", "outcome", "code", "error"),
    [
        (lambda: _raise(SystemExit(0)), "done", 0, None),
        (lambda: _raise(SystemExit(99)), "skipped", 99, None),
        (lambda: _translated(LeaseHeld("x"), 75), "held", 75, "LeaseHeld"),
        (lambda: _translated(StageError("/secret/path"), 2), "failed", 2, "StageError"),
        (lambda: _raise(SystemExit(143)), "failed", 143, None),
    ],
)
def test_every_end_has_its_outcome(
    tmp_path: Path, act: Callable[[], None], outcome: str, code: int, error: str | None
) -> None:
    assert ended_with(["loop", "plan-footage", f"--root={tmp_path}"], RUN, act) == code
    (found,) = done(tmp_path)
    assert (found.outcome, found.exit_code, found.error) == (outcome, code, error)
    assert "secret" not in repr(found)


def test_an_error_that_nobody_foresaw_is_recorded_and_passed_on(tmp_path: Path) -> None:
    error = ZeroDivisionError("by a person's name")
    assert ended_with(["run", "embed"], {**RUN, "FACELOOP_ROOT": str(tmp_path)}, lambda: _raise(error)) is error
    (found,) = done(tmp_path)
    assert (found.outcome, found.exit_code, found.error) == ("failed", 1, "ZeroDivisionError")
    assert "person" not in repr(found)


def test_a_record_that_cannot_be_written_fails_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ledger.sqlite3").write_text("this is no database, and longer than a header of one has to be" * 9)
    assert ended_with(["run", "embed", "--root", str(tmp_path)], RUN, lambda: print("{}")) is None  # noqa: T201
    captured = capsys.readouterr()
    assert captured.out == "{}\n"
    assert captured.err.startswith("faceloop: this command could not be recorded: ")


def test_by_hand_only_what_turns_the_loop_is_recorded(tmp_path: Path) -> None:
    environ = {"FACELOOP_ROOT": str(tmp_path)}
    for argv in (["run", "detect"], ["verify"], ["review", "status"], ["run", "detect", "--help"], []):
        ended_with(argv, environ, lambda: None)
    with closing(Activities(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")) as log:
        assert [(row.command, row.activities) for row in log.totals().rows] == [("run detect", 1)]


def test_what_only_looks_or_lasts_for_ever_is_never_recorded(tmp_path: Path) -> None:
    for argv in (["jobs", "show", "J"], ["serve-metrics"], ["operate", "status"]):
        ended_with([*argv, "--root", str(tmp_path)], RUN, lambda: None)
    assert not (tmp_path / "ledger.sqlite3").exists()


def test_nothing_is_made_where_there_is_no_root(tmp_path: Path) -> None:
    ended_with(["run", "detect", "--root", str(tmp_path / "absent")], RUN, lambda: None)
    assert list(tmp_path.iterdir()) == []


def test_stdout_is_as_it_was_and_comes_back(tmp_path: Path) -> None:
    before, stream = sys.stdout, io.StringIO()
    sys.stdout = stream
    try:
        with recorded(["run", "embed", "--root", str(tmp_path)], RUN):
            sys.stdout.write('{"published": 1')
            sys.stdout.write("}\nhalf a line")
            assert sys.stdout.isatty() is False
        assert sys.stdout is stream
    finally:
        sys.stdout = before
    assert stream.getvalue() == '{"published": 1}\nhalf a line'
    assert done(tmp_path)[0].items == 1


@given(st.text(alphabet="abcXYZ -/.é", max_size=20), st.sampled_from(["run", "review", "decisions", "restrict", ""]))
def test_what_is_typed_after_a_command_is_never_its_name(typed: str, first: str) -> None:
    name = command_of([first, typed, "--name", "anna"])
    assert name in {first, ""} or typed in {"pull", "push", "detect"}


def test_the_words_of_commands_are_known() -> None:
    assert command_of(["review", "pull", "--full"]) == "review pull"
    assert command_of(["review", "maria"]) == "review"
    assert command_of(["run", "cluster", "-S", "x"]) == "run cluster"
    assert command_of(["run", "/home/maria"]) == "run"
    assert command_of(["verify"]) == "verify"
    assert command_of(["/home/maria"]) == ""
    assert command_of([]) == ""


def test_counts_keep_numbers_and_no_words() -> None:
    said = {
        "name": "anna", "n": 3, "is_due": True, "groups": ["b000 b003", "b001"], "nested": {"a": 1, "who": "anna"},
        "rejected": {"anna's clip.mp4": 3, "too_small": 2}, "none": None,
    }  # fmt: skip
    kept = {"n": 3, "is_due": True, "groups": 2, "nested": {"a": 1}, "rejected": {"too_small": 2}}
    assert counts_of(said) == kept  # type: ignore[arg-type]
