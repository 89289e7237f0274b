"""Ids come from content, so that the same input gives the same ids on every machine and every retry."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]

READ_BYTES = 1 << 20
ID_HEX = 32
BOX_GRID_PX = 4


def sha256_hex(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes, hex, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def canonical_json(value: JsonValue) -> str:
    """One spelling per value: sorted keys, no blanks, NaN refused (ValueError)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(value: JsonValue) -> str:
    """sha256 of the canonical JSON, hex."""
    return sha256_hex(canonical_json(value).encode())


def _short(*parts: str) -> str:
    return sha256_hex("\x1f".join(parts).encode())[:ID_HEX]


def media_key(footage_id: str) -> str:
    """Key of a footage's bytes in the object store."""
    return f"media/{footage_id[:2]}/{footage_id}"


def face_id(footage_id: str, pts_ms: int, detector_sha256: str, box_px: Iterable[float]) -> str:
    """Id of a detection: footage, time, detector, and the box on a 4 px grid. 32 hex digits."""
    grid = ",".join(str(round(edge / BOX_GRID_PX)) for edge in box_px)
    return _short("face", footage_id, str(pts_ms), detector_sha256, grid)


def tracklet_id(first_face_id: str) -> str:
    """Id of a tracklet, named after its first face. 32 hex digits."""
    return _short("tracklet", first_face_id)


def identity_id(seed_face_id: str, taken: int) -> str:
    """Opaque id of a new identity, `person-` and 16 hex digits.

    `taken` counts the ids already minted from this seed, so that a retired id is never issued again.
    """
    return "person-" + _short("identity", seed_face_id, str(taken))[:16]
