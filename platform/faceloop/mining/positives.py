"""Hard positives: two faces of one identity that look little alike, told apart from a wrong label by a witness.

A wrong member of an identity and a hard picture of the right person look the same to the pair alone. A third face tells
them apart: of one person there is nearly always a picture that resembles both; nobody resembles two people at once. The
cost is linear in faces: an identity with more than `LOOKED_AT` of them is mined through so many, drawn by the seed.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.knn import row_dots
from faceloop.mining.pairs import Doubt, Ground, Pair, PairKind, choose, place_of
from faceloop.mining.quarry import Quarry
from faceloop.mining.request import MiningRequest
from faceloop.questions.audits import lot

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
LOOKED_AT = 128  # faces of an identity
_DOUBTFUL = 2  # pairs of an identity that are kept to be asked about


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Pairs of one kind, trusted and doubtful, and what was left out by reason."""

    trusted: tuple[Pair, ...]
    doubtful: tuple[Pair, ...]
    left_out: Counter[str]


def find_positives(quarry: Quarry, request: MiningRequest) -> Found:
    """At most `per_identity` trusted and a few doubtful pairs of each identity, hardest first."""
    trusted: list[Pair] = []
    doubtful: list[Pair] = []
    left_out = Counter[str]()
    for rows in looked_at(quarry, request.seed, left_out):
        sure: list[Pair] = []
        unsure: list[Pair] = []
        for pair in _pairs(quarry, rows, request, left_out):
            (unsure if pair.doubt else sure).append(pair)
        kept = choose(
            sure,
            count=request.per_identity,
            per_identity=request.per_identity,
            per_face=request.per_face,
            place=place_of(request),
        )
        left_out["pairs_over_cap"] += kept.over_caps + kept.beyond_count
        left_out["pairs_doubtful"] += len(unsure)
        trusted += kept.pairs
        doubtful += sorted(unsure, key=place_of(request).of)[:_DOUBTFUL]
    return Found(trusted=tuple(trusted), doubtful=tuple(doubtful), left_out=left_out)


def looked_at(quarry: Quarry, seed: int, left_out: Counter[str]) -> Iterator[Int64Array]:
    """Rows of each identity, at most `LOOKED_AT`, sorted; the others are counted."""
    order = np.argsort(quarry.identity, kind="stable")
    starts = np.searchsorted(quarry.identity[order], np.arange(len(quarry.identity_ids) + 1))
    for code in range(len(quarry.identity_ids)):
        rows = order[starts[code] : starts[code + 1]]
        if len(rows) > LOOKED_AT:
            left_out["faces_of_crowded_identity"] += len(rows) - LOOKED_AT
            drawn = sorted(rows.tolist(), key=lambda row: lot(seed, quarry.faces[row].face_id))[:LOOKED_AT]
            rows = np.array(sorted(drawn), np.int64)
        yield rows.astype(np.int64)


def _pairs(quarry: Quarry, rows: Int64Array, request: MiningRequest, left_out: Counter[str]) -> Iterator[Pair]:
    size = len(rows)
    first, second = np.triu_indices(size, 1)
    similarity = row_dots(quarry.vectors, rows[first], quarry.vectors, rows[second])
    table = np.full((size, size), -np.inf, np.float32)
    table[first, second] = table[second, first] = quarry.sigmas(similarity)
    witness = _witnesses(table, quarry.tracklet[rows])
    wanted = quarry.is_wanted[rows]
    is_asked = quarry.narrowing.of(rows[first], rows[second])
    low, high = request.similarity
    for place, (one, other) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        is_wanted = wanted[one] and wanted[other] if request.ends == "both" else wanted[one] or wanted[other]
        if not (is_wanted and is_asked[place]):
            continue
        left, right = int(rows[one]), int(rows[other])
        said = quarry.word.verdict(quarry.faces[left].face_id, quarry.faces[right].face_id)
        if not low <= similarity[place] <= high:
            left_out["pairs_beyond_similarity"] += 1
        elif said is False:
            left_out["pairs_people_part"] += 1
        elif quarry.moment[left] == quarry.moment[right] and said is None:
            left_out["pairs_in_one_picture"] += 1
        else:
            seen = float(max(table[one, other], witness[one, other]))
            ground, doubt = _ground(quarry, left, right, said, seen >= request.sure.witness_sigmas)
            yield pair_of(quarry, "hard_positive", left, right, float(similarity[place]), seen, ground, doubt)


def _ground(
    quarry: Quarry, left: int, right: int, said: bool | None, is_seen: bool
) -> tuple[Ground | None, Doubt | None]:
    if said:
        return "people", None
    if not is_seen:
        return None, "maybe_wrong_label"
    return "track" if quarry.tracklet[left] == quarry.tracklet[right] else "witness", None


def _witnesses(table: Float32Array, tracklet: Int64Array) -> Float32Array:
    """(m, m) the best third face's lesser likeness to the two, -inf without one. Faces of their own tracklets do not
    bear witness, unless the two are of one."""
    best = np.full_like(table, -np.inf)
    is_mate = tracklet[:, None] == tracklet[None, :]
    for one in range(len(table)):
        common = np.minimum(table[one][None, :], table)  # (other, third); -inf where the third is one of the two
        is_outside = is_mate[one][:, None] | ~(is_mate[one][None, :] | is_mate)
        best[one] = np.where(is_outside, common, -np.inf).max(axis=1, initial=-np.inf)
    return best


def pair_of(
    quarry: Quarry,
    kind: PairKind,
    left: int,
    right: int,
    similarity: float,
    support: float,
    ground: Ground | None,
    doubt: Doubt | None,
) -> Pair:
    """The pair of two rows, the smaller face id first."""
    one, other = sorted((quarry.faces[left], quarry.faces[right]), key=lambda face: face.face_id)
    return Pair(
        kind=kind,
        first_face_id=one.face_id,
        second_face_id=other.face_id,
        first_identity_id=one.identity_id,
        second_identity_id=other.identity_id,
        similarity=round(similarity, 6),
        sigmas=round(float(quarry.sigmas(np.float32(similarity))), 4),  # type: ignore[arg-type]  # a scalar
        support_sigmas=round(support, 4),
        ground=ground,
        doubt=doubt,
        source=quarry.narrowing.source,
    )
