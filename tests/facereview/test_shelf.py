"""The shelf: pictures lie where addresses say, under opaque names, until their question closes."""

import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from facereview.asking.shelf import FolderShelf
from facereview.asking.shelf_s3 import BucketShelf
from facereview.pictures import Shelf
from facestore.errors import ConfigError, StoreError
from facestore.s3 import S3Bucket

JPEG = b"\xff\xd8 a picture"


@pytest.fixture
def folder_shelf(tmp_path: Path) -> FolderShelf:
    return FolderShelf(root=tmp_path, prefix="open faces/now")


@pytest.fixture
def bucket_shelf(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> BucketShelf:
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"shelf-{uuid4().hex[:8]}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return BucketShelf.from_url(f"s3://{bucket}/open/faces")


@pytest.fixture(params=["folder_shelf", pytest.param("bucket_shelf", marks=pytest.mark.integration)])
def shelf(request: pytest.FixtureRequest) -> Iterator[Shelf]:
    yield request.getfixturevalue(request.param)


def test_a_question_has_its_pictures_until_they_are_removed(shelf: Shelf) -> None:
    assert shelf.held() == set()
    addresses = {shelf.put("aa", 0, JPEG), shelf.put("aa", 1, JPEG), shelf.put("bb", 0, JPEG)}
    assert len(addresses) == 3
    assert shelf.held() == {"aa", "bb"}
    shelf.remove("aa")
    shelf.remove("aa")
    assert shelf.held() == {"bb"}


def test_the_same_picture_keeps_its_address_and_another_has_another(shelf: Shelf) -> None:
    first = shelf.put("aa", 0, JPEG)
    assert shelf.put("aa", 0, JPEG) == first
    assert shelf.put("aa", 0, JPEG + b"!") != first


def test_an_id_never_leads_out_of_the_shelf(shelf: Shelf) -> None:
    for name in ("..", "", "a/b", "/etc"):
        with pytest.raises(ConfigError, match="cannot name a folder"):
            shelf.put(name, 0, JPEG)
        with pytest.raises(ConfigError, match="cannot name a folder"):
            shelf.remove(name)


def test_an_id_that_begins_like_another_keeps_its_pictures(shelf: Shelf) -> None:
    shelf.put("aa", 0, JPEG)
    shelf.put("aab", 0, JPEG)
    shelf.remove("aa")
    assert shelf.held() == {"aab"}


def test_the_address_names_the_file_below_the_servers_document_root(folder_shelf: FolderShelf) -> None:
    address = folder_shelf.put("aa", 3, JPEG)
    path, _, query = address.partition("?d=")
    assert path == "/data/local-files/"
    assert query.startswith("open%20faces/now/aa/03-")
    laid = folder_shelf.root / unquote(query)
    assert laid.read_bytes() == JPEG
    assert stat.S_IMODE(laid.stat().st_mode) == 0o640
    assert [found.name for found in laid.parent.iterdir()] == [laid.name]


def test_a_file_that_a_power_cut_emptied_is_written_again(folder_shelf: FolderShelf) -> None:
    folder_shelf.put("aa", 0, JPEG)
    (laid,) = folder_shelf.folder.glob("aa/*.jpg")
    laid.write_bytes(b"")
    folder_shelf.put("aa", 0, JPEG)
    assert laid.read_bytes() == JPEG


def test_a_folder_that_takes_no_files_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "faces").write_text("not a folder")
    with pytest.raises(StoreError, match="cannot lay out a picture"):
        FolderShelf(root=tmp_path, prefix="faces").put("aa", 0, JPEG)


@pytest.mark.parametrize("prefix", ["", ".", "..", "a/../..", "/etc"])
def test_a_prefix_that_leaves_the_root_is_refused(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(ConfigError, match="below the server's document root"):
        FolderShelf(root=tmp_path, prefix=prefix)


def test_two_who_lay_out_the_same_picture_leave_one(folder_shelf: FolderShelf) -> None:
    threads = [threading.Thread(target=folder_shelf.put, args=("aa", 0, JPEG * 1_000)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (laid,) = folder_shelf.folder.glob("aa/*")
    assert laid.read_bytes() == JPEG * 1_000


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.binary(max_size=5)), max_size=12))
def test_what_is_held_is_what_was_put_and_not_removed(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, int, bytes]]
) -> None:
    shelf = FolderShelf(root=tmp_path_factory.mktemp("shelf"), prefix="faces")
    expected = set()
    for question_id, place, jpeg in moves:
        if jpeg:
            shelf.put(question_id, place, jpeg)
            expected.add(question_id)
        else:
            shelf.remove(question_id)
            expected.discard(question_id)
    assert shelf.held() == expected


@pytest.mark.integration
def test_a_bucket_tells_browsers_that_it_is_a_jpeg(bucket_shelf: BucketShelf) -> None:
    address = bucket_shelf.put("aa", 0, JPEG)
    assert address.startswith(f"s3://{bucket_shelf.bucket.name}/open/faces/aa/00-")
    key = address.removeprefix(f"s3://{bucket_shelf.bucket.name}/")
    found = bucket_shelf.bucket.client.get_object(Bucket=bucket_shelf.bucket.name, Key=key)
    assert (found["ContentType"], found["Body"].read()) == ("image/jpeg", JPEG)


def test_a_bucket_that_cannot_be_reached_is_a_store_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    limits = Config(retries={"total_max_attempts": 1}, connect_timeout=1)
    client = boto3.client("s3", endpoint_url="http://127.0.0.1:9", region_name="us-east-1", config=limits)
    shelf = BucketShelf(bucket=S3Bucket("nowhere", client), prefix="faces/")
    with pytest.raises(StoreError, match="cannot put s3://nowhere/faces/aa/00-"):
        shelf.put("aa", 0, JPEG)
    with pytest.raises(StoreError, match="cannot list versions of s3://nowhere"):
        shelf.remove("aa")
    with pytest.raises(StoreError, match="cannot remove 1 objects of s3://nowhere"):
        shelf.bucket.remove(["faces/aa/0.jpg"])
