"""Signed heads of the audit log, kept where its owner cannot change them: a folder elsewhere, a bucket that locks.

An anchor is put once under `audit/ENTRIES/SHA256`. Let the bucket lock its objects by default (Object Lock in
compliance mode, an account of its own): then not even an administrator of the catalogue can take one back.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from facestore.auditchain import AuditHead, head_from, head_text
from facestore.errors import ObjectCorrupt
from facestore.ids import sha256_hex
from facestore.objectkeys import is_key, sha256_of_key
from facestore.objects import BucketStore, open_store

_FOLDER = "audit"


def put_anchor(url: str, head: AuditHead) -> str:
    """Keep a head at `url` (a folder, file:// or s3://), once; returns its key. Raises StoreError."""
    text = head_text(head).encode()
    key = f"{_FOLDER}/{head.entries:012d}/{sha256_hex(text)}"
    with TemporaryDirectory(prefix="faceloop-anchor-") as folder:
        path = Path(folder) / "head.json"
        path.write_bytes(text)
        open_store(url, may_link=False).put(key, path)
    return key


def read_anchors(url: str) -> Iterator[AuditHead]:
    """The heads that are kept at `url`, fewest entries first. Raises StoreError, ObjectCorrupt, AuditBroken.

    In a bucket with versions a head counts that somebody deleted over: the lock keeps its version, not its name.
    """
    store = open_store(url, may_link=False)
    if isinstance(store, BucketStore):
        yield from _versions(store)
        return
    for stored in store.listed(0.0):
        if stored.key.startswith(f"{_FOLDER}/"):
            with store.local(stored.key) as path:
                yield head_from(path.read_text(encoding="utf-8", errors="replace"))


def _versions(store: BucketStore) -> Iterator[AuditHead]:
    from facestore.s3versions import read_version, versions_below

    seen: set[str] = set()
    for version in versions_below(store.bucket, f"{store.prefix}{_FOLDER}/"):
        key = version.key.removeprefix(store.prefix)
        if version.is_mark or key in seen or not is_key(key):
            continue
        text = b"".join(read_version(store.bucket, version))
        if sha256_hex(text) != sha256_of_key(key):
            raise ObjectCorrupt(f"anchor {key} has other bytes than its key says: somebody wrote over it")
        seen.add(key)
        yield head_from(text.decode(errors="replace"))
