"""Buckets: parts, links, encryption, damage in the store and on the way, uploads that a kill left. A real server."""

import os
import signal
import subprocess
import sys
import textwrap
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from tests.facestore.s3_world import store_for

from facestore.copies import open_copies
from facestore.errors import ConfigError, ObjectCorrupt, StoreError
from facestore.ids import media_key, sha256_hex
from facestore.objects import BucketStore, open_store
from facestore.s3 import S3Bucket, scrubbed
from facestore.s3objects import fetch
from facestore.sources import open_source

pytestmark = pytest.mark.integration
SMALL = Random(1).randbytes(30_000)
LARGE = Random(2).randbytes((5 << 20) + 9_000)


@pytest.fixture
def store(
    s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[BucketStore]:
    with store_for(request.node.nodeid, s3_environment, monkeypatch) as opened:
        yield opened


def _key(payload: bytes) -> str:
    return media_key(sha256_hex(payload))


def _file(folder: Path, payload: bytes) -> Path:
    path = folder / "file to store"
    path.write_bytes(payload)
    return path


def _spoil(store: BucketStore, key: str, payload: bytes) -> None:
    """Put other bytes under the key, as bit rot or an intruder would: the metadata still says the old sha256."""
    store.bucket.client.put_object(
        Bucket=store.bucket.name, Key=store.prefix + key, Body=payload, Metadata={"sha256": key.rpartition("/")[2]}
    )


@pytest.mark.parametrize("payload", [SMALL, LARGE], ids=["one request", "parts"])
def test_what_went_up_comes_down_and_goes_up_once(store: BucketStore, payload: bytes, tmp_path: Path) -> None:
    path = _file(tmp_path, payload)
    assert [store.put(_key(payload), path) for _ in range(2)] == [True, False]
    with store.local(_key(payload)) as found:
        assert found.read_bytes() == payload
    assert store.bucket.started_uploads("") == []


@pytest.mark.parametrize("payload", [SMALL, LARGE], ids=["one request", "parts"])
def test_who_looked_just_before_the_other_wrote_loses_and_is_told(
    store: BucketStore, payload: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, looked = _file(tmp_path, payload), S3Bucket.head, iter([True])
    store.put(_key(payload), path)
    monkeypatch.setattr(S3Bucket, "head", lambda *asked: None if next(looked, False) else real(*asked))
    assert store.put(_key(payload), path) is False
    assert store.bucket.started_uploads("") == []


@pytest.mark.parametrize("payload", [SMALL, LARGE], ids=["one request", "parts"])
def test_a_flipped_bit_in_the_store_is_found_and_healed(store: BucketStore, payload: bytes, tmp_path: Path) -> None:
    """Bar B9 for buckets: 10 bits each; the key, the metadata, the size and the server's own checksums all agree."""
    key, chooser = _key(payload), Random(9)
    for _ in range(10):
        spoiled, bit = bytearray(payload), chooser.randrange(8 * len(payload))
        spoiled[bit // 8] ^= 1 << bit % 8
        _spoil(store, key, bytes(spoiled))
        with pytest.raises(ObjectCorrupt, match="faceloop repair"):
            store.check(key)
    store.heal(key, _file(tmp_path, payload))
    store.check(key)


def test_other_bytes_under_the_key_are_not_taken_for_ours(store: BucketStore, tmp_path: Path) -> None:
    _spoil(store, _key(SMALL), b"shorter")
    with pytest.raises(ObjectCorrupt, match="holds other bytes"):
        store.put(_key(SMALL), _file(tmp_path, SMALL))


def test_a_link_reads_one_object_for_a_while_and_is_in_no_message(store: BucketStore, tmp_path: Path) -> None:
    store.put(_key(SMALL), _file(tmp_path, SMALL))
    link = store.link(_key(SMALL), 60)
    with urllib.request.urlopen(link) as answer:  # noqa: S310
        assert answer.read() == SMALL
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(link.replace("Signature=", "Signature=0"))  # noqa: S310
    with pytest.raises(ConfigError, match="900"):
        store.link(_key(SMALL), 901)
    assert "Signature" in link
    assert "Signature" not in scrubbed(f"cannot open {link}: gone")


def test_a_bucket_encrypts_as_asked_or_keeps_nothing(
    store: BucketStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"s3://{store.bucket.name}/sealed?encryption=AES256"
    sealed = open_store(url, may_link=False)
    assert isinstance(sealed, BucketStore)
    for payload in (SMALL, LARGE):
        sealed.put(_key(payload), _file(tmp_path, payload))
        found = sealed.bucket.head(sealed.prefix + _key(payload))
        assert found is not None and found["ServerSideEncryption"] == "AES256"
        sealed.check(_key(payload))
    sealed.remove([_key(SMALL), _key(LARGE)])
    real = S3Bucket.call

    def deaf(*asked: object, **more: object) -> object:
        answer = real(*asked, **more)  # type: ignore[arg-type]
        return {name: value for name, value in answer.items() if name != "ServerSideEncryption"}

    monkeypatch.setattr(S3Bucket, "call", deaf)
    for payload in (SMALL, LARGE):
        with pytest.raises(ConfigError, match="did not encrypt"):
            sealed.put(_key(payload), _file(tmp_path, payload))
        assert not sealed.has(_key(payload))
    assert sealed.bucket.started_uploads("") == []


@pytest.mark.parametrize("settings", ["encryption=rot13", "verify=false", "encryption=AES256&key=k", "encryption="])
def test_settings_that_are_none_are_refused(settings: str) -> None:
    with pytest.raises(ConfigError):
        open_store(f"s3://bucket/p?{settings}", may_link=False)


def test_every_version_of_a_removed_object_is_gone(store: BucketStore, tmp_path: Path) -> None:
    client, bucket = store.bucket.client, store.bucket.name
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for payload in (b"rotten", SMALL):
        _spoil(store, _key(SMALL), payload)
    store.remove([_key(SMALL)])
    left = client.list_object_versions(Bucket=bucket)
    assert "Versions" not in left and "DeleteMarkers" not in left


@pytest.mark.parametrize("upload", ["put_object", "upload_file"])
def test_footage_of_a_bucket_is_compared_with_its_etag(
    upload: str, store: BucketStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a user's file no sha256 is known: one request gives MD5, parts the MD5 of MD5s."""
    client, bucket, payload = store.bucket.client, store.bucket.name, Random(3).randbytes(9 << 20)
    if upload == "put_object":
        client.put_object(Bucket=bucket, Key="in/a.mp4", Body=payload)
    else:
        client.upload_file(str(_file(tmp_path, payload)), bucket, "in/a.mp4")
    source = open_source(f"s3://{bucket}/in")
    (location,) = source.locations()
    with source.local(location) as path:
        assert path.read_bytes() == payload
    from facestore import s3objects

    downloads, real = [], s3objects._fetch_once

    def once_spoiled(*asked: object) -> None:
        real(*asked)  # type: ignore[arg-type]
        downloads.append(asked)
        if len(downloads) == 1:
            path = asked[2]
            assert isinstance(path, Path)
            path.write_bytes(payload[:-1] + bytes([payload[-1] ^ 4]))

    monkeypatch.setattr(s3objects, "_fetch_once", once_spoiled)
    with source.local(location) as path:
        assert path.read_bytes() == payload
    assert len(downloads) == 2


def test_where_the_etag_is_no_digest_two_downloads_must_agree(
    store: BucketStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from facestore import s3objects

    store.put(_key(SMALL), _file(tmp_path, SMALL))
    monkeypatch.setattr(s3objects, "_agrees", lambda *_: False)
    fetch(store.bucket, store.prefix + _key(SMALL), tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == SMALL
    numbers, real = iter(range(100)), s3objects._fetch_once

    def always_other(*asked: object) -> None:
        real(*asked)  # type: ignore[arg-type]
        assert isinstance(asked[2], Path)
        asked[2].write_bytes(next(numbers).to_bytes(4, "big"))

    monkeypatch.setattr(s3objects, "_fetch_once", always_other)
    with pytest.raises(ObjectCorrupt):
        fetch(store.bucket, store.prefix + _key(SMALL), tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_a_good_copy_in_a_bucket_is_found_by_content(store: BucketStore, tmp_path: Path) -> None:
    client, bucket = store.bucket.client, store.bucket.name
    for name, payload in (("a", SMALL[::-1]), ("b", SMALL), ("c", b"small")):
        client.put_object(Bucket=bucket, Key=f"backup/{name}", Body=payload)
    copies, to = open_copies(f"s3://{bucket}/backup"), tmp_path / "copy"
    assert copies.take(sha256_hex(SMALL), len(SMALL), to)
    assert to.read_bytes() == SMALL
    to.unlink()
    assert not copies.take(sha256_hex(b"nowhere"), 5, to)
    assert not to.exists()
    assert copies.named("c", to) and to.read_bytes() == b"small"
    assert not copies.named("not there", to)


_UPLOADER = """
import sys
from pathlib import Path
from facestore import s3objects
from facestore.objects import open_store
s3objects.SINGLE_PUT_BYTES, s3objects.PART_BYTES = 1 << 20, 5 << 20
real = s3objects._compare_checksum
def stop(*asked):
    print("one part is up", flush=True)
    sys.stdin.read()
s3objects._compare_checksum = stop
open_store(sys.argv[1], may_link=False).put(sys.argv[2], Path(sys.argv[3]))
"""


def test_an_upload_that_a_kill_left_is_swept_when_it_is_old(store: BucketStore, tmp_path: Path) -> None:
    from facestore.s3 import StartedUpload

    url = f"s3://{store.bucket.name}/p"
    command = [sys.executable, "-c", textwrap.dedent(_UPLOADER), url, _key(LARGE), str(_file(tmp_path, LARGE))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as uploader:
        assert uploader.stdout is not None
        assert uploader.stdout.readline() == b"one part is up\n"
        os.kill(uploader.pid, signal.SIGKILL)
    left = store.bucket.started_uploads(store.prefix)
    assert [upload.key for upload in left] == [store.prefix + _key(LARGE)]
    assert all(isinstance(upload, StartedUpload) and upload.started_at.tzinfo for upload in left)
    store.put(_key(LARGE), _file(tmp_path, LARGE))  # the next run stores it, and takes nobody else's upload back
    assert store.bucket.started_uploads(store.prefix) == left
    for upload in left:
        store.bucket.abort(upload.key, upload.upload_id)
        store.bucket.abort(upload.key, upload.upload_id)
    assert store.bucket.started_uploads("") == []
    store.check(_key(LARGE))


@pytest.mark.parametrize("doing", ["link", "has"])
def test_messages_hold_no_query(doing: str, store: BucketStore, monkeypatch: pytest.MonkeyPatch) -> None:
    uses: dict[str, Callable[[], object]] = {
        "link": lambda: store.link(_key(SMALL), 60),
        "has": lambda: store.has(_key(SMALL)),
    }

    def failing(*_: object, **__: object) -> None:
        raise OSError("no answer from http://host/bucket/key?X-Amz-Signature=secret&more=1")

    monkeypatch.setattr(store.bucket.client, "head_object", failing)
    monkeypatch.setattr(store.bucket.client, "generate_presigned_url", failing)
    with pytest.raises(StoreError, match="no answer") as caught:
        uses[doing]()
    assert "secret" not in str(caught.value)
