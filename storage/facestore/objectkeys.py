"""Keys of objects: made by us, and each ends in the sha256 of the object's bytes, so that every reader knows it."""

import re
from dataclasses import dataclass
from pathlib import Path

from facestore.errors import ObjectCorrupt, StoreError
from facestore.ids import file_sha256

_KEY = re.compile(r"(?:[a-z0-9_-]{1,64}/){1,8}(?P<sha256>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One object as a listing shows it. `age_s`: since it came there, by the clock that the lister was given."""

    key: str
    size_bytes: int
    age_s: float


def sha256_of_key(key: str) -> str:
    """The sha256 that a key promises. Raises StoreError for what is no key: it could leave the store's folder."""
    found = _KEY.fullmatch(key)
    if found is None:
        raise StoreError(f"{key!r} is no key of an object: write FOLDER/…/SHA256 in lower case")
    return found["sha256"]


def is_key(key: str) -> bool:
    return _KEY.fullmatch(key) is not None


def check_file(path: Path, key: str, where: str) -> None:
    """Compare a file with what its key promises; raises ObjectCorrupt, or OSError when it cannot be read."""
    found = file_sha256(path)
    if found != sha256_of_key(key):
        raise ObjectCorrupt(
            f"object {key} of {where} has other bytes than its key says (sha256 {found}); `faceloop repair` puts a "
            "good copy in its place"
        )
