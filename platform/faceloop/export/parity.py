"""The parity gate: does another form of the model still say the same about faces as float32 does?

Measured where it matters, in embedding space: an error of the graph's outputs in decimals says nothing about whether
thresholds and clusters, which were set on float32, still hold.
"""

from dataclasses import dataclass

import numpy as np

from faceloop.export.pair_scores import (
    IntArray,
    acceptance,
    best_cut,
    grouping_f,
    is_genuine,
    pair_similarities,
)
from faceloop.export.params import Gate
from faceloop.vision.recogniser import Embeddings
from facestore.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """A form beside float32 on the same faces. TAR and its rate are None where a kind of pair is missing."""

    faces: int
    lost: int  # faces that only one of the two could embed
    cosine_mean: float
    cosine_p01: float
    cosine_min: float
    drift_mean: float
    drift_max: float
    far: float | None
    tar_reference: float | None
    tar: float | None
    cut: float  # cosine at which float32 groups best; the form must do with it
    f_reference: float
    f: float


def measure(
    reference: Embeddings, found: Embeddings, identities: IntArray, *, far: float, least_false_accepts: int
) -> Parity:
    """Compare embeddings of the same n crops, in the same order. Raises DataError when no face has both vectors."""
    both = reference.is_valid & found.is_valid
    lost = int((reference.is_valid != found.is_valid).sum())
    if not both.any():
        raise DataError("no face could be embedded by both forms of the model; look at the candidate before exporting")
    ours, theirs, people = reference.vectors[both], found.vectors[both], identities[both]
    cosines = (ours.astype(np.float64) * theirs).sum(axis=1)
    pairs, pairs_found, genuine = pair_similarities(ours), pair_similarities(theirs), is_genuine(people)
    drift = np.abs(pairs - pairs_found) if len(pairs) else np.zeros(1)
    before = acceptance(pairs, genuine, far=far, least_false_accepts=least_false_accepts)
    after = acceptance(pairs_found, genuine, far=far, least_false_accepts=least_false_accepts)
    cut = best_cut(ours, people)
    return Parity(
        faces=int(both.sum()),
        lost=lost,
        cosine_mean=_rounded(cosines.mean()),
        cosine_p01=_rounded(np.quantile(cosines, 0.01)),
        cosine_min=_rounded(cosines.min()),
        drift_mean=_rounded(drift.mean()),
        drift_max=_rounded(drift.max()),
        far=None if before is None else _rounded(before.far),
        tar_reference=None if before is None else _rounded(before.tar),
        tar=None if after is None else _rounded(after.tar),
        cut=cut,
        f_reference=_rounded(grouping_f(ours, people, cut=cut)),
        f=_rounded(grouping_f(theirs, people, cut=cut)),
    )


def shortfalls(parity: Parity, gate: Gate) -> tuple[str, ...]:
    """Why a form is refused, one sentence a broken limit; empty: it may be shipped."""
    found = [f"{parity.lost} faces lost their vector"] if parity.lost else []
    for name, least in (
        ("cosine_mean", gate.cosine_mean),
        ("cosine_p01", gate.cosine_p01),
        ("cosine_min", gate.cosine_min),
    ):
        value = getattr(parity, name)
        if value < least:
            found.append(f"{name} {value} < {least}")
    if parity.drift_mean > gate.drift_mean:
        found.append(f"drift_mean {parity.drift_mean} > {gate.drift_mean}")
    if parity.tar is not None and parity.tar_reference is not None:
        drop = _rounded(parity.tar_reference - parity.tar)
        if drop > gate.tar_drop:
            found.append(f"TAR at FAR {parity.far} fell by {drop} > {gate.tar_drop}")
    drop = _rounded(parity.f_reference - parity.f)
    if drop > gate.f_drop:
        found.append(f"clustering F fell by {drop} > {gate.f_drop}")
    return tuple(found)


def _rounded(value: float | np.floating) -> float:
    """Five decimals: finer differences are those of a library's order of summation."""
    return round(float(value), 5) + 0.0
