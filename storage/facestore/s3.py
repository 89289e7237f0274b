"""The one home of boto3: an S3-compatible bucket, with bounded retries and time-outs.

Endpoint and credentials come from the standard AWS environment and profiles (`AWS_ENDPOINT_URL` for other vendors).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from facestore.errors import StoreError

_LIMITS = Config(retries={"mode": "standard", "max_attempts": 5}, connect_timeout=5, read_timeout=60)
_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict"}
_MISSING = {"404", "NoSuchKey", "NotFound"}


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
        return cls(name, boto3.client("s3", config=_LIMITS)), prefix + "/" if prefix else ""

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
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return False
            raise StoreError(f"cannot look at s3://{self.name}/{key}: {error}") from error
        return True

    def put_once(self, key: str, path: Path) -> None:
        """Upload unless the key exists (conditional write); the loser of a race does nothing."""
        try:
            with path.open("rb") as body:
                self.client.put_object(Bucket=self.name, Key=key, Body=body, IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] not in _TAKEN:
                raise StoreError(f"cannot put s3://{self.name}/{key}: {error}") from error
        except BotoCoreError as error:
            raise StoreError(f"cannot put s3://{self.name}/{key}: {error}") from error

    def fetch(self, key: str, path: Path) -> None:
        """Download to `path`, in blocks."""
        try:
            self.client.download_file(self.name, key, str(path))
        except (BotoCoreError, ClientError) as error:
            raise StoreError(f"cannot fetch s3://{self.name}/{key}: {error}") from error
