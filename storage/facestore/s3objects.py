"""Whole objects of a bucket, up and down. What arrives is never believed before its sha256, or the ETag, agrees.

S3's own checksums are not enough: boto3 looks at them only where one request brings the whole object.
"""

import hashlib
import os
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from facestore.errors import ConfigError, ObjectCorrupt, ObjectMissing, StoreError
from facestore.ids import READ_BYTES, file_sha256
from facestore.patience import Deadline
from facestore.s3 import S3Bucket, S3Refused

SINGLE_PUT_BYTES = 256 << 20  # S3 takes at most 5 GiB in one request; one that fails begins anew
PART_BYTES = 64 << 20  # 10,000 parts: up to 625 GiB a file
RANGE_BYTES = 64 << 20
_SHA256 = "sha256"  # our name for it in an object's metadata
_LOST = {"NoSuchUpload", "404"}
_TAKEN = {"PreconditionFailed"}


def put_once(bucket: S3Bucket, key: str, path: Path, *, over: bool = False) -> bool:
    """Upload unless the key exists; whether it was this call that stored it. `over` replaces what is there.

    The server compares each request with our sha256, and its answer is compared again. Raises StoreError, also where
    other bytes are under the key already; ConfigError where the bucket does not encrypt as asked.
    """
    size, sha256 = path.stat().st_size, file_sha256(path)
    deadline = bucket.patience.deadline(size)
    if not over and (found := bucket.head(key, deadline)) is not None:
        _refuse_other(bucket, key, found, size, sha256)
        return False  # saves the upload; the condition of the request is what decides a race
    condition = {} if over else {"IfNoneMatch": "*"}
    try:
        if size <= SINGLE_PUT_BYTES:
            _put_whole(bucket, key, path, sha256, condition, deadline)
        else:
            _put_parts(bucket, key, path, sha256, condition, deadline)
        has_won = True
    except S3Refused as error:
        if error.code not in _TAKEN:
            raise
        has_won = False  # by another, or by a request of ours whose answer was lost
    found = bucket.head(key, deadline)
    if found is None:
        raise StoreError(f"{bucket.where(key)} was stored and is not there; look at the bucket's rules, then run again")
    if has_won:
        _refuse_unencrypted(bucket, key, found)
    _refuse_other(bucket, key, found, size, sha256)
    return has_won


def _refuse_other(bucket: S3Bucket, key: str, found: dict[str, Any], size: int, sha256: str) -> None:
    """Objects of our earlier versions carry no sha256 in their metadata; their size is compared."""
    if found["ContentLength"] != size or found.get("Metadata", {}).get(_SHA256, sha256) != sha256:
        raise ObjectCorrupt(
            f"{bucket.where(key)} holds other bytes ({found['ContentLength']} of them, ours are {size}); "
            "`faceloop repair` puts a good copy in its place"
        )


def _put_whole(
    bucket: S3Bucket, key: str, path: Path, sha256: str, condition: dict[str, str], deadline: Deadline
) -> None:
    answer = bucket.call(
        "put_object",
        f"put {bucket.where(key)}",
        deadline,
        {
            "Key": key,
            "Body": path,
            "ChecksumSHA256": _base64(sha256),
            "Metadata": {_SHA256: sha256},
            **bucket.encryption_request(),
            **condition,
        },
    )
    _compare_checksum(bucket, key, answer, sha256)


def _put_parts(
    bucket: S3Bucket, key: str, path: Path, sha256: str, condition: dict[str, str], deadline: Deadline
) -> None:
    """A large file in parts: the object appears, on the same condition, when the last one is in.

    However it ends, no upload of ours is left, and none of another writer of the key is taken back.
    """
    ours = _Uploads(before={upload.upload_id for upload in bucket.started_uploads(key, deadline)})
    try:
        for attempt in range(1, bucket.patience.attempts + 1):
            try:
                _put_parts_once(bucket, key, path, sha256, condition, deadline, ours)
                return
            except S3Refused as error:
                if error.code not in _LOST:
                    raise
                found = bucket.head(key, deadline)  # it may be whole, and only the answer to that was lost
                if found is not None:
                    return
                if attempt == bucket.patience.attempts:
                    raise
    finally:
        with suppress(StoreError):  # what failed before is what the caller should hear; a sweep finds what is left
            _take_back(bucket, key, ours, bucket.patience.deadline())


@dataclass(slots=True, kw_only=True)
class _Uploads:
    """What one writer knows of the uploads of a key, by their ids."""

    before: set[str]  # open when it came: of others
    own: set[str] = field(default_factory=set)
    is_whole: bool = False  # the server took the last one together
    doubted: list[Exception] = field(default_factory=list)  # begins whose answer never came: their ids are not known


def _take_back(bucket: S3Bucket, key: str, ours: _Uploads, grace: Deadline) -> None:
    """Uploads of ours, by their ids. One whose id we were never told has no part, since nobody can send it any; of
    another writer who just now begins too, so has his, for that moment: he is told NoSuchUpload and begins anew."""
    if not ours.is_whole or len(ours.own) > 1:
        for upload_id in ours.own:
            bucket.abort(key, upload_id, grace)
    for upload in bucket.started_uploads(key, grace) if ours.doubted else ():
        if upload.key == key and upload.upload_id not in ours.before and not bucket.has_parts(upload, grace):
            bucket.abort(key, upload.upload_id, grace)


def _put_parts_once(
    bucket: S3Bucket,
    key: str,
    path: Path,
    sha256: str,
    condition: dict[str, str],
    deadline: Deadline,
    ours: _Uploads,
) -> None:
    doing = f"put {bucket.where(key)}"
    wanted = {"ChecksumAlgorithm": "SHA256", "Metadata": {_SHA256: sha256}, **bucket.encryption_request()}
    begin = {"Key": key, **wanted}
    begun = bucket.call("create_multipart_upload", doing, deadline, begin, doubted=ours.doubted)
    ours.own.add(begun["UploadId"])
    place = {"Key": key, "UploadId": begun["UploadId"]}
    parts: list[dict[str, str | int]] = []
    with path.open("rb") as body:
        while part := body.read(PART_BYTES):
            checksum = b64encode(hashlib.sha256(part).digest()).decode()
            number = len(parts) + 1
            sent = {"PartNumber": number, "Body": part, "ChecksumSHA256": checksum}
            answer = bucket.call("upload_part", doing, deadline, {**place, **sent})
            _compare_checksum(bucket, key, answer, hashlib.sha256(part).hexdigest())
            parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum})
    whole = {**place, "MultipartUpload": {"Parts": parts}, **condition}
    bucket.call("complete_multipart_upload", doing, deadline, whole)
    ours.is_whole = True


def fetch(bucket: S3Bucket, key: str, path: Path, sha256: str | None = None) -> None:
    """Download to `path`, in ranges of one version of the object, and compare its sha256 with what it must be.

    What differs is fetched once more: a byte that changed on the way comes right, one that changed in the store does
    not. Where no sha256 is known the bytes must agree with the ETag, or where that is no digest with a second download.
    Raises ObjectMissing, ObjectCorrupt, StoreError; `path` is gone then.
    """
    deadline = bucket.patience.deadline()
    found = bucket.head(key, deadline)
    if found is None:
        raise ObjectMissing(f"cannot fetch {bucket.where(key)}: it is missing; `faceloop repair` may know a copy")
    size, etag = int(found["ContentLength"]), str(found["ETag"])
    deadline.allow(2 * size / bucket.patience.slowest_bytes_per_s)
    try:
        seen: list[str] = []
        for _ in range(bucket.patience.attempts):
            _fetch_once(bucket, key, path, size, etag, deadline)
            digest = file_sha256(path)
            if digest == sha256 or (sha256 is None and (_agrees(bucket, key, path, size, etag) or digest in seen)):
                return
            if sha256 is not None and digest in seen:
                break  # twice the same, and wrong: that is how it lies there
            seen.append(digest)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    path.unlink(missing_ok=True)
    raise ObjectCorrupt(
        f"{bucket.where(key)} has other bytes than it should (sha256 {seen[-1]}); `faceloop repair` puts a good copy "
        "in its place"
    )


def fetch_range(bucket: S3Bucket, key: str, start: int, length: int) -> bytes:
    """Bytes `start` to `start + length` as they came; the caller knows their sha256 and compares."""
    deadline = bucket.patience.deadline(length)
    wanted = {"Key": key, "Range": f"bytes={start}-{start + length - 1}"}

    def read(answer: Any) -> bytes:
        payload: bytes = answer["Body"].read()
        if len(payload) != length:
            raise ConnectionError(f"{len(payload)} bytes came instead of {length}")
        return payload

    try:
        found: bytes = bucket.call("get_object", f"read {bucket.where(key)}", deadline, wanted, read)
    except S3Refused as error:
        if error.is_missing:
            raise ObjectMissing(f"cannot read {bucket.where(key)}: it is missing") from error
        raise
    return found


def _fetch_once(bucket: S3Bucket, key: str, path: Path, size: int, etag: str, deadline: Deadline) -> None:
    with path.open("wb") as file:
        for start in range(0, size, RANGE_BYTES):
            length = min(RANGE_BYTES, size - start)
            wanted = {"Key": key, "IfMatch": etag, "Range": f"bytes={start}-{start + length - 1}"}
            read = _reader(file, start, length)
            bucket.call("get_object", f"fetch {bucket.where(key)}", deadline, wanted, read)


def _reader(file: BinaryIO, start: int, length: int) -> Callable[[Any], None]:
    # A thread that was given up may still wake and write: it has a handle of its own, of no other file.
    def read(answer: Any) -> None:
        received, own = 0, os.dup(file.fileno())
        try:
            while received < length and (block := answer["Body"].read(min(READ_BYTES, length - received))):
                _write_at(own, block, start + received)
                received += len(block)
        finally:
            os.close(own)
        if received != length:
            raise ConnectionError(f"{received} bytes came instead of {length}")

    return read


def _write_at(handle: int, block: bytes, place: int) -> None:
    while block:
        written = os.pwrite(handle, block, place)
        block, place = block[written:], place + written


def _agrees(bucket: S3Bucket, key: str, path: Path, size: int, etag: str) -> bool:
    """Whether the ETag is the MD5 of these bytes, or of the MD5 of their parts (as S3 makes it of an upload)."""
    digest, _, parts = etag.strip('"').partition("-")
    if not parts:
        return _md5(path, size or 1)[0].hex() == digest
    doing, deadline = f"look at {bucket.where(key)}", bucket.patience.deadline()
    first = bucket.call("head_object", doing, deadline, {"Key": key, "PartNumber": 1})
    sums = _md5(path, int(first["ContentLength"]) or 1)
    joined = hashlib.md5(b"".join(sums), usedforsecurity=False).hexdigest()
    return str(len(sums)) == parts and joined == digest


def _md5(path: Path, part_bytes: int) -> list[bytes]:
    sums: list[bytes] = []
    with path.open("rb") as stream:
        while True:
            digest, left = hashlib.md5(usedforsecurity=False), part_bytes
            while left and (block := stream.read(min(READ_BYTES, left))):
                digest.update(block)
                left -= len(block)
            if left == part_bytes and sums:
                return sums
            sums.append(digest.digest())


def _compare_checksum(bucket: S3Bucket, key: str, answer: dict[str, Any], sha256: str) -> None:
    """Servers without checksums say none: what they keep is compared at every read."""
    said = answer.get("ChecksumSHA256", "")
    if said and said != _base64(sha256):
        raise StoreError(f"{bucket.where(key)}: the server took other bytes than were sent; run again")


def _refuse_unencrypted(bucket: S3Bucket, key: str, found: dict[str, Any]) -> None:
    asked = bucket.encryption
    if asked is None or found.get("ServerSideEncryption") == asked.algorithm:
        return
    bucket.remove_every_version([key])
    raise ConfigError(
        f"s3://{bucket.name} did not encrypt {key} with {asked.algorithm}, so it was not kept; enable that at the "
        "bucket, or leave ?encryption= out of the store's URL"
    )


def _base64(sha256: str) -> str:
    return b64encode(bytes.fromhex(sha256)).decode()
