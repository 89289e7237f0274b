"""Bar B13: an S3 server behind a proxy that spoils answers in eight ways; no wrong byte is ever taken.

`FACELOOP_LONG=1` runs 50 operations a way (`make chaos`), else 10.
"""

import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.chaos.faulty_proxy import FAULTS, Fault, FaultyProxy

from facestore.errors import FaceloopError, ObjectCorrupt
from facestore.ids import media_key, sha256_hex
from facestore.objects import BucketStore
from facestore.patience import Patience
from facestore.s3 import S3Bucket

pytestmark = pytest.mark.integration

IS_LONG = bool(os.environ.get("FACELOOP_LONG"))
OPERATIONS = 50 if IS_LONG else 10
DEADLINE_S = 3.0
BUCKET = "chaos"
_PATIENCE = Patience(
    attempts=5,
    connect_s=1.0,
    read_s=0.8,
    overall_s=DEADLINE_S,
    slowest_bytes_per_s=1e9,
    pause_s=0.05,
    longest_pause_s=0.2,
)
_SMALL_BYTES, _LARGE_BYTES, _PART_BYTES = 40_000, (5 << 20) + 70_000, 5 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _World:
    proxy: FaultyProxy
    honest: BucketStore  # straight to the server
    small: list[bytes]  # that lie there
    large: bytes
    folder: Path

    def spoiled(self) -> BucketStore:
        """A client of its own, through the proxy."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{self.proxy.port}")
            return BucketStore(*S3Bucket.from_url(f"s3://{BUCKET}/store", _PATIENCE))


@pytest.fixture(scope="module")
def world(s3_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[_World]:
    folder = tmp_path_factory.mktemp("chaos")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_environment.items():
            patch.setenv(name, value)
        patch.setattr("facestore.s3objects.SINGLE_PUT_BYTES", 1 << 20)
        patch.setattr("facestore.s3objects.PART_BYTES", _PART_BYTES)
        patch.setattr("facestore.s3objects.RANGE_BYTES", 2 << 20)
        honest = BucketStore(*S3Bucket.from_url(f"s3://{BUCKET}/store"))
        honest.bucket.client.create_bucket(Bucket=BUCKET)
        chooser = random.Random(13)
        small, large = [chooser.randbytes(_SMALL_BYTES) for _ in range(4)], chooser.randbytes(_LARGE_BYTES)
        for payload in (*small, large):
            honest.put(_key(payload), _written(folder, payload))
        port = urlsplit(s3_environment["AWS_ENDPOINT_URL"]).port
        assert port is not None
        with FaultyProxy(upstream_port=port).running() as proxy:
            yield _World(proxy=proxy, honest=honest, small=small, large=large, folder=folder)


def _key(payload: bytes) -> str:
    return media_key(sha256_hex(payload))


def _written(folder: Path, payload: bytes) -> Path:
    path = folder / sha256_hex(payload)
    path.write_bytes(payload)
    return path


def _read(store: BucketStore, payload: bytes) -> str:
    with store.local(_key(payload)) as path:
        return "right" if path.read_bytes() == payload else "wrong"


def _operation(world: _World, store: BucketStore, fault: Fault, number: int) -> str:
    """One of five kinds; ways that turn bytes over meet reads only. What came of it: right, wrong or refused."""
    small, kinds = world.small[number % 4], 2 if fault.startswith("flip") else 5
    try:
        match number % kinds if fault != "flip_single" else 0:
            case 0:
                return _read(store, small if fault != "flip_ranged" else world.large)
            case 1:
                start, wanted = 3 * number, world.large[3 * number : 3 * number + 9_000]
                found = store.read_range(_key(world.large), start, len(wanted), sha256_hex(wanted))
                return "right" if found == wanted else "wrong"
            case 2:
                return _read(store, world.large)
            case 3:
                payload = random.Random(f"{fault} {number}").randbytes(_SMALL_BYTES)
            case _:
                size = _LARGE_BYTES if number % 10 == 4 else _SMALL_BYTES
                payload = random.Random(f"{fault} {number}").randbytes(size)
        store.put(_key(payload), _written(world.folder, payload))
        return _read(world.honest, payload)
    except FaceloopError:
        return "refused"


@pytest.mark.parametrize("fault", FAULTS)
def test_no_wrong_byte_is_taken_and_no_upload_is_left(fault: Fault, world: _World) -> None:
    store = world.spoiled()
    world.proxy.begin(fault, share=0.3, seed=FAULTS.index(fault))
    slowest_s, outcomes = {"read": 0.0, "write": 0.0}, Counter[str]()

    def timed(number: int) -> tuple[str, float]:
        began_s = time.monotonic()
        return _operation(world, store, fault, number), time.monotonic() - began_s

    with ThreadPoolExecutor(max_workers=8) as pool:
        for number, (outcome, took_s) in enumerate(pool.map(timed, range(OPERATIONS))):
            outcomes[outcome] += 1
            done = "read" if fault.startswith("flip") or number % 5 < 3 else "write"
            slowest_s[done] = max(slowest_s[done], round(took_s, 2))
    fired = world.proxy.fired
    world.proxy.begin(None, share=0.0, seed=0)
    store.bucket.client.close()
    left = world.honest.bucket.started_uploads("store/")
    print(json.dumps({"way": fault, "fired": fired, **outcomes, "slowest_s": slowest_s}))  # noqa: T201
    assert fired > 0
    assert outcomes["wrong"] == 0
    assert outcomes["right"] + outcomes["refused"] == OPERATIONS
    assert outcomes["right"] > 0
    assert left == []
    if IS_LONG:  # alone on its machine; a write that failed gets as long again to take its upload back
        assert slowest_s["read"] < 1.2 * DEADLINE_S
        assert slowest_s["write"] < 1.2 * 2 * DEADLINE_S


@pytest.mark.parametrize("fault", ["flip_single", "flip_ranged"])
def test_the_control_that_believes_what_arrives_takes_wrong_bytes(
    fault: Fault, world: _World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = world.spoiled()
    monkeypatch.setattr("facestore.s3objects._agrees", lambda *_: True)  # no hash, no ETag
    real = BucketStore.local
    monkeypatch.setattr("facestore.objects.sha256_of_key", lambda key: None)
    world.proxy.begin(fault, share=1.0, seed=1)
    payload = world.small[0] if fault == "flip_single" else world.large
    with real(store, _key(payload)) as path:
        found = path.read_bytes()
    world.proxy.begin(None, share=0.0, seed=0)
    assert found != payload
    assert len(found) == len(payload)
    monkeypatch.undo()
    world.proxy.begin(fault, share=1.0, seed=1)
    with pytest.raises(ObjectCorrupt), world.spoiled().local(_key(payload)):
        pytest.fail("took wrong bytes")
    world.proxy.begin(None, share=0.0, seed=0)
