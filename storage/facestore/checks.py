"""Is what was published still what was published? Each file and object read whole and compared with its sha256.

Many at once, and resumable: a journal holds what was found good, so that a long check that was cut short goes on.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Literal

from facestore.errors import DataError, ObjectCorrupt, ObjectMissing, ShardCorrupt
from facestore.ids import digest_of, file_sha256
from facestore.lmdbfile import LmdbReader
from facestore.objectkeys import sha256_of_key
from facestore.objects import ObjectStore
from facestore.publish import MANIFEST, read_manifest
from facestore.seal import unseal

Reason = Literal["missing", "size_differs", "hash_differs", "record_differs", "manifest_differs", "unreadable"]
_MISSING: Final = "missing"
_SIZE: Final = "size_differs"
_HASH: Final = "hash_differs"
_RECORD: Final = "record_differs"
_MANIFEST: Final = "manifest_differs"
_UNREADABLE: Final = "unreadable"
JOURNAL_LASTS_S = 86_400.0  # what was good a day ago is looked at again
_LMDB = ".lmdb"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCheck:
    """A file of a published folder, and what its manifest says of it. A manifest's own check has no sha256."""

    folder: Path
    place: str  # of the folder below the root
    name: str
    size_bytes: int
    sha256: str
    stage: str  # that makes it


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectCheck:
    """An object of the store. `size_bytes`: as the catalogue of footage says, 0 where it says nothing."""

    store: ObjectStore
    key: str
    size_bytes: int


Check = FileCheck | ObjectCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What one check came to when it was not good. `detail` holds hashes and sizes, no names of people."""

    check: Check
    reason: Reason
    detail: str

    @property
    def line(self) -> str:
        return f"{self.reason} {name_of(self.check)}: {self.detail}"


def name_of(check: Check) -> str:
    match check:
        case FileCheck():
            return f"{check.place}/{check.name}"
        case ObjectCheck():
            return f"objects/{check.key}"


def file_checks(folder: Path, place: str, batch: str | None = None) -> list[FileCheck]:
    """Every file that the manifest of a published folder lists, of one batch where one is named.

    A manifest that does not hold is one check, which will fail.
    """
    try:
        manifest = read_manifest(folder)
    except DataError:
        return [FileCheck(folder=folder, place=place, name=MANIFEST, size_bytes=0, sha256="", stage="")]
    if manifest is None:
        return []
    return [
        FileCheck(folder=folder, place=place, name=name, size_bytes=size, sha256=sha256, stage=manifest.stage)
        for name, (size, sha256) in sorted(manifest.files.items())
        if batch is None or name.startswith(f"{batch}/")
    ]


def look(check: Check) -> Damage | None:
    """Read it whole. Raises StoreError when a bucket cannot be asked: that says nothing of its objects."""
    match check:
        case FileCheck():
            return _look_at_file(check)
        case ObjectCheck():
            return _look_at_object(check)


def _look_at_file(check: FileCheck) -> Damage | None:
    path = check.folder / check.name
    try:
        if not path.is_file():
            return Damage(check=check, reason=_MISSING, detail="the manifest lists it and it is not there")
        if check.name == MANIFEST:
            read_manifest(check.folder)
            return None
        if (size := path.stat().st_size) != check.size_bytes:
            return Damage(check=check, reason=_SIZE, detail=f"{size} bytes, the manifest says {check.size_bytes}")
        if (found := file_sha256(path)) != check.sha256:
            detail = f"sha256 {found}, the manifest says {check.sha256}"
            return Damage(check=check, reason=_HASH, detail=detail)
        if path.suffix == _LMDB:
            return _look_at_records(check, path)
    except DataError:
        return Damage(check=check, reason=_MANIFEST, detail="it does not read, or is not as it was written")
    except OSError as error:
        return Damage(check=check, reason=_UNREADABLE, detail=error.strerror or "the disk fails")
    return None


def _look_at_records(check: FileCheck, path: Path) -> Damage | None:
    """The file is as it was written; were its records written well?"""
    reader = LmdbReader(path)
    try:
        for number, (_, record) in enumerate(reader.items()):
            unseal(record, str(number))
    except ShardCorrupt as error:
        return Damage(check=check, reason=_RECORD, detail=str(error).removeprefix(f"{path}: "))
    finally:
        reader.close()
    return None


def _look_at_object(check: ObjectCheck) -> Damage | None:
    try:
        check.store.check(check.key)
    except ObjectMissing:
        return Damage(check=check, reason=_MISSING, detail="footage needs it and it is not there")
    except ObjectCorrupt:
        return Damage(check=check, reason=_HASH, detail="its bytes are not those that its key promises")
    return None


@dataclass(slots=True)
class Journal:
    """Which checks passed, one digest a line. A line that a crash cut short counts for nothing."""

    passed: set[str]
    _file: IO[str]

    def note(self, check: Check) -> None:
        self._file.write(identity_of(check) + "\n")
        self._file.flush()


def identity_of(check: Check) -> str:
    """Names a check by what is compared with what: published anew, it is another."""
    match check:
        case FileCheck():
            return digest_of([check.place, check.name, check.size_bytes, check.sha256])
        case ObjectCheck():
            return digest_of(["object", sha256_of_key(check.key), check.key])


@contextmanager
def journal_of(path: Path, *, now_s: float, is_anew: bool) -> Iterator[Journal]:
    """The journal of a check that was cut short less than a day ago, unless `is_anew`; gone after one that ended."""
    if is_anew or not path.is_file() or now_s - path.stat().st_mtime > JOURNAL_LASTS_S:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    known = path.read_text(encoding="ascii", errors="replace").split("\n") if path.is_file() else []
    with path.open("a", encoding="ascii") as file:
        file.write("\n" if known and known[-1] else "")
        yield Journal({line for line in known if len(line) == 64}, file)
    path.unlink(missing_ok=True)  # another check that ran beside this one may have ended first


def run_checks(
    checks: Sequence[Check], journal: Journal, *, jobs: int, track: Callable[[Sequence[Check]], Iterator[Check]]
) -> list[Damage]:
    """Look at all that the journal does not know to be good; damages in the order of the checks."""
    todo = [check for check in checks if identity_of(check) not in journal.passed]
    damages = []
    pool = ThreadPoolExecutor(max_workers=jobs)
    try:
        for check, damage in zip(track(todo), pool.map(look, todo), strict=True):
            if damage is None:
                journal.note(check)
            else:
                damages.append(damage)
    finally:
        pool.shutdown(cancel_futures=True)  # else an interruption would wait for all the others
    return damages
