"""Crop stores: one LMDB a batch with, for each best shot, the aligned crop and a wider one for people to look at."""

from collections.abc import Collection
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from facestore.errors import KeyShredded
from facestore.images import UInt8Array, decode_jpeg, encode_jpeg
from facestore.keys import KeyRing, keyring_near
from facestore.lmdbfile import LmdbReader, LmdbWriter, Stamp
from facestore.publish import read_manifest
from facestore.seal import PayloadCodec, close_payload, is_closed, open_payload, unseal

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

    def copy(self, face_id: str, crop_key: str, crops: "CropReader") -> None:
        """Take over both crops of a face from another batch of the same root, to the byte. Raises ShardCorrupt."""
        for kind in _PREFIX:
            self._lmdb.put(_key(kind, face_id), crops.record(kind, crop_key))

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


def has_plain_crops(path: Path) -> bool:
    """Whether a crop store holds crops that are not sealed. One writer wrote it: its first record tells."""
    return any(not is_closed(unseal(record, key.decode())[0]) for key, record in islice(LmdbReader(path).items(), 1))


def seal_crops(path: Path, to: Path, ring: KeyRing) -> int:
    """Write a crop store anew, each crop sealed that was not; returns how many. Raises ShardCorrupt, StoreError."""
    ring.prepare({key.decode().partition(":")[2] for key, _ in LmdbReader(path).items()})
    kind_of = {prefix: kind for kind, prefix in _PREFIX.items()}
    sealed = 0
    with LmdbWriter(to) as writer:
        for key, record in LmdbReader(path).items():
            name = key.decode()
            header, payload = unseal(record, name)
            if not is_closed(header):
                face_id = name[2:]
                record = close_payload(ring, face_id, kind_of[name[:2]], header, bytes(payload))
                sealed += 1
            writer.put(key, record)
    return sealed


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
        face_id = crop_key.partition("/")[2]
        header, payload = unseal(self._stored(kind, crop_key), crop_key)
        return bytes(open_payload(self._payload, face_id, kind, header, payload))

    def record(self, kind: CropKind, crop_key: str) -> bytes:
        """A crop as it is stored, closed where its root is encrypted. Raises ShardCorrupt, also for a changed byte."""
        record = self._stored(kind, crop_key)
        unseal(record, crop_key)
        return record

    def _stored(self, kind: CropKind, crop_key: str) -> bytes:
        batch, _, face_id = crop_key.partition("/")
        if batch not in self._stores:
            told = self._files.get(f"{batch}/{CROPS_FILE}")
            stamp = None if told is None else Stamp(size_bytes=told[0], sha256=told[1])
            self._stores[batch] = LmdbReader(self._dir / batch / CROPS_FILE, stamp)
        return self._stores[batch].get(_key(kind, face_id))

    def image(self, kind: CropKind, crop_key: str) -> UInt8Array:
        """The crop as RGB uint8 (h, w, 3)."""
        return decode_jpeg(self.jpeg(kind, crop_key))

    def shredded(self, kind: CropKind, crop_keys: Collection[str]) -> set[str]:
        """Those crops that nobody can read any more, because their key was destroyed. Raises StoreError where keys are
        missing that never were."""
        if not isinstance(self._payload, KeyRing):
            return set()
        known = self._payload.known(key.partition("/")[2] for key in crop_keys)
        without = {key for key in crop_keys if key.partition("/")[2] not in known}
        gone = {key for key in without if not self._is_readable(kind, key)}
        self._payload.destroyed({key.partition("/")[2] for key in gone})
        return gone

    @property
    def is_sealed(self) -> bool:
        """Whether the root of these crops is encrypted."""
        return isinstance(self._payload, KeyRing)

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
