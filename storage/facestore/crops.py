"""Crop stores: one LMDB a batch with, for each best shot, the aligned crop and a wider one for people to look at."""

from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from facestore.images import UInt8Array, decode_jpeg, encode_jpeg
from facestore.lmdbfile import LmdbReader, LmdbWriter
from facestore.seal import seal, unseal

CropKind = Literal["aligned", "context"]
CROPS_FILE = "crops.lmdb"
_PREFIX: dict[CropKind, str] = {"aligned": "a:", "context": "c:"}
_JPEG_QUALITY: dict[CropKind, int] = {"aligned": 95, "context": 85}


def _key(kind: CropKind, face_id: str) -> bytes:
    return (_PREFIX[kind] + face_id).encode()


class CropWriter:
    """Writes one batch. Aligned crops are (112, 112, 3) RGB uint8, context crops any size."""

    def __init__(self, batch_dir: Path) -> None:
        self._lmdb = LmdbWriter(batch_dir / CROPS_FILE)

    def put(self, kind: CropKind, face_id: str, image_rgb: UInt8Array) -> None:
        self._lmdb.put(_key(kind, face_id), seal({}, encode_jpeg(image_rgb, _JPEG_QUALITY[kind])))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lmdb.__exit__(kind, error, trace)


class CropReader:
    """Reads crops of an artifact by their key `BATCH/FACE_ID`."""

    def __init__(self, crops_dir: Path) -> None:
        self._dir = crops_dir
        self._stores: dict[str, LmdbReader] = {}

    def jpeg(self, kind: CropKind, crop_key: str) -> bytes:
        """The stored JPEG, hash checked; raises ShardCorrupt."""
        batch, _, face_id = crop_key.partition("/")
        if batch not in self._stores:
            self._stores[batch] = LmdbReader(self._dir / batch / CROPS_FILE)
        _, payload = unseal(self._stores[batch].get(_key(kind, face_id)), crop_key)
        return bytes(payload)

    def image(self, kind: CropKind, crop_key: str) -> UInt8Array:
        """The crop as RGB uint8 (h, w, 3)."""
        return decode_jpeg(self.jpeg(kind, crop_key))

    def close(self) -> None:
        for store in self._stores.values():
            store.close()
        self._stores.clear()
