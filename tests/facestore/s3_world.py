"""A store in an empty bucket of the running S3 server."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from facestore.ids import sha256_hex
from facestore.objects import BucketStore, open_store

PART_BYTES = 5 << 20  # S3's smallest


@contextmanager
def store_for(name: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketStore]:
    """`name` is the test's own. What is larger than 1 MiB goes up in parts, and comes down in ranges of 2 MiB."""
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr("facestore.s3objects.SINGLE_PUT_BYTES", 1 << 20)
    monkeypatch.setattr("facestore.s3objects.PART_BYTES", PART_BYTES)
    monkeypatch.setattr("facestore.s3objects.RANGE_BYTES", 2 << 20)
    opened = open_store(f"s3://s3-{sha256_hex(name.encode())[:20]}-{os.getpid()}/p", may_link=False)
    assert isinstance(opened, BucketStore)
    opened.bucket.make()
    yield opened
    opened.bucket.client.close()
