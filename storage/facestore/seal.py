"""One record of a store: header and payload behind their sha256, because LMDB has no checksum of its own."""

import hashlib
import json
import struct
from typing import Protocol

from facestore.errors import ShardCorrupt, StoreError
from facestore.ids import JsonValue, canonical_json

_DIGEST_BYTES = 32
_LENGTH = struct.Struct("<I")
_CLOSED = "closed"  # in a header: only a codec opens the payload
JPEG_START = b"\xff\xd8"


class PayloadCodec(Protocol):
    """Closes and opens the payload of a record: the seam where pictures are encrypted, one key a face.

    `kind` is what the payload is: `aligned`, `context` (crop stores) or `sample` (shards). The sha256 of a record is
    taken over the closed payload, so files and records are checked without any key. What was written without a codec
    is read as it is, so that a store may hold both. Must be picklable: readers go to workers.
    """

    def seal(self, face_id: str, kind: str, payload: bytes) -> bytes: ...
    def unseal(self, face_id: str, kind: str, sealed: bytes) -> bytes: ...


def close_payload(
    codec: PayloadCodec | None, face_id: str, kind: str, header: dict[str, JsonValue], payload: bytes
) -> bytes:
    """A sealed record; through `codec`, where there is one, and its header then says so."""
    if codec is None:
        return seal(header, payload)
    return seal({**header, _CLOSED: True}, codec.seal(face_id, kind, payload))


def is_closed(header: dict[str, JsonValue]) -> bool:
    """Whether only a codec opens the payload of this header's record."""
    return bool(header.get(_CLOSED, False))


def open_payload(
    codec: PayloadCodec | None, face_id: str, kind: str, header: dict[str, JsonValue], payload: memoryview
) -> bytes | memoryview:
    """The payload as it was given to `close_payload`; takes the mark out of `header`.

    Raises StoreError where it is closed and there is no codec, and what the codec raises.
    """
    if not header.pop(_CLOSED, False):
        return payload
    if codec is None:
        raise StoreError("the picture is encrypted and no key was given; read it through the root that has its keys")
    return codec.unseal(face_id, kind, bytes(payload))


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


def has_payload_as_it_is(payload: memoryview) -> bool:
    """Whether a payload is a JPEG, not one that a codec closed."""
    return payload[:2] == JPEG_START


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
