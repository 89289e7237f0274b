"""Crop stores: one LMDB a batch with, for each best shot, the aligned crop and a wider one for people to look at."""

from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from facestore.errors import KeyShredded
from facestore.images import UInt8Array, decode_jpeg, encode_jpeg
from facestore.keys import KeyRing, keyring_near
from facestore.lmdbfile import LmdbReader, LmdbWriter, Stamp
from facestore.publish import read_manifest
from facestore.seal import PayloadCodec, close_payload, open_payload, unseal

CropKind = Literal["aligned", "context"]
CROPS_FILE = "crops.lmdb"
_PREFIX: dict[CropKind, str] = {"aligned": "a:", "context": "c:"}
_JPEG_QUALITY: dict[CropKind, int] = {"aligned": 95, "context": 85}
_WAITING = 128  # crops whose keys are made in one transaction


def _key(kind: CropKind, face_id: str) -> bytes:
    return (_PREFIX[kind] + face_id).encode()


class CropWriter:
    """Writes one batch. Aligned crops are (112, 112, 3) RGB uint8, context crops any size.

    `payload` closes each JPEG (see `seal.PayloadCodec`); None: the keys of the root, as it is where it has none.
    """

    def __init__(self, batch_dir: Path, *, payload: PayloadCodec | None = None) -> None:
        self._payload = payload or keyring_near(batch_dir)
        self._lmdb = LmdbWriter(batch_dir / CROPS_FILE)
        self._waiting: list[tuple[CropKind, str, bytes]] = []

    def put(self, kind: CropKind, face_id: str, image_rgb: UInt8Array) -> None:
        self._waiting.append((kind, face_id, encode_jpeg(image_rgb, _JPEG_QUALITY[kind])))
        if not isinstance(self._payload, KeyRing) or len(self._waiting) >= _WAITING:
            self._flush()

    def _flush(self) -> None:
        if isinstance(self._payload, KeyRing):
            self._payload.prepare({face_id for _, face_id, _ in self._waiting})
        for kind, face_id, jpeg in self._waiting:
            self._lmdb.put(_key(kind, face_id), close_payload(self._payload, face_id, kind, {}, jpeg))
        self._waiting.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
        except BaseException:
            self._lmdb.close(commit=False)
            raise
        self._lmdb.__exit__(kind, error, trace)


class CropReader:
    """Reads crops of an artifact by their key `BATCH/FACE_ID`.

    `payload` opens what was closed by one; None: the keys of the root. Every crop is checked by its own sha256.
    `check` "hash": the file of its batch first, too, once in a process, where the artifact is published. For who reads
    most of them.
    """

    def __init__(
        self, crops_dir: Path, *, payload: PayloadCodec | None = None, check: Literal["records", "hash"] = "records"
    ) -> None:
        self._dir, self._payload = crops_dir, payload or keyring_near(crops_dir / CROPS_FILE)
        self._stores: dict[str, LmdbReader] = {}
        manifest = read_manifest(crops_dir) if check == "hash" else None
        self._files = {} if manifest is None else manifest.files

    def jpeg(self, kind: CropKind, crop_key: str) -> bytes:
        """The stored JPEG, hash checked; raises ShardCorrupt, StoreError where it is encrypted and no key was given."""
        batch, _, face_id = crop_key.partition("/")
        if batch not in self._stores:
            told = self._files.get(f"{batch}/{CROPS_FILE}")
            stamp = None if told is None else Stamp(size_bytes=told[0], sha256=told[1])
            self._stores[batch] = LmdbReader(self._dir / batch / CROPS_FILE, stamp)
        header, payload = unseal(self._stores[batch].get(_key(kind, face_id)), crop_key)
        return bytes(open_payload(self._payload, face_id, kind, header, payload))

    def image(self, kind: CropKind, crop_key: str) -> UInt8Array:
        """The crop as RGB uint8 (h, w, 3)."""
        return decode_jpeg(self.jpeg(kind, crop_key))

    def shredded(self, kind: CropKind, crop_keys: Collection[str]) -> set[str]:
        """Those crops that nobody can read any more, because their key was destroyed."""
        if not isinstance(self._payload, KeyRing):
            return set()
        known = self._payload.known(key.partition("/")[2] for key in crop_keys)
        return {key for key in crop_keys if key.partition("/")[2] not in known and not self._is_readable(kind, key)}

    def _is_readable(self, kind: CropKind, crop_key: str) -> bool:
        """One that was written before its root was encrypted needs no key."""
        try:
            self.jpeg(kind, crop_key)
        except KeyShredded:
            return False
        return True

    def close(self) -> None:
        for store in self._stores.values():
            store.close()
        self._stores.clear()
