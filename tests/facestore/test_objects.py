"""The object store, as a folder and as a real S3 server: one contract."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from facestore.errors import ConfigError, StoreError
from facestore.objects import BucketStore, FolderStore, ObjectStore, open_store
from facestore.s3 import S3Bucket

KEY = "media/ab/abcdef"


@pytest.fixture
def bucket(
    s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[str]:
    """The name of an empty bucket on the running server."""
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    name = f"b{abs(hash(request.node.nodeid)) % 10**12}-{os.getpid()}"
    opened, _ = S3Bucket.from_url(f"s3://{name}")
    opened.client.create_bucket(Bucket=name)
    yield name
    opened.client.close()


@pytest.fixture(params=["folder", "linked", pytest.param("s3", marks=pytest.mark.integration)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "s3":
        return open_store(f"s3://{request.getfixturevalue('bucket')}/some/prefix", may_link=False)
    return open_store(f"file://{tmp_path / 'objects'}", may_link=request.param == "linked")


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    path = tmp_path / "clip 'ä\n\".mp4"
    path.write_bytes(b"moving pictures" * 1000)
    return path


def _content(store: ObjectStore, key: str = KEY) -> bytes:
    with store.local(key) as path:
        return path.read_bytes()


def test_an_object_comes_back_under_its_key(store: ObjectStore, payload: Path) -> None:
    assert not store.has(KEY)
    store.put(KEY, payload)
    assert store.has(KEY)
    assert _content(store) == payload.read_bytes()
    assert not store.has("media/ab")


def test_an_object_is_put_once(store: ObjectStore, payload: Path, tmp_path: Path) -> None:
    store.put(KEY, payload)
    other = tmp_path / "other"
    other.write_bytes(b"something else")
    store.put(KEY, other)
    assert _content(store).startswith(b"moving")


def test_an_empty_object_is_an_object(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    store.put(KEY, tmp_path / "empty")
    assert store.has(KEY)
    assert _content(store) == b""


def test_a_missing_key_is_a_store_error_that_names_it(store: ObjectStore) -> None:
    with pytest.raises(StoreError, match=KEY), store.local(KEY):
        pytest.fail("gave a path for an object that is not there")


def test_of_many_writers_of_a_key_one_wins_and_none_fails(store: ObjectStore, tmp_path: Path) -> None:
    payloads = [bytes([65 + number]) * 50_000 for number in range(8)]
    failures: list[Exception] = []
    start = threading.Barrier(len(payloads))

    def put(number: int) -> None:
        path = tmp_path / f"writer {number}"
        path.write_bytes(payloads[number])
        start.wait()
        try:
            store.put(KEY, path)
        except Exception as error:  # a thread's error must reach the test
            failures.append(error)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(len(payloads))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    first = _content(store)
    assert first in payloads
    assert _content(store) == first
    if isinstance(store, FolderStore):
        assert [found.name for found in (store.root / KEY).parent.iterdir()] == [Path(KEY).name]


def test_the_target_of_a_link_is_stored_and_not_the_link(store: ObjectStore, payload: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.mp4"
    link.symlink_to(payload.name)
    store.put(KEY, link)
    with store.local(KEY) as path:
        assert not path.is_symlink()
        assert path.read_bytes() == payload.read_bytes()


def test_a_copy_does_not_change_with_its_source(payload: Path, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "objects", may_link=False)
    store.put(KEY, payload)
    payload.write_bytes(b"edited")
    assert _content(store).startswith(b"moving")


def test_a_folder_that_cannot_take_objects_is_a_store_error(payload: Path, tmp_path: Path) -> None:
    (tmp_path / "objects").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="cannot store media/ab/abcdef"):
        FolderStore(tmp_path / "objects").put(KEY, payload)


@pytest.mark.integration
def test_the_loser_of_a_race_leaves_the_winners_object(
    bucket: str, payload: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(f"s3://{bucket}", may_link=False)
    assert isinstance(store, BucketStore)
    store.put(KEY, payload)
    monkeypatch.setattr(S3Bucket, "has", lambda self, key: False)  # looked just before the winner wrote
    payload.write_bytes(b"late")
    store.put(KEY, payload)
    assert _content(store).startswith(b"moving")


@pytest.mark.integration
def test_a_large_file_goes_up_in_parts_and_once(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facestore.s3.SINGLE_PUT_BYTES", 1 << 20)
    monkeypatch.setattr("facestore.s3.PART_BYTES", 5 << 20)
    large = tmp_path / "large"
    large.write_bytes(os.urandom(12 << 20))
    store = open_store(f"s3://{bucket}", may_link=False)
    store.put(KEY, large)
    assert _content(store) == large.read_bytes()
    monkeypatch.setattr(S3Bucket, "has", lambda self, key: False)
    store.put(KEY, _other(tmp_path))
    assert _content(store) == large.read_bytes()
    assert isinstance(store, BucketStore)
    assert "Uploads" not in store.bucket.client.list_multipart_uploads(Bucket=bucket)


def _other(folder: Path) -> Path:
    path = folder / "other large"
    path.write_bytes(bytes(6 << 20))
    return path


@pytest.mark.integration
def test_a_missing_bucket_is_a_store_error(bucket: str, payload: Path) -> None:
    store = open_store(f"s3://{bucket}-not-there", may_link=False)
    with pytest.raises(StoreError, match="not-there"), store.local(KEY):
        pytest.fail("gave a path")
    assert isinstance(store, BucketStore)
    with pytest.raises(StoreError, match="not-there"):
        list(store.bucket.list("x"))


def test_a_server_that_does_not_answer_is_a_store_error(monkeypatch: pytest.MonkeyPatch, payload: Path) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    store = open_store("s3://bucket/prefix", may_link=False)
    for use in (lambda: store.has(KEY), lambda: store.put(KEY, payload), lambda: store.local(KEY).__enter__()):
        with pytest.raises(StoreError, match=r"s3://bucket/prefix/media"):
            use()


def test_a_wrong_store_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="ftp://host"):
        open_store("ftp://host/x", may_link=False)
    with pytest.raises(StoreError, match="names no bucket"):
        open_store("s3:///x", may_link=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "no address")
    with pytest.raises(StoreError, match="s3://bucket"):
        open_store("s3://bucket", may_link=False)
