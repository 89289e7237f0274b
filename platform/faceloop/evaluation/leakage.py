"""Leakage: nothing that is measured on may have been trained on, neither the person nor nearly the same picture."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.knn import SearchParams, nearest
from faceloop.evaluation.gold import Gold
from faceloop.evaluation.released import TrainFaces
from facestore.errors import DataError

_SEARCH = SearchParams(flat_rows_max=200_000, probes=8, block_rows=2048)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakedFace:
    """A gold face so near to a trained one that it is no test; both stay nameless."""

    gold_face_id: str
    train_face_id: str
    similarity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Leakage:
    """What train and gold share. Both must be empty for the figures to count."""

    identities: tuple[str, ...]  # in train and in gold
    faces: tuple[LeakedFace, ...]  # the nearest first

    @property
    def is_clean(self) -> bool:
        return not (self.identities or self.faces)


@dataclass(frozen=True, slots=True, kw_only=True)
class NearRow:
    """A row of vectors that nearly repeats `known_row` of others."""

    row: int
    known_row: int
    similarity: float


def near_duplicates(
    vectors: NDArray[np.float32], known: NDArray[np.float32], *, least_similarity: float
) -> list[NearRow]:
    """Rows of `vectors` (n, d) whose nearest row of `known` (m, d) is at `least_similarity` or above, each once.

    Unit or zero rows, f32. Raises DataError where they are of two dimensions.
    """
    if not len(vectors) or not len(known):
        return []
    if vectors.shape[1] != known.shape[1]:
        raise DataError("leakage: train and gold were embedded by different models; embed both by one")
    found = nearest(vectors, known, 1, _SEARCH)
    near = np.flatnonzero(found.similarity[:, 0] >= least_similarity).tolist()
    return [
        NearRow(row=row, known_row=int(found.index[row, 0]), similarity=float(found.similarity[row, 0])) for row in near
    ]


def leakage(
    gold: Gold,
    gold_vectors: NDArray[np.float32],
    train: TrainFaces,
    *,
    least_similarity: float,
) -> Leakage:
    """Compare gold, with its vectors (n, d) f32 unit or zero, with what was trained on.

    Each gold face whose nearest trained face is at `least_similarity` or above is a near-duplicate.
    Raises DataError where lengths differ or the vectors are of two dimensions.
    """
    if len(gold) != len(gold_vectors):
        raise DataError("leakage: ids and vectors differ in number; give one vector a face")
    shared = sorted(set(train.all_identity_ids) & set(gold.identity_ids))
    faces = [
        LeakedFace(
            gold_face_id=gold.face_ids[near.row],
            train_face_id=train.face_ids[near.known_row],
            similarity=round(near.similarity, 6),
        )
        for near in near_duplicates(gold_vectors, train.vectors, least_similarity=least_similarity)
    ]
    return Leakage(
        identities=tuple(shared), faces=tuple(sorted(faces, key=lambda face: (-face.similarity, face.gold_face_id)))
    )
