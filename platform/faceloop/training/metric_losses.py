"""Losses on embeddings themselves, beside the classifier's: triplets of a P×K batch, and the centre loss.

They look within this rank's batch only. All work on unit vectors, where Euclidean distance d and cosine c say the
same (d² = 2 − 2c), since only directions are compared later.
"""

import math
from hashlib import sha256
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from facestore.errors import DataError

TripletMining = Literal["batch_hard", "semi_hard", "distance_weighted"]

# Below this squared distance two embeddings are equal up to rounding: the root's slope there is infinite.
_MIN_SQUARED_DISTANCE = 1e-8
# Wu et al. 2017: nearer negatives count as if this far, for the variance; farther ones teach nothing.
_NEAREST_DRAWN = 0.5
_FARTHEST_DRAWN = 1.4


def triplet_loss(
    features: Tensor, class_indices: Tensor, *, mining: TripletMining, margin: float, seed: int = 0
) -> Tensor:
    """Mean of max(0, margin + d(anchor, positive) − d(anchor, negative)), a scalar; 0 where no triplet exists.

    `features` (B, D) raw, `class_indices` (B,) int64; distances are in [0, 2]. How triplets are chosen:
    `batch_hard`, an anchor's farthest positive and nearest negative (Hermans et al. 2017);
    `semi_hard`, for each pair the nearest negative that is farther than the positive, else the farthest (FaceNet,
    Schroff et al. 2015);
    `distance_weighted`, for each pair a negative drawn such that all distances are alike (Wu et al. 2017), by `seed`
    and the batch's classes: the same batch draws the same, on a resume too.
    """
    if features.ndim != 2 or class_indices.shape != features.shape[:1]:
        raise DataError(
            f"features {tuple(features.shape)}, class indices {tuple(class_indices.shape)}: (B, D) and (B,)"
        )
    unit = functional.normalize(features)
    distances = (2.0 - 2.0 * unit @ unit.T).clamp_min(_MIN_SQUARED_DISTANCE).sqrt()
    is_same = class_indices[:, None] == class_indices[None, :]
    is_positive = is_same & ~torch.eye(len(features), dtype=torch.bool, device=features.device)
    if mining == "batch_hard":
        return _batch_hard(distances, is_positive, ~is_same, margin)
    anchors, positives = torch.nonzero(is_positive & (~is_same).any(dim=1)[:, None], as_tuple=True)
    if not len(anchors):
        return features.sum() * 0.0
    with torch.no_grad():
        if mining == "semi_hard":
            negatives = _semi_hard(distances[anchors], distances[anchors, positives], ~is_same[anchors])
        else:
            drawn = _uniform(len(anchors), len(features), seed=seed, class_indices=class_indices)
            negatives = _drawn_by_distance(
                distances[anchors], ~is_same[anchors], dimension=features.shape[1], drawn=drawn
            )
    gaps = distances[anchors, positives] - distances[anchors, negatives]
    return functional.relu(gaps + margin).mean()


def _batch_hard(distances: Tensor, is_positive: Tensor, is_negative: Tensor, margin: float) -> Tensor:
    has_both = is_positive.any(dim=1) & is_negative.any(dim=1)
    if not bool(has_both.any()):
        return distances.sum() * 0.0
    farthest = distances.masked_fill(~is_positive, -math.inf).amax(dim=1)[has_both]
    nearest = distances.masked_fill(~is_negative, math.inf).amin(dim=1)[has_both]
    return functional.relu(farthest - nearest + margin).mean()


def _semi_hard(distances: Tensor, positive: Tensor, is_negative: Tensor) -> Tensor:
    """The chosen negative (pairs,) for `distances` (pairs, B)."""
    is_farther = is_negative & (distances > positive[:, None])
    nearest = distances.masked_fill(~is_farther, math.inf).argmin(dim=1)
    farthest = distances.masked_fill(~is_negative, -math.inf).argmax(dim=1)
    return torch.where(is_farther.any(dim=1), nearest, farthest)


def _uniform(pairs: int, faces: int, *, seed: int, class_indices: Tensor) -> Tensor:
    message = repr((seed, class_indices.tolist())).encode()
    generator = torch.Generator().manual_seed(int.from_bytes(sha256(message).digest()[:7], "big"))
    return torch.rand((pairs, faces), generator=generator, dtype=torch.float64).to(class_indices.device)


def _drawn_by_distance(distances: Tensor, is_negative: Tensor, *, dimension: int, drawn: Tensor) -> Tensor:
    """One negative of each pair (pairs,), drawn by 1 / density, from uniform numbers `drawn` (pairs, B) in [0, 1).

    On a sphere the distance of two random points has density dⁿ⁻²·(1 − d²/4)^((n−3)/2): nearly all lie at √2.
    """
    near = distances.double().clamp(_NEAREST_DRAWN, _FARTHEST_DRAWN)
    density = (dimension - 2) * near.log() + 0.5 * (dimension - 3) * (1 - near.square() / 4).log()
    is_useful = is_negative & (distances < _FARTHEST_DRAWN)
    weight = torch.where(is_useful.any(dim=1)[:, None], -density, torch.zeros_like(density))
    allowed = torch.where(is_useful.any(dim=1)[:, None], is_useful, is_negative)
    # The largest of log weight + Gumbel noise is a draw by weight, however small the weights.
    noise = -(-drawn.clamp(1e-300, 1 - 1e-16).log()).log()
    return (weight + noise).masked_fill(~allowed, -math.inf).argmax(dim=1)


class CentreLoss(nn.Module):
    """Pulls embeddings to a learnt centre of their class (Wen et al. 2016): mean of ½‖x − c‖² = 1 − cos.

    `centres` (classes, dimension), a parameter on every rank: for some ten thousand classes, not for a million.
    """

    def __init__(self, dimension: int, classes: int, *, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.centres = nn.Parameter(torch.randn((classes, dimension), generator=generator))

    def forward(self, features: Tensor, class_indices: Tensor) -> Tensor:
        """`features` (B, D) raw, `class_indices` (B,) int64 in [0, classes); a scalar in [0, 2]."""
        own = functional.normalize(self.centres[class_indices])
        return 0.5 * (functional.normalize(features) - own).square().sum(dim=1).mean()
