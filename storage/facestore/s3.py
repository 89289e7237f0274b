"""The one home of boto3: an S3-compatible bucket, with bounded retries and time-outs.

Endpoint and credentials come from the standard AWS environment and profiles (`AWS_ENDPOINT_URL` for other vendors).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from facestore.errors import StoreError

_LIMITS = Config(retries={"mode": "standard", "max_attempts": 5}, connect_timeout=5, read_timeout=60)
_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict"}
_MISSING = {"404", "NoSuchKey", "NotFound"}
_FAILED = (BotoCoreError, ClientError, Boto3Error, OSError)
SINGLE_PUT_BYTES = 1 << 30  # S3 takes at most 5 GiB in one request
_REMOVED_AT_ONCE = 1_000  # S3's own limit
PART_BYTES = 64 << 20  # 10,000 parts: up to 625 GiB a file


@dataclass(frozen=True, slots=True)
class S3Bucket:
    """One bucket. Every failure is a StoreError that names bucket and key."""

    name: str
    client: Any

    @classmethod
    def from_url(cls, url: str) -> tuple[Self, str]:
        """Bucket and prefix (empty, or ending in `/`) of `s3://bucket/prefix`."""
        name, _, prefix = url.removeprefix("s3://").partition("/")
        if not name:
            raise StoreError(f"{url!r} names no bucket; write s3://BUCKET/PREFIX")
        prefix = prefix.strip("/")
        try:
            client = boto3.client("s3", config=_LIMITS)
        except (BotoCoreError, ValueError) as error:
            raise StoreError(f"cannot open {url}: {error}; check the AWS environment or profile") from error
        return cls(name, client), prefix + "/" if prefix else ""

    def list(self, prefix: str) -> Iterator[tuple[str, int, str]]:
        """Keys below `prefix` with size in bytes and ETag, sorted by key."""
        try:
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
                for entry in page.get("Contents", []):
                    yield entry["Key"], entry["Size"], entry["ETag"].strip('"')
        except (BotoCoreError, ClientError) as error:
            raise StoreError(f"cannot list s3://{self.name}/{prefix}: {error}") from error

    def has(self, key: str) -> bool:
        try:
            self.client.head_object(Bucket=self.name, Key=key)
        except _FAILED as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] in _MISSING:
                return False
            raise StoreError(f"cannot look at s3://{self.name}/{key}: {error}") from error
        return True

    def put_once(self, key: str, path: Path) -> None:
        """Upload unless the key exists (conditional write); the loser of a race does nothing."""
        if self.has(key):
            return  # saves the upload; the condition below is what decides a race
        try:
            with path.open("rb") as body:
                if path.stat().st_size <= SINGLE_PUT_BYTES:
                    self.client.put_object(Bucket=self.name, Key=key, Body=body, IfNoneMatch="*")
                else:
                    self._put_parts(key, body)
        except _FAILED as error:
            if not (isinstance(error, ClientError) and error.response["Error"]["Code"] in _TAKEN):
                raise StoreError(f"cannot put s3://{self.name}/{key}: {error}") from error

    def put_bytes(self, key: str, payload: bytes, *, content_type: str) -> None:
        """Write a small object of our own, over what was there."""
        try:
            self.client.put_object(Bucket=self.name, Key=key, Body=payload, ContentType=content_type)
        except _FAILED as error:
            raise StoreError(f"cannot put s3://{self.name}/{key}: {error}") from error

    def remove(self, keys: Sequence[str]) -> None:
        """Those that are not there count as removed."""
        for start in range(0, len(keys), _REMOVED_AT_ONCE):
            some = [{"Key": key} for key in keys[start : start + _REMOVED_AT_ONCE]]
            try:
                answer = self.client.delete_objects(Bucket=self.name, Delete={"Objects": some, "Quiet": True})
            except _FAILED as error:
                raise StoreError(f"cannot remove {len(some)} objects of s3://{self.name}: {error}") from error
            if kept := answer.get("Errors", []):
                raise StoreError(f"cannot remove s3://{self.name}/{kept[0]['Key']}: {kept[0].get('Message', '')}")

    def _put_parts(self, key: str, body: BinaryIO) -> None:
        """A large file in parts: the object appears, on the same condition, when the last one is in."""
        place = {"Bucket": self.name, "Key": key}
        upload = {**place, "UploadId": self.client.create_multipart_upload(**place)["UploadId"]}
        try:
            parts: list[dict[str, str | int]] = []
            while part := body.read(PART_BYTES):
                answer = self.client.upload_part(**upload, PartNumber=len(parts) + 1, Body=part)
                parts.append({"PartNumber": len(parts) + 1, "ETag": answer["ETag"]})
            self.client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
        except BaseException:
            self.client.abort_multipart_upload(**upload)
            raise

    def fetch(self, key: str, path: Path) -> None:
        """Download to `path`, in blocks."""
        try:
            self.client.download_file(self.name, key, str(path))
        except _FAILED as error:
            raise StoreError(f"cannot fetch s3://{self.name}/{key}: {error}") from error
