"""The losses beside the classifier's, as the params weigh them. They look at this rank's part of a batch only."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from faceloop.training.classes import ClassTable
from faceloop.training.distilling import cosine_distillation, relational_distillation
from faceloop.training.learner import ExtraLoss
from faceloop.training.metric_losses import CentreLoss, TripletMining, triplet_loss
from faceloop.training.preparing import Preparation
from faceloop.training.start.starting import start_from_pack
from faceloop.training.train_params import TrainParams
from faceloop.vision.packs import load_pack


@dataclass(frozen=True, slots=True, kw_only=True)
class _Triplets:
    weight: float
    mining: TripletMining
    margin: float
    seed: int

    def __call__(self, features: Tensor, labels: Tensor, images_rgb: Tensor) -> Tensor:
        return self.weight * triplet_loss(features, labels, mining=self.mining, margin=self.margin, seed=self.seed)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Distillation:
    """The teacher sees the same crops, prepared as its own pack wants them, in float32 and eval mode."""

    weight: float
    teacher: nn.Module
    preparation: Preparation
    compare: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, features: Tensor, labels: Tensor, images_rgb: Tensor) -> Tensor:
        with torch.no_grad():
            taught = self.teacher(self.preparation.pixels(images_rgb))
        return self.weight * self.compare(features, taught)


def extra_losses(params: TrainParams, device: torch.device) -> tuple[ExtraLoss, ...]:
    """Those with a weight and no parameters of their own. Raises as `start_from_pack` does for the teacher."""
    wanted = params.extras
    found: list[ExtraLoss] = []
    if wanted.triplet_weight:
        mining, margin = wanted.triplet_mining, wanted.triplet_margin
        found.append(_Triplets(weight=wanted.triplet_weight, mining=mining, margin=margin, seed=params.seed))
    if wanted.teacher is not None and (wanted.distil_weight or wanted.distil_relations_weight):
        pack = load_pack(wanted.teacher, accept_licence=params.accept_licence, insightface_root=None)
        start = start_from_pack(pack)
        teacher = start.module.eval().requires_grad_(False).to(device)
        preparation = Preparation(preprocessing=start.preprocessing)
        for weight, compare in (
            (wanted.distil_weight, cosine_distillation),
            (wanted.distil_relations_weight, relational_distillation),
        ):
            if weight:
                found.append(_Distillation(weight=weight, teacher=teacher, preparation=preparation, compare=compare))
    return tuple(found)


def centre_loss(params: TrainParams, dimension: int, classes: int, table: ClassTable | None) -> CentreLoss | None:
    """With a weight: centres of its own, which begin where the classifier's do."""
    if not params.extras.centre_weight:
        return None
    made = CentreLoss(dimension, classes, seed=params.seed)
    if table is not None:
        made.centres.data.copy_(table.centres[:, 0])
    return made
