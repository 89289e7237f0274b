"""labelling_quality: would the platform label better with the candidate than with the current recogniser?

Gold faces, whose identity is known, are clustered twice without that knowledge, each time with one model's vectors, as
stage `cluster` does it. Faces of one person are right or wrong together, so people are drawn, not faces, and the same
people for both models (paired cluster bootstrap: Davison and Hinkley, 1997, sections 3.8 and 2.4): a difference is
claimed only where its interval leaves out zero.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from faceloop.clustering.bootstrap import Interval, resampled_scores
from faceloop.clustering.metrics import contingency
from faceloop.evaluation.labelling_figures import (
    BoolArray,
    Difference,
    GoldFace,
    LabellingFigures,
    ModelVectors,
    Verdict,
)
from faceloop.evaluation.labelling_params import LabellingParams
from faceloop.evaluation.labelling_sides import cluster_side, hashed, side_figures
from facestore.errors import DataError

__all__ = ["GoldFace", "LabellingFigures", "ModelVectors", "labelling_failures", "labelling_quality"]

_LEAST_NORM = 1e-6
_PAIRWISE_F, _BCUBED_F = 2, 5  # columns of resampled_scores


def labelling_quality(
    gold: Sequence[GoldFace], current: ModelVectors, candidate: ModelVectors, params: LabellingParams
) -> LabellingFigures:
    """Cluster, score and question both sides. The outcome does not depend on the order of `gold`.

    A tracklet of which people gave parts to two identities is two nodes, as the platform holds it. With fewer people
    than `few_identities` figures are given and nothing is claimed; with fewer than two, nothing is measured. Raises
    DataError for vectors that are not one a face, and a face given twice.
    """
    for side in (current, candidate):
        if len(side.vectors) != len(gold) or side.is_valid.shape != (len(gold),):
            raise DataError(f"{len(side.vectors)} vectors of {side.contract_id} for {len(gold)} faces; embed them all")
    if len({face.face_id for face in gold}) < len(gold):
        raise DataError("a gold face is given twice; give each once")
    is_good = _has_length(current) & _has_length(candidate)
    # Hashed, so that neither file names nor the order of a table say who is who.
    order = sorted(np.flatnonzero(is_good).tolist(), key=lambda row: hashed(gold[row].face_id))
    faces = [gold[row] for row in order]
    people = sorted({face.identity_id for face in faces})
    figures = LabellingFigures(
        faces=len(faces),
        identities=len(people),
        left_out=len(gold) - len(faces),
        target_f=params.asked.target_f,
        questions_most=params.asked.most,
        current=None,
        candidate=None,
        pairwise_f=None,
        bcubed_f=None,
        verdict="too_few_identities",
        said=f"Not measured: {len(faces)} gold faces of {len(people)} people; a clustering needs two people at least.",
    )
    if len(people) < 2:
        return figures
    truth = np.array([people.index(face.identity_id) for face in faces], np.int64)
    sides = [cluster_side(side, faces, truth, np.array(order, np.int64), params) for side in (current, candidate)]
    drawn = [
        resampled_scores(contingency(side.labels, truth), resamples=params.resamples, seed=params.seed)
        for side in sides
    ]
    before, after = (side_figures(side, truth, params) for side in sides)
    tail = (1 - params.level) / 2

    def difference(column: int, value: float) -> Difference:
        low, high = np.quantile(drawn[1][:, column] - drawn[0][:, column], [tail, 1 - tail])
        return Difference(value=value, interval=Interval(low=float(low), high=float(high)))

    pairwise = difference(_PAIRWISE_F, after.pairwise_f - before.pairwise_f)
    bcubed = difference(_BCUBED_F, after.bcubed_f - before.bcubed_f)
    verdict = _verdict(bcubed, len(people), params.few_identities)
    return replace(
        figures,
        current=before,
        candidate=after,
        pairwise_f=pairwise,
        bcubed_f=bcubed,
        verdict=verdict,
        said=_said(verdict, bcubed, figures, params),
    )


def labelling_failures(figures: LabellingFigures) -> list[str]:
    """What a promotion's gate has against the candidate's labels; empty where they are not shown to be worse."""
    if figures.verdict != "worse" or figures.bcubed_f is None:
        return []
    found = figures.bcubed_f
    return [f"labelling BCubed F {found.value:+.4f} against the current model, at most {found.interval.high:+.4f}"]


def _has_length(side: ModelVectors) -> BoolArray:
    with np.errstate(invalid="ignore", over="ignore"):
        norms = np.linalg.norm(side.vectors.astype(np.float64), axis=1)
    return np.asarray(side.is_valid & np.isfinite(norms) & (norms > _LEAST_NORM), np.bool_)


def _verdict(found: Difference, identities: int, few: int) -> Verdict:
    if identities < few:
        return "too_few_identities"
    if found.interval.low > 0:
        return "better"
    return "worse" if found.interval.high < 0 else "no_difference_shown"


def _said(verdict: Verdict, found: Difference, figures: LabellingFigures, params: LabellingParams) -> str:
    low, high = found.interval.low, found.interval.high
    rests = (
        f"BCubed F {found.value:+.4f} [{low:+.4f}, {high:+.4f}], {figures.faces} faces of {figures.identities} people"
    )
    match verdict:
        case "too_few_identities":
            return f"Nothing is proven: {rests}, and {params.few_identities} people are the least for a claim."
        case "better":
            return f"The candidate labels better: {rests}."
        case "worse":
            return f"The candidate labels worse: {rests}."
        case "no_difference_shown":
            return f"No difference is shown: {rests}."
