"""An exchange of artifacts: all or none, whenever it is killed, and back again."""

import subprocess
import sys
from pathlib import Path

import pytest

from facestore.errors import StageError
from facestore.exchange import Turn, begin_exchange, complete_exchange, end_exchange, pending_exchange
from facestore.publish import fresh_partial, publish, verify

NAMES = ("embeddings", "clusters", "assignments")
RENAMES = 1 + 2 * len(NAMES)  # the journal's own, then two an artifact

KILLED = """
import os, sys
from pathlib import Path
from facestore.exchange import begin_exchange, complete_exchange
from tests_exchange import turns_of

allowed, real = int(sys.argv[2]), Path.rename

def rename(self, target):
    global allowed
    if allowed == 0:
        os._exit(9)
    allowed -= 1
    return real(self, target)

Path.rename = rename
journal = Path(sys.argv[1], "journal.json")
begin_exchange(journal, turns_of(Path(sys.argv[1])), "note")
complete_exchange(journal)
os._exit(0)
"""


def turns_of(root: Path) -> list[Turn]:
    return [Turn(waiting=root / "migration" / name, live=root / name, aside=root / "previous" / name) for name in NAMES]


def _publish(path: Path, text: str) -> None:
    (fresh_partial(path, keep=False) / "table").write_text(text, encoding="utf-8")
    publish(path, stage="stage", run_key=text, counts={}, inputs={})


def _world(root: Path) -> list[Turn]:
    for name in NAMES:
        _publish(root / name, f"old {name}")
        _publish(root / "migration" / name, f"new {name}")
    return turns_of(root)


def _texts(root: Path) -> list[str]:
    for name in NAMES:
        verify(root / name)
    return [(root / name / "table").read_text(encoding="utf-8") for name in NAMES]


def _exchange(journal: Path, turns: list[Turn]) -> None:
    begin_exchange(journal, turns, "note")
    complete_exchange(journal)
    end_exchange(journal)


def test_what_waited_lives_and_what_lived_is_kept(tmp_path: Path) -> None:
    turns = _world(tmp_path)
    _exchange(tmp_path / "journal.json", turns)
    assert _texts(tmp_path) == [f"new {name}" for name in NAMES]
    assert _texts(tmp_path / "previous") == [f"old {name}" for name in NAMES]
    assert pending_exchange(tmp_path / "journal.json") is None


def test_with_sides_swapped_it_takes_itself_back(tmp_path: Path) -> None:
    turns = _world(tmp_path)
    _exchange(tmp_path / "journal.json", turns)
    _exchange(
        tmp_path / "journal.json",
        [Turn(waiting=turn.aside, live=turn.live, aside=turn.waiting) for turn in turns],
    )
    assert _texts(tmp_path) == [f"old {name}" for name in NAMES]
    assert _texts(tmp_path / "migration") == [f"new {name}" for name in NAMES]


@pytest.mark.parametrize("renames", range(RENAMES + 1))
def test_killed_between_any_two_renames_it_is_nothing_or_can_be_completed(tmp_path: Path, renames: int) -> None:
    _world(tmp_path)
    program = KILLED.replace("tests_exchange", Path(__file__).stem)
    command = [sys.executable, "-c", program, str(tmp_path), str(renames)]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    assert done.returncode == (0 if renames == RENAMES else 9), done.stderr
    journal = tmp_path / "journal.json"
    if renames == 0:
        assert pending_exchange(journal) is None
        assert _texts(tmp_path) == [f"old {name}" for name in NAMES]
        return
    assert pending_exchange(journal) == "note"
    complete_exchange(journal)
    complete_exchange(journal)
    end_exchange(journal)
    assert _texts(tmp_path) == [f"new {name}" for name in NAMES]
    assert _texts(tmp_path / "previous") == [f"old {name}" for name in NAMES]


def test_a_run_between_kill_and_completion_gives_way(tmp_path: Path) -> None:
    turns = _world(tmp_path)
    begin_exchange(tmp_path / "journal.json", turns, None)
    turns[0].live.rename(turns[0].aside)
    _publish(turns[0].live, "made in between")
    complete_exchange(tmp_path / "journal.json")
    assert _texts(tmp_path) == [f"new {name}" for name in NAMES]
    assert _texts(tmp_path / "previous")[0] == "old embeddings"


def test_a_second_exchange_and_a_damaged_folder_are_refused(tmp_path: Path) -> None:
    turns = _world(tmp_path)
    (turns[1].waiting / "table").unlink()
    with pytest.raises(StageError, match="not a whole artifact"):
        begin_exchange(tmp_path / "journal.json", turns, None)
    assert _texts(tmp_path) == [f"old {name}" for name in NAMES]
    _publish(turns[1].waiting, "new clusters")
    begin_exchange(tmp_path / "journal.json", turns, None)
    with pytest.raises(StageError, match="under way"):
        begin_exchange(tmp_path / "journal.json", turns, None)
