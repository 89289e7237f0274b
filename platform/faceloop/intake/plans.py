"""Plans: files of the root that say which locations each share of an intake holds. Only their ids go to a scheduler.

`plans/ID.jsonl` holds a heading and one line a share. The id is the digest of the content, so the same footage found
again is the same plan, and a plan never changes.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facestore.errors import StageError
from facestore.ids import JsonValue, canonical_json, sha256_hex
from facestore.publish import sync_path
from facestore.sources import Location

FOLDER = "plans"
KEPT_S = 7 * 86_400.0
_ID_HEX = 16
_SHARE = re.compile(rf"([0-9a-f]{{{_ID_HEX}}})/(\d{{3}})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one task takes. `number` counts from 0."""

    plan_id: str
    number: int
    locations: tuple[Location, ...]

    @property
    def name(self) -> str:
        return share_name(self.plan_id, self.number)


def share_name(plan_id: str, number: int) -> str:
    return f"{plan_id}/{number:03d}"


def write_plan(root: Path, source: str, shares: Sequence[Sequence[Location]]) -> str:
    """Write the plan of a source, whole or not at all; returns its id."""
    lines: list[JsonValue] = [{"source": sha256_hex(source.encode()), "shares": len(shares)}]
    lines += [[[at.path, at.size_bytes, at.version] for at in share] for share in shares]
    text = "".join(canonical_json(line) + "\n" for line in lines)
    plan_id = sha256_hex(text.encode())[:_ID_HEX]
    path = _path(root, plan_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = path.with_name(f".{plan_id}.{os.getpid()}.partial")
    waiting.write_text(text, encoding="utf-8")
    sync_path(waiting)
    waiting.rename(path)
    sync_path(path.parent)
    return plan_id


def read_share(root: Path, source: str, name: str) -> Share:
    """The share that is called `PLAN/000`. Raises StageError when there is none, or the plan is of another source."""
    matched = _SHARE.fullmatch(name)
    path = _path(root, matched[1]) if matched else None
    if matched is None or path is None or not path.is_file():
        raise StageError(f"there is no share {name!r}; `faceloop loop plan-footage` names shares as PLAN/000")
    number = int(matched[2])
    with path.open(encoding="utf-8") as lines:
        heading = json.loads(next(lines))
        if heading["source"] != sha256_hex(source.encode()):
            raise StageError(f"plan {matched[1]} is of another source than paths.source; plan again")
        if number >= heading["shares"]:
            raise StageError(f"there is no share {name!r}; plan {matched[1]} has {heading['shares']}")
        for _ in range(number):
            next(lines)
        rows = json.loads(next(lines))
    locations = tuple(Location(path=path, size_bytes=size, version=version) for path, size, version in rows)
    return Share(plan_id=matched[1], number=number, locations=locations)


def sweep_plans(root: Path, *, now_s: float) -> int:
    """Remove plans that were written more than `KEPT_S` ago; returns how many."""
    old = [path for path in (root / FOLDER).glob("*") if now_s - path.stat().st_mtime > KEPT_S]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def _path(root: Path, plan_id: str) -> Path:
    return root / FOLDER / f"{plan_id}.jsonl"
