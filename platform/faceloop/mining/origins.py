"""Which source gave each pair of a hard set, and poor faces whose label a track gave: tables beside the pairs."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from faceloop.mining.pairs import Pair
from faceloop.mining.quarry import MinedFace
from facestore.records import schema_of

ORIGINS, TRACK_FACES = "origins.parquet", "track_faces.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairOrigin:
    """Source of the pair of that kind and rank in `pairs.parquet`."""

    kind: str  # hard_positive, hard_negative
    rank: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackFace:
    """A poor face that has its label from the good faces around it in one tracklet."""

    rank: int  # of its pair
    face_id: str
    identity_id: str
    tracklet_id: str
    crop_key: str
    quality: float  # [0, 1]
    similarity: float  # cosine to the good face of its tracklet that it resembles most
    support_sigmas: float  # of the good faces by another tracklet


def write_origins(folder: Path, pairs: Sequence[Pair], faces: Sequence[MinedFace]) -> None:
    """Write both tables; `pairs` of each kind in their rank, of `faces` at least those of the pairs."""
    face_of = {face.face_id: face for face in faces}
    origins: list[PairOrigin] = []
    from_tracks: list[TrackFace] = []
    for kind in ("hard_positive", "hard_negative"):
        for rank, pair in enumerate(one for one in pairs if one.kind == kind):
            origins.append(PairOrigin(kind=kind, rank=rank, source=pair.source))
            if pair.source == "tracks":
                poor = min((face_of[name] for name in pair.faces), key=lambda face: (face.quality, face.face_id))
                from_tracks.append(
                    TrackFace(
                        rank=rank,
                        face_id=poor.face_id,
                        identity_id=poor.identity_id,
                        tracklet_id=poor.tracklet_id,
                        crop_key=poor.crop_key,
                        quality=poor.quality,
                        similarity=pair.similarity,
                        support_sigmas=pair.support_sigmas,
                    )
                )
    _write(folder / ORIGINS, PairOrigin, origins)
    _write(folder / TRACK_FACES, TrackFace, from_tracks)


def _write(path: Path, record: type, rows: Sequence[PairOrigin] | Sequence[TrackFace]) -> None:
    schema = schema_of(record)
    columns = [
        pa.array([getattr(row, field.name) for row in rows], type=schema.field(field.name).type)
        for field in fields(record)
    ]
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), path, compression="zstd", write_page_checksum=True)
