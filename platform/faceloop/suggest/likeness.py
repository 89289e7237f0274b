"""How alike two shown faces are now, and how likely one person: people's word first, then the present clusters."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.clusters import Clusters
from faceloop.clustering.knn import SearchParams, nearest
from faceloop.questions.chance import evidence
from faceloop.questions.selection import prior_chance
from faceloop.suggest.published import Published
from faceloop.suggest.word import Word
from facereview.kinds import Strip
from facereview.services.suggestion import NearIdentity

Int64Array = NDArray[np.int64]
SURE = 0.999  # of what people said: they may slip, so never 1
_CONFIDENCE_CLIP = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What a similarity is worth under the recogniser of the present clusters."""

    threshold: float  # cosine, less hubness, at which clusters merge
    confidence_scale: float  # cosine margin that is one unit of log-odds, > 0
    search: SearchParams


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """Of two faces."""

    similarity: float  # mean cosine of what they stand for, less hubness
    chance: float  # that they are one person, [0, 1]
    is_said: bool  # by people


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How things stand: the machine's tables and people's word."""

    published: Published
    word: Word
    scale: Scale
    version: str


def likeness(standing: Standing, first: Strip, second: Strip) -> Likeness | None:
    """Of the first faces of two strips; None where one is gone or was never embedded, and people said nothing.

    Judged as `questions/selection.py` does: faces of different clusters by their clusters, as a merge; within one
    cluster a side of one node by the confidence of its label, two larger sides as halves. Two faces of one picture are
    two persons.
    """
    said = standing.word.same(first.face_ids[0], second.face_ids[0])
    found = _compared(standing, first, second)
    if said is not None:
        similarity = 0.0 if found is None else found.similarity
        return Likeness(similarity=similarity, chance=SURE if said else 1 - SURE, is_said=True)
    if found is not None and _in_one_picture(standing.published, first.face_ids[0], second.face_ids[0]):
        return Likeness(similarity=found.similarity, chance=1 - SURE, is_said=False)
    return found


def nearest_identities(standing: Standing, face_id: str, count: int) -> tuple[NearIdentity, ...]:
    """The identities whose mean is most similar to what the face was clustered as, itself left out; none for a face
    without a vector. Those that people ruled out are not among them."""
    published = standing.published
    node = published.node_of(face_id)
    if node is None or len(published.identity_ids) == 0:
        return ()
    found = nearest(published.vectors[node : node + 1], published.identity_means, 2 * count + 1, standing.scale.search)
    near = []
    for identity in found.index[0][found.index[0] >= 0].tolist():
        rows = published.of_identities.at(identity)
        rest = rows[rows != node]
        best = published.best_face_ids[identity]
        said = standing.word.same(face_id, best)
        if len(rest) == 0 or said is False:
            continue
        similarity = _similarity(published.leaves, np.array([node]), rest)
        chance = SURE if said else _merge_chance(standing, similarity, smaller=1, gap=0.0)
        near.append(
            NearIdentity(
                face_id=face_id,
                identity_id=published.identity_ids[identity],
                best_face_id=best,
                similarity=similarity,
                chance=chance,
            )
        )
    return tuple(sorted(near, key=lambda one: (-one.chance, -one.similarity, one.identity_id))[:count])


def _are_together(published: Published, one: int, other: int) -> bool:
    label, identity = published.labels[one], published.identity_of_node[one]
    is_one_label = bool(label >= 0 and label == published.labels[other])
    return is_one_label or bool(identity >= 0 and identity == published.identity_of_node[other])


def _side(published: Published, node: int) -> Int64Array:
    label = int(published.labels[node])
    return np.array([node], np.int64) if label < 0 else published.of_clusters.at(label)


def _shown(published: Published, strip: Strip) -> Int64Array:
    rows = [published.node_of(face) for face in strip.face_ids]
    return np.array(sorted({row for row in rows if row is not None}), np.int64)


def _compared(standing: Standing, first: Strip, second: Strip) -> Likeness | None:
    """By geometry alone."""
    published = standing.published
    one, other = published.node_of(first.face_ids[0]), published.node_of(second.face_ids[0])
    if one is None or other is None:
        return None
    if not _are_together(published, one, other):
        sides = _side(published, one), _side(published, other)
        similarity = _similarity(published.leaves, *sides)
        gap = similarity - max(_best_rival(published, *sides), _best_rival(published, *sides[::-1]))
        chance = _merge_chance(standing, similarity, smaller=min(map(len, sides)), gap=gap)
        return Likeness(similarity=similarity, chance=chance, is_said=False)
    shown = _shown(published, first), _shown(published, second)
    similarity = _similarity(published.leaves, *shown)
    alone = [float(published.confidence[side[0]]) for side in shown if len(side) == 1]
    if alone:
        confidence = float(np.clip(min(alone), _CONFIDENCE_CLIP, 1 - _CONFIDENCE_CLIP))
        seen = evidence(np.array([np.log(confidence / (1 - confidence))]), 1.0)
        return Likeness(similarity=similarity, chance=float(prior_chance("outlier").of(seen)[0]), is_said=False)
    seen = evidence(np.array([similarity - standing.scale.threshold]), standing.scale.confidence_scale)
    return Likeness(similarity=similarity, chance=float(prior_chance("split").of(seen)[0]), is_said=False)


def _merge_chance(standing: Standing, similarity: float, *, smaller: int, gap: float) -> float:
    found = evidence(
        np.array([similarity - standing.scale.threshold]),
        standing.scale.confidence_scale,
        smaller=np.array([smaller], np.int64),
        gap=np.array([gap]),
    )
    return float(prior_chance("merge").of(found)[0])


def _best_rival(published: Published, side: Int64Array, other: Int64Array) -> float:
    """Similarity of a side to the nearest cluster that is neither of the two; -1 without one."""
    clusters, leaves = published.clusters, published.leaves
    weight = float(leaves.weights[side].sum())
    mean = leaves.vector_sums[side].sum(axis=0) / weight
    found = published.cluster_means @ mean - clusters.hubness_sums / clusters.weights
    found -= float(leaves.hubness_sums[side].sum()) / weight
    labels = published.labels[[int(side[0]), int(other[0])]]
    found[labels[labels >= 0]] = -1.0
    return float(found.max(initial=-1.0))


def _similarity(leaves: Clusters, first: Int64Array, second: Int64Array) -> float:
    """Mean cosine over pairs of faces, less the hubness of both sides."""
    weights = float(leaves.weights[first].sum()), float(leaves.weights[second].sum())
    sums = leaves.vector_sums[first].sum(axis=0), leaves.vector_sums[second].sum(axis=0)
    hubness = (
        float(leaves.hubness_sums[first].sum()) / weights[0] + float(leaves.hubness_sums[second].sum()) / weights[1]
    )
    return float(np.clip(float(sums[0] @ sums[1]) / (weights[0] * weights[1]) - hubness, -1, 1))


def _in_one_picture(published: Published, first: str, second: str) -> bool:
    one, other = published.row_of(first), published.row_of(second)
    return one is not None and other is not None and published.moment_of_face[one] == published.moment_of_face[other]
