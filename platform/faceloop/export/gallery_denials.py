"""Who a gallery in use must not answer with any more: small files beside the galleries, read anew with each search.

A gallery never changes once it is published, and a consumer keeps it open. So a withdrawal writes
`galleries/.denied/NAME.json` before it is recorded: killed in between, the person is out of use all the same. Faces
stand in it as sha256 of their ids, so that no id outlasts an erasure there.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from facestore.errors import DataError
from facestore.ids import canonical_json
from facestore.publish import sync_path, write_whole

DENIED = ".denied"  # on the shelf of galleries
_SETTLED_S = 1.0  # a folder that changed so lately may change again within one tick of its clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """Faces that nobody may be told of; `since` None: at once, else UTC."""

    marks: frozenset[str]  # of faces, see `mark_of`
    since: datetime | None


def mark_of(face_id: str) -> str:
    """A face in a denial: 64 hex digits."""
    return hashlib.sha256(b"denied\0" + face_id.encode()).hexdigest()


def deny(shelf: Path, reason: str, face_ids: Iterable[str], since: datetime | None = None) -> None:
    """From `since` on no gallery of the shelf answers with a person who has one of these faces. On disk at return.

    `reason` names who asked, such as a consent: a later denial of the same takes its place. Raises StoreError.
    """
    faces = sorted({mark_of(face) for face in face_ids})
    begins = since.isoformat() if since is not None else ""
    write_whole(_file_of(shelf, reason), canonical_json({"faces": [*faces], "since": begins}) + "\n")
    sync_path(shelf)


def lift_denial(shelf: Path, reason: str) -> None:
    """Take back what was denied for a reason; without one, nothing happens."""
    path = _file_of(shelf, reason)
    if path.exists():
        path.unlink(missing_ok=True)
        sync_path(path.parent)


def forget_faces(shelf: Path, face_ids: Iterable[str]) -> int:
    """Leave erased faces out of every denial: no gallery of the shelf has them. Returns how many there were."""
    gone, forgotten = {mark_of(face) for face in face_ids}, 0
    for path in sorted((shelf / DENIED).glob("*.json")):
        found = _read(path)
        if not found.marks & gone:
            continue
        forgotten += len(found.marks & gone)
        if rest := sorted(found.marks - gone):
            since = found.since.isoformat() if found.since is not None else ""
            write_whole(path, canonical_json({"faces": [*rest], "since": since}) + "\n")
        else:
            path.unlink()
        sync_path(path.parent)
    return forgotten


def _file_of(shelf: Path, reason: str) -> Path:
    return shelf / DENIED / f"{hashlib.sha256(reason.encode()).hexdigest()[:32]}.json"


class Denials:
    """The denials of a folder as they are at each look; not shared between threads."""

    def __init__(self, folder: Path, identities_of: Callable[[frozenset[str]], frozenset[str]]) -> None:
        """`identities_of` says whom of a gallery the marks are faces of; asked when a denial came, not at each look."""
        self._folder, self._identities_of = folder, identities_of
        self._seen: int | None = None  # modification time of the folder, ns
        self._denied: list[tuple[datetime | None, frozenset[str]]] = []

    def identities(self, now: datetime) -> set[str]:
        """Whom no search may answer with at that moment. Raises DataError for a denial that cannot be read."""
        looked_s = time.time()
        try:
            changed_ns = self._folder.stat().st_mtime_ns
        except FileNotFoundError:
            changed_ns, self._denied = -1, []
        if changed_ns >= 0 and changed_ns != self._seen:
            found = [_read(path) for path in sorted(self._folder.glob("*.json"))]
            self._denied = [(one.since, self._identities_of(one.marks)) for one in found if one.marks]
        is_settled = looked_s - changed_ns / 1e9 > _SETTLED_S
        self._seen = changed_ns if is_settled else None
        return {who for since, some in self._denied if since is None or since <= now for who in some}


def _read(path: Path) -> Denial:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        since = datetime.fromisoformat(body["since"]) if body["since"] else None
        return Denial(marks=frozenset(map(str, body["faces"])), since=since)
    except FileNotFoundError:
        return Denial(marks=frozenset(), since=None)  # lifted meanwhile
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is no denial ({error!r}); until it is read no search answers: fetch it again, or withdraw again"
        ) from error
