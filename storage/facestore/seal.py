"""One record of a store: header and payload behind their sha256, because LMDB has no checksum of its own."""

import hashlib
import json
import struct

from facestore.errors import ShardCorrupt
from facestore.ids import JsonValue, canonical_json

_DIGEST_BYTES = 32
_LENGTH = struct.Struct("<I")


def seal(header: dict[str, JsonValue], payload: bytes) -> bytes:
    """sha256 (32 bytes) · header length (uint32, little endian) · header (canonical JSON) · payload."""
    head = canonical_json(header).encode()
    body = _LENGTH.pack(len(head)) + head + payload
    return hashlib.sha256(body).digest() + body


def unseal(record: bytes | memoryview, name: str) -> tuple[dict[str, JsonValue], memoryview]:
    """Header and payload (a view, no copy) of a sealed record.

    Raises ShardCorrupt, naming the record, when the hash or the layout does not hold.
    """
    view = memoryview(record)
    body = view[_DIGEST_BYTES:]
    if len(body) < _LENGTH.size or hashlib.sha256(body).digest() != bytes(view[:_DIGEST_BYTES]):
        raise ShardCorrupt(f"record {name}: bytes do not match their sha256; rebuild the shard")
    (length,) = _LENGTH.unpack(body[: _LENGTH.size])
    start = _LENGTH.size + length
    try:
        header = json.loads(bytes(body[_LENGTH.size : start]))
    except ValueError as error:
        raise ShardCorrupt(f"record {name}: its header is not JSON; rebuild the shard") from error
    if start > len(body) or not isinstance(header, dict):
        raise ShardCorrupt(f"record {name}: its layout does not hold; rebuild the shard")
    return header, body[start:]


def payload_of(record: memoryview, sha256: bytes, name: str) -> memoryview:
    """The payload (a view, no copy) of the record that has this hash: what its header says is known from elsewhere.

    Raises ShardCorrupt, naming the record, when it is another record or its bytes have changed.
    """
    body = record[_DIGEST_BYTES:]
    if len(body) < _LENGTH.size or hashlib.sha256(body).digest() != sha256:
        raise ShardCorrupt(f"record {name}: bytes do not match the sha256 that the release states; rebuild the shard")
    return body[_LENGTH.size + int.from_bytes(body[: _LENGTH.size], "little") :]


def digest_in(record: memoryview) -> bytes:
    """The hash that a sealed record claims."""
    return bytes(record[:_DIGEST_BYTES])
