"""suspects: photos that do not fit the folder, named after a person, that they lie in.

Each photo is compared with the rest of its folder (itself and its repeats left out) and with every other folder, in
standard deviations above strangers. A folder may hold two people: only its largest group of like photos speaks for it.
Confident learning (Northcutt et al. 2021) finds label errors by the same disagreement, there of a trained classifier.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from faceloop.audit.foldergroups import Company, company_in_folders
from faceloop.clustering.calibration import Calibration
from faceloop.clustering.knn import SearchParams, nearest

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]

SuspectReason = Literal[
    "same_picture_elsewhere",  # the picture lies in the folder of somebody else, too
    "looks_like",  # resembles another folder as one person resembles himself, and that folder more than its own
    "two_people",  # its folder holds two groups of the same size: one of them is wrong
    "nobody_here",  # resembles its folder no more than strangers do
    "weak",  # resembles its folder less than one person does
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Photos:
    """Photos with at least one face, and their faces in rows."""

    paths: tuple[str, ...]  # p
    folders: Int64Array  # (p,) folder of each photo, 0..f-1
    folder_names: tuple[str, ...]  # f
    photo_of_face: Int64Array  # (n,) 0..p-1, every photo at least once
    size_px: Float32Array  # (n,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one recogniser saw of the faces."""

    vectors: Float32Array  # (n, d) unit norm
    calibration: Calibration


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLimits:
    """Where doubt begins, in standard deviations above strangers."""

    same_sigmas: float  # one person resembles himself at least so much
    stranger_sigmas: float  # below, it may be anybody
    duplicate_similarity: float  # cosine of a picture that repeats another
    search: SearchParams


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """One photo that may lie in the wrong folder. Rows are those of the given faces and photos."""

    photo: int
    face: int  # the face that is taken for the person
    reason: SuspectReason
    score: float  # sigmas: the lower, the more suspect
    own_sigmas: float | None  # likeness to the rest of its folder; None where there is no rest
    other_folder: int | None  # the folder it resembles most
    other_sigmas: float | None
    agreeing: int  # recognisers that doubt it
    recognisers: int
    is_stranger_bigger: bool  # a bigger face is on the photo


def find_suspects(photos: Photos, looks: Sequence[Look], limits: AuditLimits) -> list[Suspect]:
    """Every doubtful photo, most doubtful first, by path where equal.

    Scores are means over the recognisers; the first one chooses the face and names the look-alike. The cost is linear
    in photos but for one search of folders.
    """
    if not photos.paths:
        return []
    chosen, biggest = _chosen_faces(photos, looks[0])
    seen = [
        company_in_folders(
            look.vectors[chosen], photos.folders, look.calibration, limits.same_sigmas, limits.duplicate_similarity
        )
        for look in looks
    ]
    others = [
        _best_other(look, chosen, found, photos.folders, limits.search) for look, found in zip(looks, seen, strict=True)
    ]
    own = np.mean([found.own_sigmas for found in seen], axis=0)  # NaN where alone
    other = np.mean([sigmas for _, sigmas in others], axis=0)
    repeated = _repeats_elsewhere(looks[0].vectors[chosen], photos.folders, limits)
    scores = _scores(own, other, limits)
    scores = np.where(repeated, np.minimum(scores, 0), scores)  # one of the two folders is surely wrong
    doubts = np.sum(
        [_scores(s.own_sigmas, o, limits) < limits.same_sigmas for s, (_, o) in zip(seen, others, strict=True)], axis=0
    )
    other_folder = others[0][0]
    found = []
    for photo in range(len(photos.paths)):
        reason = _reason(
            own[photo], other[photo], scores[photo], bool(seen[0].is_tied[photo]), bool(repeated[photo]), limits
        )
        if reason is None:
            continue
        has_other = bool(np.isfinite(other[photo]))
        found.append(
            Suspect(
                photo=photo,
                face=int(chosen[photo]),
                reason=reason,
                score=float(scores[photo]),
                own_sigmas=None if np.isnan(own[photo]) else float(own[photo]),
                other_folder=int(other_folder[photo]) if has_other else None,
                other_sigmas=float(other[photo]) if has_other else None,
                agreeing=int(doubts[photo]),
                recognisers=len(looks),
                is_stranger_bigger=bool(chosen[photo] != biggest[photo]),
            )
        )
    return sorted(found, key=lambda suspect: (round(suspect.score, 4), photos.paths[suspect.photo]))


def _scores(own: NDArray[np.floating], other: NDArray[np.floating], limits: AuditLimits) -> NDArray[np.floating]:
    """Likeness to the own folder, less what the best other folder has above it and above the likeness of one person.

    A photo without company has the likeness of one person with himself: only another folder speaks against it.
    """
    likeness: NDArray[np.floating] = np.where(np.isnan(own), limits.same_sigmas, own)
    less: NDArray[np.floating] = likeness - np.maximum(other - np.maximum(likeness, limits.same_sigmas), 0)
    return less


def _reason(
    own: float, other: float, score: float, is_tied: bool, is_repeated: bool, limits: AuditLimits
) -> SuspectReason | None:
    if is_repeated:
        return "same_picture_elsewhere"
    if score >= limits.same_sigmas:
        return None
    if other >= limits.same_sigmas and not other <= own:  # NaN: alone
        return "looks_like"
    if is_tied:
        return "two_people"
    return "nobody_here" if own < limits.stranger_sigmas else "weak"


def _chosen_faces(photos: Photos, look: Look) -> tuple[Int64Array, Int64Array]:
    """The face of each photo that most resembles the rest of its folder, and the biggest one: both (p,) rows."""
    order = np.lexsort((-photos.size_px, photos.photo_of_face))
    _, first = np.unique(photos.photo_of_face[order], return_index=True)
    biggest = order[first]
    folders = len(photos.folder_names)
    sums = np.zeros((folders, look.vectors.shape[1]), np.float32)
    np.add.at(sums, photos.folders, look.vectors[biggest])
    own_folder = photos.folders[photos.photo_of_face]
    rest = sums[own_folder] - look.vectors[biggest][photos.photo_of_face]
    likeness = np.einsum("nd,nd->n", look.vectors, rest)
    best_first = np.lexsort((-photos.size_px, -likeness.round(5), photos.photo_of_face))
    _, first = np.unique(photos.photo_of_face[best_first], return_index=True)
    return best_first[first].astype(np.int64), biggest.astype(np.int64)


def _best_other(
    look: Look, chosen: Int64Array, found: Company, folders: Int64Array, search: SearchParams
) -> tuple[Int64Array, NDArray[np.floating]]:
    """The folder, not its own, that each photo resembles most, (p,), and how much in sigmas, -inf without one."""
    near = nearest(look.vectors[chosen], found.folder_means, 2, search)
    is_other = (near.index >= 0) & (near.index != folders[:, None])
    similarity = np.where(is_other, near.similarity, -np.inf)
    best = similarity.argmax(axis=1)
    rows = np.arange(len(chosen))
    sigmas = (similarity[rows, best] - look.calibration.impostor_mean) / look.calibration.impostor_sd
    return near.index[rows, best], sigmas


def _repeats_elsewhere(vectors: Float32Array, folders: Int64Array, limits: AuditLimits) -> NDArray[np.bool_]:
    """Whether a photo nearly repeats one of another folder, (p,)."""
    near = nearest(vectors, vectors, 8, limits.search)
    is_repeat = (near.similarity >= limits.duplicate_similarity) & (near.index >= 0)
    result: NDArray[np.bool_] = (is_repeat & (folders[near.index] != folders[:, None])).any(axis=1)
    return result
