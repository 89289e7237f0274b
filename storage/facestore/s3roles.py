"""One role for each kind of work with a bucket: the least that it must be allowed, as an IAM policy.

Nobody holds `s3:*`. Who writes cannot remove; only `sweep`, `erase` and `label` (its own pictures) remove; who keeps
anchors of the audit log can neither remove nor read faces. Policy language: AWS IAM JSON policies, version 2012-10-17.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from facestore.errors import ConfigError
from facestore.ids import JsonValue
from facestore.s3encryption import Encryption, encryption_of

Role = Literal["ingest", "read", "repair", "label", "show", "anchor", "sweep", "erase"]
Place = Literal["objects", "source", "pictures", "anchors"]
Right = Literal["read", "find", "list", "put", "read_versions", "remove"]

ROLES: Mapping[Role, tuple[str, Mapping[Place, tuple[Right, ...]]]] = {
    "ingest": ("run ingest", {"source": ("read", "list"), "objects": ("read", "find", "put")}),
    "read": ("every other stage, report, verify", {"objects": ("read", "find")}),
    "repair": ("repair", {"objects": ("read", "find", "put")}),
    "label": ("review push and pull", {"objects": ("read", "find"), "pictures": ("read", "list", "put", "remove")}),
    "show": ("the labelling server, for its links", {"pictures": ("read", "list")}),
    "anchor": ("audit anchor, audit verify", {"anchors": ("read", "find", "read_versions", "put")}),
    "sweep": ("store sweep", {"objects": ("read", "find", "remove")}),
    "erase": (
        "erase, retention sweep",
        dict.fromkeys(("objects", "pictures"), ("read", "find", "read_versions", "remove")),
    ),
}
_OF_OBJECTS: Mapping[Right, tuple[str, ...]] = {
    "read": ("GetObject",),
    "put": ("PutObject", "AbortMultipartUpload", "ListMultipartUploadParts"),
    "read_versions": ("GetObjectVersion",),
    "remove": ("DeleteObject", "DeleteObjectVersion", "AbortMultipartUpload"),
}
_BELOW: Mapping[Right, tuple[str, ...]] = {  # of the bucket, where the call names our prefix
    "list": ("ListBucket",),
    "read_versions": ("ListBucketVersions",),
    "remove": ("ListBucketVersions",),
}
_OF_BUCKETS: Mapping[Right, tuple[str, ...]] = {
    "find": ("ListBucket",),  # who has it not is told 403, not 404, of an object that is not there: no prefix helps
    "put": ("ListBucketMultipartUploads",),
    "remove": ("ListBucketMultipartUploads",),
}
_KMS: Mapping[Right, tuple[str, ...]] = {
    "read": ("Decrypt",),
    "put": ("GenerateDataKey", "Decrypt"),  # the server reads the parts of an upload to put them together
}


@dataclass(frozen=True, slots=True)
class _Address:
    bucket: str
    prefix: str  # empty, or ends in "/"
    encryption: Encryption | None


def policy_of(role: Role, places: Mapping[Place, str]) -> dict[str, JsonValue] | None:
    """The policy of a role where its `places` (URLs or folders) lie; None where all of them are folders.

    Raises ConfigError for a URL that does not hold.
    """
    statements: list[JsonValue] = []
    for place, rights in ROLES[role][1].items():
        if (address := _address(places.get(place, ""))) is None:
            continue
        bucket, below = f"arn:aws:s3:::{address.bucket}", f"{address.prefix}*"
        key = _key_arn(address)
        kinds: list[tuple[str, str, Mapping[Right, tuple[str, ...]], str, dict[str, JsonValue]]] = [
            ("objects", "s3", _OF_OBJECTS, f"{bucket}/{below}", {}),
            ("below", "s3", _BELOW, bucket, {"Condition": {"StringLike": {"s3:prefix": [below]}}}),
            ("bucket", "s3", _OF_BUCKETS, bucket, {}),
            *([("key", "kms", _KMS, key, {})] if key is not None else []),
        ]
        for kind, service, of, resource, only in kinds:
            actions = sorted({f"{service}:{action}" for right in rights for action in of.get(right, ())})
            if actions:
                allowed: list[JsonValue] = [*actions]
                said: dict[str, JsonValue] = {"Sid": f"{place}{kind}", "Effect": "Allow", "Action": allowed}
                statements.append(said | {"Resource": [resource]} | only)
    return {"Version": "2012-10-17", "Statement": statements} if statements else None


def _address(url: str) -> _Address | None:
    if not url.startswith("s3://"):
        return None
    where, _, settings = url.removeprefix("s3://").partition("?")
    bucket, _, prefix = where.partition("/")
    if not bucket or any(sign in where for sign in "*?${}"):
        raise ConfigError(f"{url!r} names no bucket and prefix; write s3://BUCKET/PREFIX")
    prefix = prefix.strip("/")
    return _Address(bucket, prefix + "/" if prefix else "", encryption_of(settings))


def _key_arn(address: _Address) -> str | None:
    key = address.encryption.key_id if address.encryption is not None else None
    if key is None:
        return None
    return key if key.startswith("arn:") else f"arn:aws:kms:*:*:key/{key}"
