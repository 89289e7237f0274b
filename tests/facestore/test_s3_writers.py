"""Two writers of one key, each with an upload in parts: who is told what, and takes back what. A real server."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
from tests.facestore.s3_world import PART_BYTES, store_for

from facestore import s3objects
from facestore.errors import StoreAway, StoreError
from facestore.ids import media_key, sha256_hex
from facestore.objects import BucketStore
from facestore.s3 import S3Bucket

pytestmark = pytest.mark.integration
LARGE = Random(2).randbytes(PART_BYTES + 9_000)
KEY = media_key(sha256_hex(LARGE))
PATIENCE_S = 60.0


@pytest.fixture
def store(
    s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[BucketStore]:
    with store_for(request.node.nodeid, s3_environment, monkeypatch) as opened:
        yield opened


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    return path


def _begin(store: BucketStore, parts: int) -> str:
    """An upload of the key by somebody else, with so many parts up; its id."""
    place = {"Bucket": store.bucket.name, "Key": store.prefix + KEY}
    place["UploadId"] = store.bucket.client.create_multipart_upload(**place)["UploadId"]
    for number in range(parts):
        store.bucket.client.upload_part(**place, PartNumber=number + 1, Body=LARGE[:PART_BYTES])
    return place["UploadId"]


def _open_ids(store: BucketStore) -> list[str]:
    return [upload.upload_id for upload in store.bucket.started_uploads("")]


def test_who_is_done_first_wins_and_the_other_ends_its_own_upload_and_is_told(
    store: BucketStore, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow one begins while the quick one is at work, and stands still until that one is done."""
    real_check, real_call, mine = s3objects._compare_checksum, S3Bucket.call, threading.local()
    one_is_up, quick_is_done, begun = threading.Event(), threading.Event(), []

    def wait_for_the_other(*asked: object) -> None:
        real_check(*asked)  # type: ignore[arg-type]
        if mine.name == "quick":
            if not slow:
                slow.append(pool.submit(put, "slow"))
            assert one_is_up.wait(PATIENCE_S)
        else:
            one_is_up.set()
            assert quick_is_done.wait(PATIENCE_S)

    def counting(bucket: S3Bucket, operation: str, *more: object, **named: object) -> object:
        if operation == "create_multipart_upload":
            begun.append(mine.name)
        return real_call(bucket, operation, *more, **named)  # type: ignore[arg-type]

    def put(name: str) -> bool:
        mine.name = name
        try:
            return store.put(KEY, large)
        finally:
            if name == "quick":
                quick_is_done.set()

    monkeypatch.setattr(s3objects, "_compare_checksum", wait_for_the_other)
    monkeypatch.setattr(S3Bucket, "call", counting)
    slow: list[Future[bool]] = []
    with ThreadPoolExecutor(max_workers=2) as pool:
        told = {"quick": pool.submit(put, "quick").result(), "slow": slow[0].result()}
    assert told == {"quick": True, "slow": False}, "only one of them stored it"
    assert begun == ["quick", "slow"], "nobody had to begin anew"
    assert _open_ids(store) == []
    store.check(KEY)


def test_who_fails_takes_back_its_own_upload_and_no_other(
    store: BucketStore, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[str] = []

    def begin_another_and_fail(*_: object) -> None:
        others.extend(_begin(store, parts) for parts in (0, 1))
        raise StoreError("a checksum that differs")

    monkeypatch.setattr(s3objects, "_compare_checksum", begin_another_and_fail)
    with pytest.raises(StoreError, match="a checksum that differs"):
        store.put(KEY, large)
    assert sorted(_open_ids(store)) == sorted(others)


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_an_upload_whose_begin_was_not_answered_is_taken_back_and_one_with_a_part_is_not(
    ends: str, store: BucketStore, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server took the begin and the answer was lost: what has a part is of somebody who had an answer."""
    others: list[str] = []
    real, before = store.bucket.client.create_multipart_upload, _begin(store, 0)

    def lose_the_first_answer(**asked: object) -> object:
        answer = real(**asked)
        if not others:
            others.append(_begin_raw())
            raise ConnectionResetError("the answer is lost")
        if ends == "badly":
            raise OSError("and so are all others")
        return answer

    def _begin_raw() -> str:
        place = {"Bucket": store.bucket.name, "Key": store.prefix + KEY}
        place["UploadId"] = real(**place)["UploadId"]
        store.bucket.client.upload_part(**place, PartNumber=1, Body=LARGE[:PART_BYTES])
        return str(place["UploadId"])

    monkeypatch.setattr(store.bucket.client, "create_multipart_upload", lose_the_first_answer)
    if ends == "well":
        assert store.put(KEY, large)
    else:
        with pytest.raises((StoreAway, StoreError)):
            store.put(KEY, large)
    assert sorted(_open_ids(store)) == sorted([before, *others])
