"""One gold set, two models: everything that is measured on it, candidate beside current."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.evaluation.comparison import Difference, difference
from faceloop.evaluation.embedding import Embedded
from faceloop.evaluation.evaluate_params import IntervalParams, SearchParams, SliceParams, SupportParams
from faceloop.evaluation.gold import Gold
from faceloop.evaluation.gold_sets import set_id
from faceloop.evaluation.identification import Enrolment, ResampledIdentification, enrol, identify, search
from faceloop.evaluation.pair_scores import score_pairs
from faceloop.evaluation.protocols import Folded, GivenPair, accuracy_by_folds
from faceloop.evaluation.resampling import Draws
from faceloop.evaluation.slices import FaceFacts, Model, SliceFigures, SliceSupport, slices_of
from faceloop.evaluation.verification import Support, verify

_MOST_LISTED = 1_000_000  # pairs that are looked at one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How everything is measured."""

    seed: int
    fars: tuple[float, ...]
    intervals: IntervalParams
    support: SupportParams
    search: SearchParams
    slices: SliceParams
    floors: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredModel:
    """One model on one gold set."""

    embedded: Embedded
    model: Model
    search: ResampledIdentification
    folded: Folded | None  # where the gold set gives pairs in folds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredGold:
    """Both models on one gold set. `tar_gains` by FAR, `fnir_gains` by FPIR (candidate minus current)."""

    gold: Gold
    candidate: MeasuredModel
    current: MeasuredModel
    tar_gains: tuple[Difference, ...]
    fnir_gains: tuple[Difference, ...]
    slices: tuple[SliceFigures, ...]
    labelled_by_people: float | None  # share of the faces; None: the folder says who it is


def measure_gold(
    gold: Gold,
    embedded: tuple[Embedded, Embedded],
    rules: Rules,
    *,
    facts: Sequence[FaceFacts] = (),
    pairs: Sequence[GivenPair] = (),
    labelled_by_people: float | None = None,
) -> MeasuredGold:
    """Measure (candidate's, current's) embeddings. `facts` one a face, or none at all: then there are no slices."""
    draws = Draws.seeded(
        len(gold.identity_ids),
        replicates=rules.intervals.replicates,
        seed=rules.seed,
        confidence=rules.intervals.confidence,
    )
    enrolment = enrol(gold, unmated_share=rules.search.unmated_share, templates=rules.search.templates, seed=rules.seed)
    candidate, current = (_measured(gold, vectors, enrolment, draws, rules, pairs) for vectors in embedded)
    sliced: tuple[SliceFigures, ...] = ()
    if facts:
        sliced = slices_of(
            gold,
            facts,
            candidate.model,
            current.model,
            draws,
            far_place=rules.fars.index(rules.slices.far),
            support=SliceSupport(least_pairs=rules.slices.pairs, least_people=rules.slices.people),
            floors=rules.floors,
        )
    return MeasuredGold(
        gold=gold,
        candidate=candidate,
        current=current,
        tar_gains=_tar_gains(candidate, current, draws.confidence),
        fnir_gains=_fnir_gains(candidate, current, draws.confidence),
        slices=sliced,
        labelled_by_people=labelled_by_people,
    )


def support_of(params: SupportParams) -> Support:
    return Support(
        least_false_accepts=params.false_accepts,
        least_people=params.people,
        least_genuine_pairs=params.genuine_pairs,
        least_identities=params.identities,
    )


def _measured(
    gold: Gold,
    embedded: Embedded,
    enrolment: Enrolment,
    draws: Draws,
    rules: Rules,
    pairs: Sequence[GivenPair],
) -> MeasuredModel:
    support = support_of(rules.support)
    scores = score_pairs(
        embedded.vectors,
        gold.identity,
        gold.occasion,
        largest_far=max(rules.fars),
        most_listed=_MOST_LISTED,
    )
    searches = search(embedded.vectors, gold.identity, enrolment, rules.search.fusion)
    return MeasuredModel(
        embedded=embedded,
        model=Model(scores=scores, verified=verify(scores, draws, rules.fars, support)),
        search=identify(
            searches,
            draws,
            tuple(rules.search.fpirs),
            support,
            templates=len(enrolment.gallery_rows),
            ranks=rules.search.ranks,
        ),
        folded=_folded(gold, embedded.vectors, pairs) if pairs else None,
    )


def _folded(gold: Gold, vectors: NDArray[np.float32], pairs: Sequence[GivenPair]) -> Folded:
    row_of = {face_id: row for row, face_id in enumerate(gold.face_ids)}
    first = vectors[[row_of[set_id(pair.first)] for pair in pairs]]
    second = vectors[[row_of[set_id(pair.second)] for pair in pairs]]
    similarities = np.einsum("pd,pd->p", first, second).astype(np.float32)
    is_genuine = np.array([pair.is_genuine for pair in pairs], np.bool_)
    return accuracy_by_folds(similarities, is_genuine, np.array([pair.fold for pair in pairs], np.int64))


def _tar_gains(candidate: MeasuredModel, current: MeasuredModel, confidence: float) -> tuple[Difference, ...]:
    ours, theirs = candidate.model.verified, current.model.verified
    return tuple(
        difference(mine.tar, other.tar, (ours.tars[:, place], theirs.tars[:, place]), confidence)
        for place, (mine, other) in enumerate(zip(ours.figures.at, theirs.figures.at, strict=True))
    )


def _fnir_gains(candidate: MeasuredModel, current: MeasuredModel, confidence: float) -> tuple[Difference, ...]:
    """By identification rate, 1 - FNIR: so that more is better everywhere."""
    ours, theirs = candidate.search, current.search
    return tuple(
        difference(
            None if mine.fnir is None else 1 - mine.fnir,
            None if other.fnir is None else 1 - other.fnir,
            (1 - ours.fnir[:, place], 1 - theirs.fnir[:, place]),
            confidence,
        )
        for place, (mine, other) in enumerate(zip(ours.figures.at, theirs.figures.at, strict=True))
    )
