"""Hard negatives: faces of two identities that look most alike, told apart from one person with two identities.

Each face is compared with the faces of the few identities whose mean it resembles most, so the cost is linear in faces.
A pair is trusted when both faces resemble their own identity far more than the other's, and the identities as a whole
are no twins; or when one picture shows both, or people said so.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.knn import SearchParams, nearest, row_dots
from faceloop.mining.pairs import Doubt, Ground, Pair, place_of
from faceloop.mining.positives import Found, looked_at, pair_of
from faceloop.mining.quarry import Quarry
from faceloop.mining.request import MiningRequest

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
NEAR_IDENTITIES = 8  # of each face
_KEPT_OF_FACE = 16  # pairs of a face that are ranked with those of the others
_DOUBTFUL_OF_FACE = 2
_HELD = 500_000  # pairs in memory


def find_negatives(quarry: Quarry, request: MiningRequest, search: SearchParams, *, same_picture: float) -> Found:
    """The hardest pairs of each face. `same_picture` is the cosine from which two crops are one picture."""
    trusted: list[Pair] = []
    doubtful: list[Pair] = []
    left_out = Counter[str]()
    place = place_of(request)
    for pairs in _of_faces(quarry, request, search, same_picture, left_out):
        sure = sorted((pair for pair in pairs if pair.ground), key=place.of)
        unsure = sorted((pair for pair in pairs if pair.doubt), key=place.of)
        trusted += sure[:_KEPT_OF_FACE]
        doubtful += unsure[:_DOUBTFUL_OF_FACE]
        left_out["pairs_over_cap"] += len(sure[_KEPT_OF_FACE:])
        left_out["pairs_doubtful"] += len(unsure)
        for held in (trusted, doubtful):
            if len(held) >= 2 * _HELD:  # the easiest would hardly be chosen; memory stays bounded
                held.sort(key=place.of)
                left_out["pairs_over_cap"] += len(held) - _HELD if held is trusted else 0
                del held[_HELD:]
    return Found(trusted=tuple(trusted), doubtful=tuple(doubtful), left_out=left_out)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Identities:
    """What faces are weighed against."""

    means: Float32Array  # (i, d) of their vectors: a product is the mean cosine
    own: Float32Array  # (n,) mean cosine of each face to the rest of its identity, its tracklet left out if it can be
    near: Int64Array  # (n, k) identities that a face resembles most, -1 where there are fewer or nobody asks


def _identities(quarry: Quarry, asking: Int64Array, search: SearchParams) -> _Identities:
    every = np.arange(len(quarry.faces), dtype=np.int64)
    sums = np.zeros((len(quarry.identity_ids), quarry.vectors.shape[1]), np.float32)
    np.add.at(sums, quarry.identity, quarry.vectors)
    sizes = np.bincount(quarry.identity, minlength=len(sums))
    # people may have taken a tracklet apart: its faces of another identity are not its own
    _, part = np.unique(np.stack([quarry.identity, quarry.tracklet]), axis=1, return_inverse=True)
    part = part.reshape(-1).astype(np.int64)
    part_sums = np.zeros((int(part.max(initial=-1)) + 1, sums.shape[1]), np.float32)
    np.add.at(part_sums, part, quarry.vectors)
    mates = np.bincount(part)[part]
    to_identity = row_dots(quarry.vectors, every, sums, quarry.identity)
    to_part = row_dots(quarry.vectors, every, part_sums, part)
    others = sizes[quarry.identity] - mates
    among_others = (to_identity - to_part) / np.maximum(others, 1)
    own = np.where(others > 0, among_others, (to_part - 1) / np.maximum(mates - 1, 1))
    means = (sums / sizes[:, None]).astype(np.float32)
    near = np.full((len(every), NEAR_IDENTITIES), -1, np.int64)
    found = nearest(quarry.vectors[asking], means, NEAR_IDENTITIES + 1, search).index
    for row, codes in zip(asking.tolist(), found.tolist(), strict=True):
        others_near = [code for code in codes if code >= 0 and code != quarry.identity[row]][:NEAR_IDENTITIES]
        near[row, : len(others_near)] = others_near
    return _Identities(means=means, own=own.astype(np.float32), near=near)


def _of_faces(
    quarry: Quarry, request: MiningRequest, search: SearchParams, same_picture: float, left_out: Counter[str]
) -> Iterator[list[Pair]]:
    """Pairs of each face with faces of identities near it; each pair comes once."""
    if len(quarry.identity_ids) < 2:
        return
    rows_of = list(looked_at(quarry, request.seed, left_out))
    asking = np.concatenate(rows_of)
    needs_both = request.ends == "both"
    if needs_both:
        asking = asking[quarry.is_wanted[asking]]
    asking = asking[quarry.narrowing.is_focus[asking]]
    if not len(asking):
        return
    known = _identities(quarry, asking, search)
    is_spoken_of = np.array([face.face_id in quarry.word.tie_of for face in quarry.faces], np.bool_)
    low, high = request.similarity
    for row in asking.tolist():
        codes = known.near[row][known.near[row] >= 0]
        others = np.concatenate([np.empty(0, np.int64), *(rows_of[code] for code in codes.tolist())])
        if needs_both or not quarry.is_wanted[row]:
            others = others[quarry.is_wanted[others]]
        comes_again = (known.near[others] == quarry.identity[row]).any(axis=1)
        others = others[(others > row) | ~comes_again]
        others = others[quarry.narrowing.of(np.full(len(others), row, np.int64), others)]
        similarity = row_dots(quarry.vectors, np.full(len(others), row, np.int64), quarry.vectors, others)
        is_in = (similarity >= low) & (similarity <= high)
        is_new = similarity < same_picture
        left_out["pairs_beyond_similarity"] += int((~is_in).sum())
        left_out["pairs_of_one_picture_twice"] += int((is_in & ~is_new).sum())
        rest = others[is_in & is_new]
        yield _weighed(quarry, known, row, rest, similarity[is_in & is_new], is_spoken_of, request, left_out)


def _weighed(
    quarry: Quarry,
    known: _Identities,
    row: int,
    others: Int64Array,
    similarity: Float32Array,
    is_spoken_of: BoolArray,
    request: MiningRequest,
    left_out: Counter[str],
) -> list[Pair]:
    """Each pair with its ground or its doubt; without those that people say are one person."""
    size = len(others)
    here, home = np.full(size, row, np.int64), np.full(size, quarry.identity[row], np.int64)
    there = quarry.identity[others]
    gap = np.minimum(
        known.own[row] - row_dots(quarry.vectors, here, known.means, there),
        known.own[others] - row_dots(quarry.vectors, others, known.means, home),
    )
    gap = gap / np.float32(quarry.calibration.impostor_sd)
    are_twins = row_dots(known.means, home, known.means, there) >= quarry.calibration.cosine(request.sure.twin_sigmas)
    found = []
    for place, other in enumerate(others.tolist()):
        said = None
        if is_spoken_of[row] and is_spoken_of[other]:
            said = quarry.word.verdict(quarry.faces[row].face_id, quarry.faces[other].face_id)
        if said is True:
            left_out["pairs_people_join"] += 1
            continue
        ground: Ground | None = None
        doubt: Doubt | None = None
        if said is False:
            ground = "people"
        elif quarry.moment[row] == quarry.moment[other]:
            ground = "picture"
        elif are_twins[place]:
            doubt = "maybe_one_person"
        elif gap[place] < request.sure.gap_sigmas:
            doubt = "maybe_wrong_label"
        else:
            ground = "apart"
        cosine = float(similarity[place])
        found.append(pair_of(quarry, "hard_negative", row, other, cosine, float(gap[place]), ground, doubt))
    return found
