"""Sealed records: what went in comes out, and nothing that was changed does."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facestore.errors import ShardCorrupt
from facestore.ids import JsonValue
from facestore.seal import seal, unseal

HEADERS: st.SearchStrategy[dict[str, JsonValue]] = st.dictionaries(
    st.text(max_size=8), st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8)), max_size=4
)


@given(header=HEADERS, payload=st.binary(max_size=64))
@settings(deadline=None, max_examples=60)
def test_a_record_gives_back_its_header_and_payload(header: dict[str, JsonValue], payload: bytes) -> None:
    found_header, found_payload = unseal(seal(header, payload), "r")
    assert found_header == header
    assert bytes(found_payload) == payload


@given(header=HEADERS, payload=st.binary(max_size=64), place=st.integers(0, 10_000), change=st.integers(1, 255))
@settings(deadline=None, max_examples=120)
def test_any_changed_byte_is_found(header: dict[str, JsonValue], payload: bytes, place: int, change: int) -> None:
    record = bytearray(seal(header, payload))
    record[place % len(record)] ^= change
    with pytest.raises(ShardCorrupt, match="record r"):
        unseal(bytes(record), "r")


@given(payload=st.binary(max_size=32), kept=st.integers(0, 10_000))
@settings(deadline=None, max_examples=60)
def test_any_truncation_is_found(payload: bytes, kept: int) -> None:
    record = seal({"a": 1}, payload)
    with pytest.raises(ShardCorrupt):
        unseal(record[: kept % len(record)], "r")


@pytest.mark.parametrize(
    "body", [b"\xff\xff\xff\xff{}", b"\x02\x00\x00\x00{]", b"\x02\x00\x00\x00[]", b"\x03\x00\x00\x00{}"]
)
def test_a_record_with_a_true_hash_and_a_wrong_layout_is_refused(body: bytes) -> None:
    with pytest.raises(ShardCorrupt):
        unseal(hashlib.sha256(body).digest() + body, "r")
