"""The one home of boto3: requests to an S3-compatible bucket, repeated within limits, each under a deadline.

Endpoint and credentials come from the standard AWS environment and profiles (`AWS_ENDPOINT_URL` for other vendors);
certificates are always verified (`AWS_CA_BUNDLE` names those of an authority of your own). What moves whole objects is
in `s3objects.py`.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError, SSLError
from botocore.exceptions import ConnectionError as NoConnection

from facestore.errors import ConfigError, StoreAway, StoreError
from facestore.patience import PATIENCE, Deadline, Patience
from facestore.s3encryption import Encryption as Encryption
from facestore.s3encryption import encryption_of

_FAILED = (BotoCoreError, ClientError, Boto3Error, OSError)
_AWAY = (NoConnection, HTTPClientError, ConnectionError, TimeoutError)  # no server, or no answer in time
_MISSING = {"404", "NoSuchKey", "NotFound"}
_PASSES = {"ConditionalRequestConflict", "OperationAborted", "RequestTimeout", "SlowDown", "Throttling"}
_SLOW = {"complete_multipart_upload", "delete_objects"}  # the server may work on them for long
_REMOVED_AT_ONCE = 1_000  # S3's own limit
LONGEST_LINK_S = 900
_QUERY = re.compile(r"\?[^\s\"'<>]*")  # of a URL: that of a presigned link is a key to the object


class S3Refused(StoreError):
    """The server's answer was an error; `code` is S3's word for it."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def is_missing(self) -> bool:
        return self.code in _MISSING


class S3Away(S3Refused, StoreAway):
    """The server's answer was an error of its own, or that it has too much to do, each time that it was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedUpload:
    """A multipart upload that was neither completed nor aborted."""

    key: str
    upload_id: str
    started_at: datetime  # UTC, by the server's clock


@dataclass(frozen=True, slots=True)
class S3Bucket:
    """One bucket. Every failure is a StoreError that names bucket and key, and never a query string."""

    name: str
    client: Any
    encryption: Encryption | None = None
    patience: Patience = PATIENCE
    jitter: random.Random = field(default_factory=random.SystemRandom)  # of pauses only: no result depends on it

    @classmethod
    def from_url(cls, url: str, patience: Patience = PATIENCE) -> tuple[Self, str]:
        """Bucket and prefix (empty, or ending in `/`) of `s3://bucket/prefix`, `…?encryption=AES256` or
        `…?encryption=aws:kms&key=KEY_ID`. Raises StoreError, ConfigError for settings that do not hold."""
        address, _, settings = url.removeprefix("s3://").partition("?")
        name, _, prefix = address.partition("/")
        if not name:
            raise StoreError(f"{url!r} names no bucket; write s3://BUCKET/PREFIX")
        encryption = encryption_of(settings)
        prefix = prefix.strip("/")
        limits = Config(
            retries={"mode": "standard", "total_max_attempts": 1},  # ours are counted in `call`
            connect_timeout=patience.connect_s,
            read_timeout=patience.read_s,
        )
        try:
            client = boto3.Session().client("s3", config=limits)  # the default session keeps who came first
        except (BotoCoreError, ValueError) as error:
            raise StoreError(f"cannot open s3://{address}: {error}; check the AWS environment or profile") from error
        return cls(name, client, encryption, patience), prefix + "/" if prefix else ""

    def make(self) -> None:
        """Make the bucket; one that is ours already is left as it is."""
        try:
            self.call("create_bucket", f"make s3://{self.name}", self.patience.deadline(), {})
        except S3Refused as error:
            if error.code not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                raise

    def where(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def call(
        self,
        operation: str,
        doing: str,
        deadline: Deadline,
        request: Mapping[str, Any],
        consume: Callable[[Any], Any] | None = None,
        doubted: list[Exception] | None = None,
    ) -> Any:
        """One request, repeated while what went wrong may pass: the answer, or what `consume` made of it.

        `Body` may be a path, which is opened anew each time. `consume` reads a body, inside the same limits, and may
        be called again. `doubted` gets the failure of each attempt that the server may have acted on. Raises
        StoreError (cannot `doing`), S3Refused for a lasting error of the server, StoreAway where the server is not
        there or did not answer in time.
        """
        for attempt in range(1, self.patience.attempts + 1):
            try:
                return self._once(operation, deadline, consume, request)
            except _FAILED as error:
                if doubted is not None and (_may_pass(error) or isinstance(error, TimeoutError)):
                    doubted.append(error)
                may_pass = _may_pass(error) and attempt < self.patience.attempts
                if not (may_pass and deadline.rest(attempt, self.patience, self.jitter)):
                    raise _refusal(doing, error, attempt) from error
        raise AssertionError("unreachable: attempts are at least one")

    def _once(
        self, operation: str, deadline: Deadline, consume: Callable[[Any], Any] | None, request: Mapping[str, Any]
    ) -> Any:
        answers: list[Any] = []

        def work() -> Any:
            send = getattr(self.client, operation)
            body = request.get("Body")
            if isinstance(body, Path):
                with body.open("rb") as stream:
                    answer = send(Bucket=self.name, **{**request, "Body": stream})
            else:
                answer = send(Bucket=self.name, **request)
            answers.append(answer)
            return consume(answer) if consume is not None else answer

        def interrupt() -> None:
            for answer in answers:
                if "Body" in answer:
                    with suppress(AttributeError, OSError, ValueError):
                        answer["Body"]._raw_stream.shutdown()  # the read returns at once, and its thread ends

        is_short = consume is None and "Body" not in request and operation not in _SLOW
        return deadline.run(work, interrupt, self.patience.try_s if is_short else None)

    def list(self, prefix: str) -> Iterator[tuple[str, int, str]]:
        """Keys below `prefix` with size in bytes and ETag, sorted by key."""
        for entry in self._listed(prefix):
            yield entry["Key"], entry["Size"], entry["ETag"].strip('"')

    def list_dated(self, prefix: str) -> Iterator[tuple[str, int, datetime]]:
        """Keys below `prefix` with size in bytes and when they were written, UTC, sorted by key."""
        for entry in self._listed(prefix):
            yield entry["Key"], entry["Size"], entry["LastModified"]

    def _listed(self, prefix: str) -> Iterator[dict[str, Any]]:
        more: dict[str, str] = {}
        while True:
            doing, deadline = f"list {self.where(prefix)}", self.patience.deadline()
            page = self.call("list_objects_v2", doing, deadline, {"Prefix": prefix, **more})
            yield from page.get("Contents", [])
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def head(self, key: str, deadline: Deadline | None = None) -> dict[str, Any] | None:
        """What the server says of an object, None when there is none."""
        doing, end = f"look at {self.where(key)}", deadline or self.patience.deadline()
        try:
            answer: dict[str, Any] = self.call("head_object", doing, end, {"Key": key})
        except S3Refused as error:
            if error.is_missing:
                return None
            raise
        return answer

    def has(self, key: str) -> bool:
        return self.head(key) is not None

    def put_bytes(self, key: str, payload: bytes, *, content_type: str) -> None:
        """Write a small object of our own, over what was there."""
        doing, deadline = f"put {self.where(key)}", self.patience.deadline(len(payload))
        body = {"Key": key, "Body": payload, "ContentType": content_type, **self.encryption_request()}
        self.call("put_object", doing, deadline, body)

    def encryption_request(self) -> dict[str, str]:
        return self.encryption.request() if self.encryption is not None else {}

    def remove(self, keys: Sequence[str]) -> None:
        """Those that are not there count as removed. In a bucket with versions the earlier ones stay."""
        self._remove([{"Key": key} for key in keys])

    def remove_every_version(self, keys: Sequence[str]) -> None:
        """Also of a bucket that keeps earlier versions: nothing of them is left there."""
        for key in keys:
            before: Sequence[dict[str, str]] = []
            while found := self._versions(key):
                if found == before:
                    raise StoreError(f"{self.where(key)} was removed and is still there; look at the bucket's locks")
                self._remove(found)
                before = found

    def _versions(self, key: str) -> Sequence[dict[str, str]]:
        """The first thousand of them; none when the object is gone."""
        doing, deadline = f"list versions of {self.where(key)}", self.patience.deadline()
        page = self.call("list_object_versions", doing, deadline, {"Prefix": key})
        held = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        return [{"Key": key, "VersionId": entry["VersionId"]} for entry in held if entry["Key"] == key]

    def _remove(self, objects: Sequence[dict[str, str]]) -> None:
        for start in range(0, len(objects), _REMOVED_AT_ONCE):
            some = objects[start : start + _REMOVED_AT_ONCE]
            doing, deadline = f"remove {len(some)} objects of s3://{self.name}", self.patience.deadline()
            answer = self.call("delete_objects", doing, deadline, {"Delete": {"Objects": some, "Quiet": True}})
            if kept := answer.get("Errors", []):
                raise StoreError(f"cannot remove {self.where(kept[0]['Key'])}: {kept[0].get('Message', '')}")

    def link(self, key: str, seconds: int) -> str:
        """A URL that reads this one object, without credentials, for at most 15 minutes. Never log it."""
        if not 1 <= seconds <= LONGEST_LINK_S:
            raise ConfigError(f"a link may live 1 to {LONGEST_LINK_S} seconds, not {seconds}")
        try:
            url: str = self.client.generate_presigned_url(
                "get_object", Params={"Bucket": self.name, "Key": key}, ExpiresIn=seconds, HttpMethod="GET"
            )
        except _FAILED as error:
            raise _refusal(f"sign a link to {self.where(key)}", error, 1) from error
        return url

    def started_uploads(self, prefix: str, deadline: Deadline | None = None) -> Sequence[StartedUpload]:
        """Multipart uploads below `prefix` that stand open."""
        found: list[StartedUpload] = []
        more: dict[str, str] = {}
        while True:
            doing, end = f"list uploads of {self.where(prefix)}", deadline or self.patience.deadline()
            page = self.call("list_multipart_uploads", doing, end, {"Prefix": prefix, **more})
            found += [
                StartedUpload(key=entry["Key"], upload_id=entry["UploadId"], started_at=entry["Initiated"])
                for entry in page.get("Uploads", [])
            ]
            if not page.get("IsTruncated"):
                return found
            more = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def has_parts(self, upload: StartedUpload, deadline: Deadline) -> bool:
        """Whether a part of an open upload is up; False when the upload is gone."""
        doing, wanted = f"list parts of {self.where(upload.key)}", {"Key": upload.key, "UploadId": upload.upload_id}
        try:
            return bool(self.call("list_parts", doing, deadline, {**wanted, "MaxParts": 1}).get("Parts"))
        except S3Refused as error:
            if error.code not in {"NoSuchUpload", *_MISSING}:
                raise
            return False

    def abort(self, key: str, upload_id: str, deadline: Deadline | None = None) -> None:
        """Take an upload back; one that is gone counts as taken back."""
        doing, end = f"abort an upload of {self.where(key)}", deadline or self.patience.deadline()
        try:
            self.call("abort_multipart_upload", doing, end, {"Key": key, "UploadId": upload_id})
        except S3Refused as error:
            if error.code not in {"NoSuchUpload", *_MISSING}:
                raise


def scrubbed(text: str) -> str:
    """The text without query strings of URLs: that of a presigned link must never reach a log."""
    return _QUERY.sub("?…", text)


def _may_pass(error: Exception) -> bool:
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or status == 429 or error.response["Error"]["Code"] in _PASSES
    if isinstance(error, NoCredentialsError):
        return False
    return isinstance(error, BotoCoreError | ConnectionError)  # a disk's error, or the deadline's, does not pass


def _refusal(doing: str, error: Exception, attempts: int) -> StoreError:
    tries = f", tried {attempts} times" if attempts > 1 else ""
    message = f"cannot {doing}: {scrubbed(str(error))}{tries}"
    if isinstance(error, ClientError):
        kind = S3Away if _may_pass(error) else S3Refused
        return kind(message, error.response["Error"]["Code"])
    is_away = isinstance(error, _AWAY) and not isinstance(error, SSLError)
    return StoreAway(message) if is_away else StoreError(message)
