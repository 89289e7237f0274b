"""Put several artifacts in the place of others, all or none, whenever the process is killed.

Each waiting folder is renamed into the live place, and the live one is kept aside. A journal stands while that lasts:
it is written before the first rename, and whoever finds it completes the exchange. Which renames were done is seen from
what lies where, so that completing twice does no harm. Swapping the two sides takes an exchange back.
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facestore.diskfaults import disk_faults
from facestore.errors import DataError, StageError
from facestore.ids import JsonValue, canonical_json
from facestore.publish import is_intact, read_manifest, recover, sync_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One artifact: what waits comes to `live`, what lived goes to `aside`. Folders of one file system."""

    waiting: Path
    live: Path
    aside: Path


def begin_exchange(journal: Path, turns: Sequence[Turn], note: JsonValue) -> None:
    """Write the journal: from here on the exchange will be completed. `note` says what it is for.

    Raises StageError when another exchange was begun, something waiting is not whole, or nothing lives to take back;
    StoreError when the disk is full or fails: then nothing was exchanged, or the journal stands.
    """
    with disk_faults("begin an exchange"):
        _begin(journal, turns, note)


def _begin(journal: Path, turns: Sequence[Turn], note: JsonValue) -> None:
    if journal.exists():
        raise StageError(f"an exchange is under way ({journal}); complete it first")
    for turn in turns:
        recover(turn.live)
        manifest = read_manifest(turn.waiting)
        if manifest is None or not is_intact(turn.waiting, manifest):
            raise StageError(f"{turn.waiting} is not a whole artifact; make it again before it is put to use")
        if read_manifest(turn.live) is None:
            raise StageError(f"{turn.live} was never published; there is nothing to exchange")
        if turn.aside.exists():
            shutil.rmtree(turn.aside)
        turn.aside.parent.mkdir(parents=True, exist_ok=True)
    body: JsonValue = {
        "turns": [list[JsonValue](_relative(journal, turn)) for turn in turns],
        "note": note,
    }
    partial = journal.with_name(journal.name + ".partial")
    partial.write_text(canonical_json(body) + "\n", encoding="utf-8")
    sync_path(partial)
    partial.rename(journal)
    sync_path(journal.parent)


def pending_exchange(journal: Path) -> JsonValue:
    """The note of an exchange that was begun and not ended, else None. Raises DataError for an unreadable journal."""
    return _read(journal)[1] if journal.exists() else None


def complete_exchange(journal: Path) -> None:
    """Do the renames that are left. What a run published in between, over a place left empty, gives way.

    The journal stays until `end_exchange`, so that the caller can write down what happened first. Raises StoreError
    when the disk is full or fails; completing again does what is left.
    """
    with disk_faults("complete an exchange"):
        for turn in _read(journal)[0]:
            _take_turn(turn)


def _take_turn(turn: Turn) -> None:
    if turn.waiting.exists():
        if turn.live.exists():
            if turn.aside.exists():
                shutil.rmtree(turn.live)
            else:
                turn.live.rename(turn.aside)
                sync_path(turn.aside.parent)
        turn.waiting.rename(turn.live)
        sync_path(turn.live.parent)
        sync_path(turn.waiting.parent)


def end_exchange(journal: Path) -> None:
    """Take the journal away. Raises StoreError as `complete_exchange`."""
    with disk_faults("end an exchange"):
        journal.unlink()
        sync_path(journal.parent)


def _relative(journal: Path, turn: Turn) -> list[str]:
    """To the journal's folder, so that a root that was moved or is mounted elsewhere can be completed."""
    home = journal.parent.resolve()
    return [os.path.relpath(path.resolve(), home) for path in (turn.waiting, turn.live, turn.aside)]


def _read(journal: Path) -> tuple[list[Turn], JsonValue]:
    try:
        body = json.loads(journal.read_text(encoding="utf-8"))
        home = journal.parent
        turns = [
            Turn(waiting=home / waiting, live=home / live, aside=home / aside) for waiting, live, aside in body["turns"]
        ]
        return turns, body["note"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{journal} is not a journal ({error}); look at the folders beside it by hand") from error
