"""Every version of a bucket's objects: what a deletion leaves, found, read and removed.

In a bucket that keeps versions, removing an object adds a mark and keeps its bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from facestore.errors import StoreError
from facestore.s3 import S3Bucket, S3Refused

_AT_ONCE = 1_000  # S3's own limit
_READ_BYTES = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """One version of an object, or the mark of a deletion, which has no bytes."""

    key: str
    version_id: str
    size_bytes: int
    is_mark: bool


def versions_below(bucket: S3Bucket, prefix: str) -> Iterator[StoredVersion]:
    """Every version and every mark of a deletion. Raises StoreError."""
    more: dict[str, str] = {}
    while True:
        doing, deadline = f"list versions of {bucket.where(prefix)}", bucket.patience.deadline()
        page = bucket.call("list_object_versions", doing, deadline, {"Prefix": prefix, **more})
        for field, is_mark in (("Versions", False), ("DeleteMarkers", True)):
            for entry in page.get(field, []):
                yield StoredVersion(
                    key=entry["Key"],
                    version_id=entry["VersionId"],
                    size_bytes=int(entry.get("Size", 0)),
                    is_mark=is_mark,
                )
        if not page.get("IsTruncated"):
            return
        more = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page.get("NextVersionIdMarker", "")}


def remove_below(bucket: S3Bucket, prefix: str) -> int:
    """Remove all versions and marks below a prefix; returns how many. Raises StoreError."""
    removed = 0
    before: list[tuple[str, str]] = []
    while some := list(islice(versions_below(bucket, prefix), _AT_ONCE)):
        objects = [{"Key": one.key, "VersionId": one.version_id} for one in some]
        if (names := [(one.key, one.version_id) for one in some]) == before:
            raise StoreError(f"{bucket.where(prefix)} was removed and is still there; look at the bucket's locks")
        before = names
        doing, deadline = f"remove {len(objects)} versions of s3://{bucket.name}", bucket.patience.deadline()
        answer = bucket.call("delete_objects", doing, deadline, {"Delete": {"Objects": objects, "Quiet": True}})
        if kept := answer.get("Errors", []):
            raise StoreError(f"cannot remove {bucket.where(prefix)}: {kept[0].get('Message', '')}")
        removed += len(objects)
    return removed


def read_version(bucket: S3Bucket, version: StoredVersion) -> Iterator[bytes]:
    """Its bytes, in parts; one that vanished meanwhile has none. Raises StoreError."""
    named = {"Key": version.key, "VersionId": version.version_id}
    for start in range(0, version.size_bytes, _READ_BYTES):
        part = _read_part(bucket, named, start, min(_READ_BYTES, version.size_bytes - start))
        if part is None:
            return
        yield part


def _read_part(bucket: S3Bucket, named: dict[str, str], start: int, length: int) -> bytes | None:
    def read(answer: Any) -> bytes:
        payload: bytes = answer["Body"].read()
        if len(payload) != length:
            raise ConnectionError(f"{len(payload)} bytes came instead of {length}")
        return payload

    doing, deadline = f"read a version of {bucket.where(named['Key'])}", bucket.patience.deadline(length)
    wanted = {**named, "Range": f"bytes={start}-{start + length - 1}"}
    try:
        found: bytes = bucket.call("get_object", doing, deadline, wanted, read)
    except S3Refused as error:
        if error.is_missing or error.code == "NoSuchVersion":
            return None
        raise
    return found
