"""What a command said: its last line on stdout, one JSON object, goes into XCom and nothing else does."""

import json
from collections.abc import Sequence
from typing import Any

Result = dict[str, Any]  # what JSON makes of the line
MOST_BYTES = 48 * 1024
NOTHING_TO_DO = 99
COME_BACK_LATER = 75
NOT_READY = 98
_BOOKS = {"in", "published", "rejected", "pending"}


class ResultRefused(ValueError):
    """A command's last line that may not go into XCom."""


def parsed(line: str, leave_out: Sequence[str] = ()) -> Result:
    """The JSON object of a last line, less some keys; empty for an empty line.

    Raises ResultRefused for any other text, for an object that is too long for XCom, and for counts of a stage in which
    items are lost or doubled: in = published + rejected + pending.
    """
    if not line.strip():
        return {}
    try:
        found = json.loads(line)
    except ValueError as error:
        raise ResultRefused(f"the command's last line is no JSON object: {line[:80]!r}") from error
    if not isinstance(found, dict):
        raise ResultRefused(f"the command's last line is JSON, but no object: {line[:80]!r}")
    _refuse_unbalanced(found)
    kept = {key: value for key, value in found.items() if key not in leave_out}
    size_bytes = len(json.dumps(kept, ensure_ascii=False).encode())
    if size_bytes > MOST_BYTES:
        raise ResultRefused(
            f"the command's result has {size_bytes} bytes, and XCom takes {MOST_BYTES} of us: it is for ids and "
            "counts; what is longer belongs into the root or the store"
        )
    return kept


def _refuse_unbalanced(found: Result) -> None:
    """The stage checks this before it publishes; here it is checked of what the run says it did."""
    if not found.keys() >= _BOOKS:
        return
    try:
        out = found["published"] + sum(found["rejected"].values()) + sum(found["pending"].values())
    except (TypeError, AttributeError) as error:
        raise ResultRefused(f"the command's counts cannot be added up ({error})") from error
    if out != found["in"]:
        raise ResultRefused(
            f"{found['in']} items came in, and published, rejected and pending ones are {out}: items were lost or "
            "doubled; look at the task's log before anything builds on this run"
        )


def arguments(rendered: list[Any]) -> list[str]:
    """An argument list after its templates were filled in.

    A pair `[option, JSON list]` becomes the option once for each item; what rendered to nothing is left out.
    """
    found: list[str] = []
    for one in rendered:
        if isinstance(one, (list, tuple)):
            option, items = one
            values = items if isinstance(items, list) else json.loads(items or "null") or []
            found += [f"{option}={value}" for value in values]
        elif str(one):
            found.append(str(one))
    return found


def shown(argv: list[str]) -> str:
    """What tells a mapped task from its neighbours: the arguments after the command, without option names."""
    return " ".join(word.rpartition("=")[2] for word in argv[2:] if not word.startswith("--") or "=" in word)
