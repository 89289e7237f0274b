"""The most doubtful pairs: clusters that resemble each other, and members that hardly resemble their own cluster."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faceloop.clustering.knn import SearchParams, knn_graph, nearest
from faceloop.reports.material import Tracklets
from facereview.questions import Reason, SamePersonQuestion, Side, same_person_question

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]
_RIVALS = 6  # neighbours looked at for each cluster
Moments = Callable[[Sequence[str]], set[tuple[str, int]]]  # tracklets → pictures (footage_id, pts_ms) they are in


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """Clustered tracklets in rows, and their clusters as weighted sums."""

    rows: Int64Array  # (m,) rows of the tracklets that have a cluster
    codes: Int64Array  # (m,) cluster 0..c-1 of each
    vectors: Float32Array  # (m, d)
    weights: Float32Array  # (m,) > 0
    sums: Float32Array  # (c, d) sum of weight × unit vector
    sum_weights: Float32Array  # (c,)
    by_code: Int64Array  # (m,) rows of this grouping, cluster after cluster
    ends: Int64Array  # (c + 1,) where each cluster begins in `by_code`

    def members(self, code: int) -> Int64Array:
        """Rows of this grouping that belong to a cluster."""
        return self.by_code[self.ends[code] : self.ends[code + 1]]

    def means(self) -> Float32Array:
        """(c, d); the inner product of two is the mean similarity of their pairs."""
        return (self.sums / self.sum_weights[:, None]).astype(np.float32)

    def own_similarity(self) -> Float32Array:
        """Mean similarity of each tracklet to the rest of its cluster, (m,); NaN for one that is alone."""
        rest_weights = self.sum_weights[self.codes] - self.weights
        is_alone = np.bincount(self.codes)[self.codes] == 1
        rest = self.sums[self.codes] - self.vectors * self.weights[:, None]
        own = np.einsum("nd,nd->n", self.vectors, rest) / np.where(is_alone, 1, rest_weights)
        return np.where(is_alone, np.nan, own).astype(np.float32)

    def rival_similarity(self, search: SearchParams) -> Float32Array:
        """Similarity of each tracklet to the nearest cluster that is not its own, (m,); NaN without one."""
        found = nearest(self.vectors, self.means(), 2, search)
        is_own = found.index == self.codes[:, None]
        others = np.where(is_own | (found.index < 0), -np.inf, found.similarity).max(axis=1, initial=-np.inf)
        return np.where(np.isfinite(others), others, np.nan).astype(np.float32)


def group(tracklets: Tracklets) -> Grouping | None:
    """The clusters of these tracklets; None where nothing is clustered."""
    rows = np.flatnonzero(tracklets.cluster_ids >= 0)
    if not len(rows):
        return None
    _, codes = np.unique(tracklets.cluster_ids[rows], return_inverse=True)
    vectors, weights = tracklets.vectors[rows], np.maximum(tracklets.weights[rows], np.float32(1e-6))
    sums = np.zeros((int(codes.max()) + 1, vectors.shape[1]), np.float32)
    np.add.at(sums, codes, vectors * weights[:, None])
    return Grouping(
        rows=rows,
        codes=codes.astype(np.int64),
        vectors=vectors,
        weights=weights,
        sums=sums,
        sum_weights=np.bincount(codes, weights=weights).astype(np.float32),
        by_code=np.argsort(codes, kind="stable").astype(np.int64),
        ends=np.concatenate([[0], np.cumsum(np.bincount(codes))]).astype(np.int64),
    )


def doubtful_pairs(
    tracklets: Tracklets, moments: Moments, *, threshold: float, limit: int, max_margin: float, search: SearchParams
) -> list[SamePersonQuestion]:
    """At most `limit` questions, most doubtful first: smallest margin to `threshold`, negative ones before all.

    Margin is `threshold - similarity` for two clusters and `similarity - threshold` for a member and its cluster;
    above `max_margin` there is no doubt. Each pair of identities (or lone clusters) is asked about once. Clusters
    that are seen in one picture together are two people, however alike, and are left out. Costs one kNN search
    over the clusters.
    """
    grouping = group(tracklets)
    if grouping is None:
        return []
    candidates = sorted([*_bridges(grouping, threshold, search), *_weak_members(grouping, threshold)])
    asked: set[tuple[str, str]] = set()
    questions: list[SamePersonQuestion] = []
    for margin, first, second in candidates:
        if len(questions) == limit or margin > max_margin:
            break
        names = tuple(sorted(_name(tracklets, grouping, code) for code in (first, second)))
        pair = (names[0], names[1])
        if pair in asked or (first != second and _seen_together(tracklets, grouping, moments, first, second)):
            continue
        asked.add(pair)
        questions.append(_question(tracklets, grouping, first, second, margin=margin, threshold=threshold))
    return questions


def _bridges(grouping: Grouping, threshold: float, search: SearchParams) -> list[tuple[float, int, int]]:
    """(margin, cluster, cluster) for each cluster and its nearest others."""
    near = knn_graph(grouping.means(), _RIVALS, params=search, min_similarity=-1.0)
    return [
        (round(threshold - similarity, 6), first, second)
        for first, second, similarity in zip(
            near.rows.tolist(), near.cols.tolist(), near.similarity.tolist(), strict=True
        )
    ]


def _weak_members(grouping: Grouping, threshold: float) -> list[tuple[float, int, int]]:
    """(margin, cluster, same cluster) of the weakest member of each cluster with company."""
    own = grouping.own_similarity()
    weakest: dict[int, float] = {}
    for code, similarity in zip(grouping.codes.tolist(), own.tolist(), strict=True):
        if similarity == similarity:  # not NaN: has company
            weakest[code] = min(weakest.get(code, similarity), similarity)
    return [(round(similarity - threshold, 6), code, code) for code, similarity in weakest.items()]


def _name(tracklets: Tracklets, grouping: Grouping, code: int) -> str:
    """Identity of a cluster's first member with one, else a name of its own."""
    members = grouping.rows[grouping.members(code)].tolist()
    return next((name for row in members if (name := tracklets.identity_ids[row])), f"cluster {code}")


def _seen_together(tracklets: Tracklets, grouping: Grouping, moments: Moments, first: int, second: int) -> bool:
    def of(code: int) -> set[tuple[str, int]]:
        return moments([tracklets.ids[row] for row in grouping.rows[grouping.members(code)].tolist()])

    return not of(first).isdisjoint(of(second))


def _question(
    tracklets: Tracklets, grouping: Grouping, first: int, second: int, *, margin: float, threshold: float
) -> SamePersonQuestion:
    if first == second:
        left, right = _weakest_and_typical(grouping, first)
        similarity = margin + threshold
    else:
        left, right = (_closest_to(grouping, code, other) for code, other in ((first, second), (second, first)))
        similarity = threshold - margin
    sides = [_side(tracklets, int(grouping.rows[row])) for row in (left, right)]
    return same_person_question(
        *sides, similarity=similarity, margin=margin, reason=_reason(sides, is_member=first == second)
    )


def _closest_to(grouping: Grouping, code: int, other: int) -> int:
    """Row of the member of `code` that most resembles cluster `other`."""
    members = grouping.members(code)
    return int(members[np.argmax(grouping.vectors[members] @ grouping.sums[other])])


def _weakest_and_typical(grouping: Grouping, code: int) -> tuple[int, int]:
    """The member that least resembles the rest, and the other one that most resembles it all."""
    members = grouping.members(code)
    own = grouping.own_similarity()[members]
    weakest = int(np.argmin(own))
    own[weakest] = -np.inf
    return int(members[weakest]), int(members[np.argmax(own)])


def _side(tracklets: Tracklets, row: int) -> Side:
    return Side(
        tracklet_id=tracklets.ids[row],
        face_id=tracklets.best_face_ids[row],
        identity_id=tracklets.identity_ids[row],
    )


def _reason(sides: list[Side], *, is_member: bool) -> Reason:
    if is_member:
        return "weak_member"
    with_identity = sum(side.identity_id is not None for side in sides)
    reasons: tuple[Reason, ...] = ("unknown_pair", "unknown_near_identity", "bridge_between_identities")
    return reasons[with_identity]
