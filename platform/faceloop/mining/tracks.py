"""Tracks: a poor face between good ones of one tracklet is theirs, though it resembles nobody. The label is free.

The good faces must be beyond doubt without it: of one identity, and a face of another tracklet resembles one of them by
`witness_sigmas`, or people named them. The poor face lies between two good ones in time, so that a tracker which went
over to somebody else at an end is not believed, and resembles no other identity more than its own.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.knn import SearchParams, nearest, row_dots
from faceloop.mining.pairs import Pair, place_of
from faceloop.mining.positives import Found, pair_of
from faceloop.mining.quarry import Quarry
from faceloop.mining.request import MiningRequest

Int64Array = NDArray[np.int64]


def find_in_tracks(quarry: Quarry, request: MiningRequest, search: SearchParams) -> Found:
    """Each poor face with the good face of its tracklet that it resembles most, as a hard positive."""
    left_out = Counter[str]()
    means, own = _means(quarry)
    members: dict[int, list[int]] = defaultdict(list)
    for row, code in enumerate(quarry.tracklet.tolist()):
        members[code].append(row)
    found: list[Pair] = []
    for code in sorted(members):
        rows = np.array(members[code], np.int64)
        quality = np.array([quarry.faces[row].quality for row in members[code]])
        poor, good = rows[quality < request.track_quality], rows[quality >= request.track_quality]
        if len(good) < 2 or not len(poor) or len(np.unique(quarry.identity[rows])) > 1:
            continue
        support = _support(quarry, own[int(quarry.identity[rows[0]])], good)
        is_said = all(quarry.faces[row].face_id in quarry.word.tie_of for row in good.tolist())
        if support < request.sure.witness_sigmas and not is_said:
            left_out["tracklets_in_doubt"] += 1
            continue
        found += _of_poor(quarry, poor, good, support, means, search, left_out)
    low, high = request.similarity
    kept = [pair for pair in found if low <= pair.similarity <= high]
    left_out["pairs_beyond_similarity"] += len(found) - len(kept)
    return Found(trusted=tuple(sorted(kept, key=place_of(request).of)), doubtful=(), left_out=left_out)


def _of_poor(
    quarry: Quarry,
    poor: Int64Array,
    good: Int64Array,
    support: float,
    means: NDArray[np.float32],
    search: SearchParams,
    left_out: Counter[str],
) -> Iterator[Pair]:
    times = [quarry.faces[row].pts_ms for row in good.tolist()]
    nearest_identity = nearest(quarry.vectors[poor], means, 1, search).index[:, 0]
    for row, code in zip(poor.tolist(), nearest_identity.tolist(), strict=True):
        is_asked = quarry.is_wanted[row] and quarry.narrowing.is_focus[row] and not quarry.narrowing.is_barred[row]
        if not is_asked:
            continue
        if not min(times) < quarry.faces[row].pts_ms < max(times):
            left_out["faces_at_end_of_track"] += 1
        elif code != quarry.identity[row]:
            left_out["faces_maybe_of_another"] += 1
        else:
            dots = row_dots(quarry.vectors, np.full(len(good), row, np.int64), quarry.vectors, good)
            best = int(np.argmax(dots))
            yield pair_of(quarry, "hard_positive", row, int(good[best]), float(dots[best]), support, "track", None)


def _support(quarry: Quarry, of_identity: Int64Array, good: Int64Array) -> float:
    """Likeness, in sigmas, of the good faces to the best face of their identity outside the tracklet; -inf without."""
    outside = of_identity[quarry.tracklet[of_identity] != quarry.tracklet[good[0]]]
    if not len(outside):
        return float("-inf")
    left, right = np.repeat(good, len(outside)), np.tile(outside, len(good))
    return float(quarry.sigmas(row_dots(quarry.vectors, left, quarry.vectors, right)).max())


def _means(quarry: Quarry) -> tuple[NDArray[np.float32], list[Int64Array]]:
    """Unit mean of each identity (i, d), and its rows."""
    order = np.argsort(quarry.identity, kind="stable")
    starts = np.searchsorted(quarry.identity[order], np.arange(len(quarry.identity_ids) + 1))
    rows = [order[starts[code] : starts[code + 1]].astype(np.int64) for code in range(len(quarry.identity_ids))]
    sums = np.stack([quarry.vectors[one].sum(axis=0, dtype=np.float64) for one in rows])
    lengths = np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return (sums / lengths).astype(np.float32), rows
