"""1:N in an open set: who is it, or nobody we know? FNIR at FPIR, rank-1, CMC.

As NIST defines them (Grother, Ngan & Hanaoka, FRTE part 2, NISTIR 8271): FPIR is the share of searches of people
who are *not* enrolled that return anybody at or above the threshold; FNIR the share of searches of enrolled people
that do not return them within the first R at or above it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from faceloop.evaluation.gold import Gold, Int64Array
from faceloop.evaluation.resampling import Draws, Float64Array, Interval, rate_interval
from faceloop.evaluation.verification import Support, refusal
from facestore.errors import DataError
from facestore.ids import digest_of

Fusion = Literal["mean", "max"]
_PROBES = 512  # searched at once
_GALLERY = 8192  # templates looked at at once


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Enrolment:
    """Who is enrolled with which faces, and who searches. `rows` are rows of the gold."""

    gallery_rows: Int64Array  # sorted by identity
    gallery_identity: Int64Array  # of each
    mated_rows: Int64Array  # searches of enrolled people, by other faces
    unmated_rows: Int64Array  # searches of people who are not


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Searches:
    """What each search gave: all a rate needs, however large the gallery."""

    mated_identity: Int64Array
    mate_score: NDArray[np.float32]  # (mated,)
    mate_rank: Int64Array  # (mated,) 1: the mate came first; of equals the mate is last
    unmated_identity: Int64Array
    top_score: NDArray[np.float32]  # (unmated,)
    enrolled: int  # identities


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """FNIR at one FPIR. Refused: `refused` says why, and there is no number."""

    fpir: float
    fnir: float | None
    interval: Interval | None
    threshold: float | None
    refused: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identification:
    enrolled: int
    templates: int
    mated: int
    mated_people: int
    unmated: int
    unmated_people: int
    rank_one: float | None  # closed set: the mate came first, at whatever score
    rank_one_interval: Interval | None
    cmc: tuple[float, ...]  # share with the mate within the first 1, 2, … ranks
    at: tuple[Searched, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResampledIdentification:
    figures: Identification
    rank_one: Float64Array  # (replicates,)
    fnir: Float64Array  # (replicates, fpirs)


def enrol(gold: Gold, *, unmated_share: float, templates: int, seed: int) -> Enrolment:
    """Each person is enrolled or a stranger by the hash of the id, so that nobody changes sides when others come.

    Of those enrolled up to `templates` faces go into the gallery; faces of the same occasions do not search.
    Raises DataError for fewer than one template.
    """
    if templates < 1:
        raise DataError(f"{templates} templates a person; enrol at least 1")
    gallery: list[int] = []
    mated: list[int] = []
    unmated: list[int] = []
    by_identity = np.argsort(gold.identity, kind="stable")
    bounds = np.searchsorted(gold.identity[by_identity], np.arange(len(gold.identity_ids) + 1))
    for number, identity_id in enumerate(gold.identity_ids):
        rows = by_identity[bounds[number] : bounds[number + 1]].tolist()
        if int(digest_of([seed, identity_id])[:8], 16) / 16**8 < unmated_share:
            unmated += rows
            continue
        rows.sort(key=lambda row: digest_of([seed, gold.face_ids[row]]))
        enrolled: list[int] = []
        occasions: set[int] = set()
        for row in rows:
            if len(enrolled) < templates and int(gold.occasion[row]) not in occasions:
                enrolled.append(row)
                occasions.add(int(gold.occasion[row]))
        searching = [row for row in rows if int(gold.occasion[row]) not in occasions]
        gallery += enrolled
        mated += searching
    return Enrolment(
        gallery_rows=np.array(gallery, np.int64),
        gallery_identity=gold.identity[gallery] if gallery else np.empty(0, np.int64),
        mated_rows=np.array(mated, np.int64),
        unmated_rows=np.array(unmated, np.int64),
    )


def search(vectors: NDArray[np.float32], identity: Int64Array, enrolment: Enrolment, fusion: Fusion) -> Searches:
    """Search every probe through the gallery, in blocks. `vectors` (n, d) f32 unit or zero, `identity` (n,)."""
    templates, owners = vectors[enrolment.gallery_rows], enrolment.gallery_identity
    if fusion == "mean":
        templates, owners = _means(templates, owners)
    mated_identity = identity[enrolment.mated_rows]
    mate, rank = _mates(vectors[enrolment.mated_rows], mated_identity, templates, owners)
    top = np.full(len(enrolment.unmated_rows), -1.0, np.float32)
    for _, scores, rows in _person_scores(vectors[enrolment.unmated_rows], templates, owners):
        top[rows] = np.maximum(top[rows], scores.max(axis=1))
    return Searches(
        mated_identity=mated_identity,
        mate_score=mate,
        mate_rank=rank,
        unmated_identity=identity[enrolment.unmated_rows],
        top_score=top,
        enrolled=len(np.unique(owners)),
    )


def identify(
    searches: Searches, draws: Draws, fpirs: tuple[float, ...], support: Support, *, templates: int, ranks: int
) -> ResampledIdentification:
    """Rates with intervals over the people who search; the gallery stays as it is."""
    first = searches.mate_rank == 1
    mated_weights = draws.counts[:, searches.mated_identity]
    unmated_weights = draws.counts[:, searches.unmated_identity]
    rank_one = _weighted(first, mated_weights)
    people = len(np.unique(searches.mated_identity))
    strangers = len(np.unique(searches.unmated_identity))
    order = np.argsort(-searches.top_score, kind="stable")
    fnir = np.full((len(draws.counts), len(fpirs)), np.nan)
    at = []
    for place, fpir in enumerate(fpirs):
        refused = refusal(fpir, trials=len(order), people=strangers, support=support, what="people not enrolled")
        if people < support.least_identities:
            refused = f"{people:,} enrolled people search; at least {support.least_identities:,} are needed"
        if refused is not None:
            at.append(Searched(fpir=fpir, fnir=None, interval=None, threshold=None, refused=refused))
            continue
        threshold = _threshold(searches.top_score[order], np.ones(len(order)), fpir)
        missed = _missed(searches, threshold)
        for row in range(len(draws.counts)):
            drawn = _threshold(searches.top_score[order], unmated_weights[row, order], fpir)
            fnir[row, place] = _weighted(_missed(searches, drawn), mated_weights[row : row + 1])[0]
        share = float(missed.mean())
        interval = rate_interval(share, fnir[:, place], trials=len(missed), people=people, confidence=draws.confidence)
        at.append(Searched(fpir=fpir, fnir=share, interval=interval, threshold=threshold, refused=None))
    is_told = people >= support.least_identities
    right = float(first.mean()) if is_told else None
    figures = Identification(
        enrolled=searches.enrolled,
        templates=templates,
        mated=len(first),
        mated_people=people,
        unmated=len(order),
        unmated_people=strangers,
        rank_one=right,
        rank_one_interval=None
        if right is None
        else rate_interval(right, rank_one, trials=len(first), people=people, confidence=draws.confidence),
        cmc=tuple(float((searches.mate_rank <= rank).mean()) for rank in range(1, ranks + 1)) if is_told else (),
        at=tuple(at),
    )
    return ResampledIdentification(figures=figures, rank_one=rank_one, fnir=fnir)


def _means(templates: NDArray[np.float32], owners: Int64Array) -> tuple[NDArray[np.float32], Int64Array]:
    people, starts = np.unique(owners, return_index=True)
    if not len(people):
        return templates, owners
    sums = np.add.reduceat(templates.astype(np.float64), starts, axis=0)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(sums / np.where(norms > 0, norms, 1), np.float32), people


def _person_scores(
    probes: NDArray[np.float32], templates: NDArray[np.float32], owners: Int64Array
) -> Iterator[tuple[Int64Array, NDArray[np.float32], slice]]:
    """(people, scores (probes, people), slice of probes), each person whole in one block: its best template."""
    people, starts = np.unique(owners, return_index=True)
    ends = np.append(starts[1:], len(owners))
    first = 0
    while first < len(people):
        last = max(first + 1, int(np.searchsorted(ends, starts[first] + _GALLERY, side="right")))
        low, high = int(starts[first]), int(ends[last - 1])
        for start in range(0, len(probes), _PROBES):
            rows = slice(start, start + _PROBES)
            scores = probes[rows] @ templates[low:high].T
            yield people[first:last], np.maximum.reduceat(scores, starts[first:last] - low, axis=1), rows
        first = last


def _mates(
    probes: NDArray[np.float32], identity: Int64Array, templates: NDArray[np.float32], owners: Int64Array
) -> tuple[NDArray[np.float32], Int64Array]:
    mate = np.full(len(probes), -1.0, np.float32)
    for people, scores, rows in _person_scores(probes, templates, owners):
        place = np.searchsorted(people, identity[rows])
        is_here = people[np.minimum(place, len(people) - 1)] == identity[rows]
        mate[rows][is_here] = scores[np.flatnonzero(is_here), place[is_here]]
    rank = np.zeros(len(probes), np.int64)
    for _, scores, rows in _person_scores(probes, templates, owners):
        rank[rows] += (scores >= mate[rows, None]).sum(axis=1)  # the mate counts itself: rank 1 is first
    return mate, np.maximum(rank, 1)


def _threshold(falling: NDArray[np.float32], weights: NDArray[np.float64] | Int64Array, fpir: float) -> float:
    """The lowest score, of those seen, from which at most the share `fpir` of weighted searches returns anybody."""
    weight = np.cumsum(weights)
    if not len(weight) or weight[-1] == 0:
        return float("inf")
    over = np.flatnonzero(weight > fpir * weight[-1] + 1e-9)
    # The first search too many must stay below the threshold, and with it all that score the same.
    return float(np.nextafter(falling[over[0]], np.float32(np.inf))) if len(over) else -1.0


def _missed(searches: Searches, threshold: float) -> NDArray[np.bool_]:
    return np.asarray((searches.mate_rank > 1) | (searches.mate_score < threshold))


def _weighted(hits: NDArray[np.bool_], weights: Int64Array) -> Float64Array:
    total = weights.sum(axis=1).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((weights @ hits.astype(np.int64)) / total, np.float64)
