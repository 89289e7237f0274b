"""estimate_purity: the share of right labels in a release, from what the machine believes and what people checked."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceloop.identity.accept import lower_bound
from facestore.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Machine labels that were drawn at random and checked by people."""

    right: int
    wrong: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Purity:
    """An estimate of the share of right labels, and what it rests on."""

    share: float  # [0, 1]; of all samples
    machine_share: float  # of the machine's own labels
    mean_confidence: float  # of the machine's own labels
    machine_samples: int
    reviews: int
    reviewed_wrong: int
    proven_share: float  # of the machine's labels, at the asked confidence; 0 without reviews


def estimate_purity(
    confidence: NDArray[np.float64], is_by_people: NDArray[np.bool_], checked: Checked, *, confidence_level: float
) -> Purity:
    """`confidence` (n,) in [0, 1] and `is_by_people` (n,), of the samples in any order.

    What people said counts with its own confidence. The machine's mean confidence is taken down to the share that
    people found right, and up only as far as their reviews prove (Clopper-Pearson, one-sided, `confidence_level`).
    Raises DataError for shapes that differ.
    """
    if confidence.ndim != 1 or confidence.shape != is_by_people.shape:
        raise DataError(f"confidences of shape {confidence.shape}, sources of {is_by_people.shape}; run pack again")
    reviews = checked.right + checked.wrong
    machine = np.sort(confidence[~is_by_people])
    mean = float(machine.mean()) if len(machine) else 0.0
    share, proven = mean, 0.0
    if reviews:
        risk = 1 - confidence_level
        proven = float(lower_bound(np.array([checked.wrong]), np.array([reviews]), risk)[0])
        share = max(min(mean, checked.right / reviews), proven)
    people = float(np.sort(confidence[is_by_people]).sum())
    whole = (people + share * len(machine)) / len(confidence) if len(confidence) else 0.0
    return Purity(
        share=round(whole, 6),
        machine_share=round(share, 6),
        mean_confidence=round(mean, 6),
        machine_samples=len(machine),
        reviews=reviews,
        reviewed_wrong=checked.wrong,
        proven_share=round(proven, 6),
    )
