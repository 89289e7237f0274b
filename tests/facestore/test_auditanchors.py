"""Anchors of the audit log in a bucket: put once, kept by a lock, read although somebody deleted over them."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.facestore.audit_world import PUBLIC, SIGNER, anchored_log, chained_anew, changed, notes, overwrite

import facestore.auditanchors
from facestore.auditanchors import put_anchor, read_anchors
from facestore.auditlog import AuditLog
from facestore.errors import AuditBroken, ObjectCorrupt
from facestore.ids import sha256_hex
from facestore.objects import BucketStore, open_store
from facestore.s3 import S3Bucket, S3Refused

pytestmark = pytest.mark.integration


@pytest.fixture
def place(
    s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[BucketStore]:
    """An empty bucket of a real server, whose objects are locked from the moment on in which they are put."""
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"anchors-{sha256_hex(request.node.nodeid.encode())[:20]}-{os.getpid()}"
    opened = open_store(f"s3://{bucket}/ledger", may_link=False)
    assert isinstance(opened, BucketStore)
    opened.bucket.client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}
    opened.bucket.client.put_object_lock_configuration(
        Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    yield opened
    opened.bucket.client.close()


def _url(place: BucketStore) -> str:
    return f"s3://{place.bucket.name}/{place.prefix.rstrip('/')}"


def _cut_off(path: Path, entries: int) -> None:
    """What the owner of the database can do: the last entries and heads go, the chain before them is whole."""
    log = AuditLog(f"sqlite:///{path}")
    rows = list(log.entries())[:entries]
    log.close()
    overwrite(path, chained_anew(rows))
    _forget_heads(path)


def _forget_heads(path: Path) -> None:
    with sqlite3.connect(path) as raw:
        for guard in ("no_update", "no_delete", "no_replace"):
            raw.execute(f"DROP TRIGGER IF EXISTS audit_head_{guard}")
        raw.execute("DELETE FROM audit_head")
    raw.close()


def test_an_anchor_is_put_once_and_finds_a_log_that_was_cut_off(place: BucketStore, tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    log, head = anchored_log(path, 5)
    assert put_anchor(_url(place), head) == put_anchor(_url(place), head)
    log.append_all(notes(3))
    put_anchor(_url(place), log.sign_head(SIGNER))
    kept = list(read_anchors(_url(place)))
    assert [one.entries for one in kept] == [5, 8]
    assert log.verify(kept, public_keys=[PUBLIC]).entries == 8
    log.close()
    _cut_off(path, 6)
    again = AuditLog(f"sqlite:///{path}")
    assert again.verify([]).entries == 6  # the mutant: nobody anchored
    with pytest.raises(AuditBroken):
        again.verify(list(read_anchors(_url(place))), public_keys=[PUBLIC])
    again.close()


def test_a_head_of_a_log_that_was_made_anew_does_not_fit_its_anchor(place: BucketStore, tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    log, head = anchored_log(path, 5)
    put_anchor(_url(place), head)
    rows = list(log.entries())
    log.close()
    overwrite(path, chained_anew([changed(rows[0], who="uid:9"), *rows[1:]]))
    _forget_heads(path)
    again = AuditLog(f"sqlite:///{path}")
    assert again.verify([]).entries == 5  # the mutant: nobody anchored
    with pytest.raises(AuditBroken):
        again.verify(list(read_anchors(_url(place))), public_keys=[PUBLIC])
    again.close()


def test_who_deletes_anchors_hides_none_of_them(
    place: BucketStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, head = anchored_log(tmp_path / "ledger.sqlite3", 5)
    log.close()
    key = place.prefix + put_anchor(_url(place), head)
    client, bucket = place.bucket.client, place.bucket.name
    client.delete_object(Bucket=bucket, Key=key)
    version = client.list_object_versions(Bucket=bucket, Prefix=key)["Versions"][0]["VersionId"]
    with pytest.raises(S3Refused):
        place.bucket.call(
            "delete_object", "delete", place.bucket.patience.deadline(), {"Key": key, "VersionId": version}
        )
    assert list(read_anchors(_url(place))) == [head]
    monkeypatch.setattr(facestore.auditanchors, "BucketStore", type(None))  # the mutant: names, not versions
    assert list(read_anchors(_url(place))) == []


def test_an_anchor_that_was_written_over_is_found(place: BucketStore, tmp_path: Path) -> None:
    log, head = anchored_log(tmp_path / "ledger.sqlite3", 5)
    log.close()
    key = place.prefix + put_anchor(_url(place), head)
    bucket: S3Bucket = place.bucket
    bucket.put_bytes(key, b"{}", content_type="application/json")
    with pytest.raises(ObjectCorrupt, match="wrote over"):
        list(read_anchors(_url(place)))
