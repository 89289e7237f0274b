"""The object store, as a folder and as a real S3 server: one contract."""

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.chaos.bitflips import flip_bit

from facestore.errors import ConfigError, ObjectCorrupt, ObjectMissing, StoreError
from facestore.ids import media_key, sha256_hex
from facestore.objects import BucketStore, FolderStore, ObjectStore, open_store
from facestore.s3 import S3Bucket

CONTENT = b"moving pictures" * 1000
KEY = media_key(sha256_hex(CONTENT))


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
    path.write_bytes(CONTENT)
    return path


def _content(store: ObjectStore, key: str = KEY) -> bytes:
    with store.local(key) as path:
        return path.read_bytes()


def test_an_object_comes_back_under_its_key(store: ObjectStore, payload: Path) -> None:
    assert not store.has(KEY)
    store.put(KEY, payload)
    assert store.has(KEY)
    assert _content(store) == payload.read_bytes()
    assert [found.key for found in store.listed(0.0)] == [KEY]


def test_an_object_is_put_once_and_the_second_is_told(store: ObjectStore, payload: Path) -> None:
    assert store.put(KEY, payload) is True
    assert store.put(KEY, payload) is False


def test_bytes_that_are_not_what_the_key_says_are_not_stored(store: ObjectStore, payload: Path) -> None:
    payload.write_bytes(b"the source was edited after it was hashed")
    with pytest.raises(ObjectCorrupt, match=r"other bytes than its key says"):
        store.put(KEY, payload)
    assert not store.has(KEY)
    with pytest.raises(ObjectCorrupt):
        store.heal(KEY, payload)
    assert not store.has(KEY)
    if isinstance(store, FolderStore):
        assert [found for found in store.root.rglob("*") if found.is_file()] == []


@pytest.mark.parametrize("key", ["../x", "/etc/passwd", "media/../../x", "media/ab/abc", f"media/{'A' * 64}", "a" * 64])
def test_what_is_no_key_of_ours_is_refused(key: str, store: ObjectStore, payload: Path) -> None:
    for use in (lambda: store.has(key), lambda: store.put(key, payload), lambda: store.check(key)):
        with pytest.raises(StoreError, match="is no key"):
            use()


def test_an_empty_object_is_an_object(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    key = media_key(sha256_hex(b""))
    store.put(key, tmp_path / "empty")
    assert store.has(key)
    assert _content(store, key) == b""
    assert store.read_range(key, 0, 0) == b""


def test_a_missing_key_is_a_store_error_that_names_it(store: ObjectStore) -> None:
    with pytest.raises(ObjectMissing, match=KEY), store.local(KEY):
        pytest.fail("gave a path for an object that is not there")
    with pytest.raises(ObjectMissing, match=KEY):
        store.read_range(KEY, 0, 1, sha256_hex(b"x"))


def test_some_bytes_are_checked_by_their_own_hash_or_by_that_of_all(store: ObjectStore, payload: Path) -> None:
    store.put(KEY, payload)
    wanted = CONTENT[7:500]
    assert store.read_range(KEY, 7, 493) == store.read_range(KEY, 7, 493, sha256_hex(wanted)) == wanted
    with pytest.raises(ObjectCorrupt):
        store.read_range(KEY, 7, 493, sha256_hex(b"other"))
    with pytest.raises(StoreError):
        store.read_range(KEY, len(CONTENT) - 5, 10)


def test_removed_objects_are_gone_and_removing_again_does_no_harm(store: ObjectStore, payload: Path) -> None:
    store.put(KEY, payload)
    store.remove([KEY])
    store.remove([KEY])
    assert not store.has(KEY)
    assert list(store.listed(0.0)) == []


def test_of_many_writers_of_a_key_one_wins_and_none_fails(store: ObjectStore, tmp_path: Path) -> None:
    failures: list[Exception] = []
    won: list[bool] = []
    start = threading.Barrier(8)

    def put(number: int) -> None:
        path = tmp_path / f"writer {number}"
        path.write_bytes(CONTENT)
        start.wait()
        try:
            won.append(store.put(KEY, path))
        except Exception as error:  # a thread's error must reach the test
            failures.append(error)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(won) == [False] * 7 + [True]
    assert _content(store) == CONTENT
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
    with pytest.raises(StoreError, match=f"cannot store {KEY}"):
        FolderStore(tmp_path / "objects").put(KEY, payload)


@pytest.mark.parametrize("is_linked", [False, True])
def test_a_damaged_object_is_not_read_and_a_good_copy_heals_it(payload: Path, tmp_path: Path, is_linked: bool) -> None:
    store = FolderStore(tmp_path / "objects", may_link=is_linked)
    (tmp_path / "copy").write_bytes(CONTENT)
    store.put(KEY, payload)
    flip_bit(store.root / KEY, 1234)
    with pytest.raises(ObjectCorrupt, match="faceloop repair"), store.local(KEY):
        pytest.fail("gave damaged bytes to a reader")
    with pytest.raises(ObjectCorrupt):
        store.read_range(KEY, 0, 10)
    with pytest.raises(ObjectCorrupt):
        store.put(KEY, _other(tmp_path))
    assert store.put(KEY, tmp_path / "copy") is True
    assert _content(store) == CONTENT


def test_the_control_that_does_not_hash_gives_damaged_bytes(
    payload: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path / "objects")
    store.put(KEY, payload)
    flip_bit(store.root / KEY, 1234)
    monkeypatch.setattr("facestore.folderstore.check_file", lambda *_: None)
    assert _content(store) != CONTENT


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", ["copyfile", "sync_path"])
def test_a_full_or_failing_disk_leaves_nothing_and_is_not_asked_again(
    call: str, number: int, payload: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, calls = FolderStore(tmp_path / "objects"), []

    def failing(*where: object) -> None:
        calls.append(where)
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(f"facestore.folderstore.{'shutil.' if call == 'copyfile' else ''}{call}", failing)
        with pytest.raises(StoreError, match="cannot store"):
            store.put(KEY, payload)
    assert len(calls) == 1
    assert [found for found in store.root.rglob("*") if found.is_file()] == []
    assert store.put(KEY, payload) is True


def test_a_folder_gives_no_links(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gives no links"):
        FolderStore(tmp_path).link(KEY, 60)


def _other(folder: Path) -> Path:
    path = folder / "other"
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
