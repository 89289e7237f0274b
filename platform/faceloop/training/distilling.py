"""What a student learns from a teacher's embeddings of the same crops, no labels needed."""

import torch
from torch import Tensor
from torch.nn import functional

from facestore.errors import DataError

_MIN_LENGTH = 1e-8
_ANGLE_WEIGHT = 2.0  # as in the paper's experiments on metric learning


def cosine_distillation(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of 1 − cos between the two embeddings (B, D) of each crop, in [0, 2]; the teacher gets no gradient.

    The student takes over the teacher's space: its embeddings may then be compared with the teacher's. Raises
    DataError for unequal dimensions; `relational_distillation` takes those.
    """
    if student.shape != teacher.shape:
        raise DataError(
            f"student {tuple(student.shape)}, teacher {tuple(teacher.shape)}: give the student the teacher's "
            "dimension, or distil relations only"
        )
    return (1.0 - functional.cosine_similarity(student, teacher.detach())).mean()


def relational_distillation(student: Tensor, teacher: Tensor) -> Tensor:
    """Distances of pairs and angles of triples in a batch, as the teacher has them (RKD, Park et al. 2019).

    `student` (B, D), `teacher` (B, any dimension), raw; compared as unit vectors; the teacher gets no gradient.
    Distances are divided by their mean, the angles' part counts twice. Memory grows with B³: in a large batch the
    angles are of its first 64 crops. 0 for less than two crops.
    """
    if student.ndim != 2 or teacher.ndim != 2 or len(student) != len(teacher):
        raise DataError(f"student {tuple(student.shape)}, teacher {tuple(teacher.shape)}: one row a crop in both")
    if len(student) < 2:
        return student.sum() * 0.0
    unit = functional.normalize(student)
    with torch.no_grad():
        unit_teacher = functional.normalize(teacher)
        distances, angles = _distances(unit_teacher), _angles(unit_teacher[:64])
    return functional.smooth_l1_loss(_distances(unit), distances) + _ANGLE_WEIGHT * functional.smooth_l1_loss(
        _angles(unit[:64]), angles
    )


def _distances(unit: Tensor) -> Tensor:
    """(B, B), divided by the mean over pairs of different crops."""
    squared = (unit[:, None] - unit[None, :]).square().sum(dim=2)
    lengths = squared.clamp_min(_MIN_LENGTH**2).sqrt().masked_fill(_diagonal(unit), 0.0)
    pairs = len(unit) * (len(unit) - 1)
    return lengths / (lengths.sum() / pairs).clamp_min(_MIN_LENGTH)


def _angles(unit: Tensor) -> Tensor:
    """(B, B, B): cosine of the angle at the first crop between the two others."""
    edges = functional.normalize(unit[None, :] - unit[:, None], dim=2, eps=_MIN_LENGTH)
    return edges @ edges.transpose(1, 2)


def _diagonal(unit: Tensor) -> Tensor:
    return torch.eye(len(unit), dtype=torch.bool, device=unit.device)
