"""What is trained, put together: backbone, class centres, further losses, and the optimiser over them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from faceloop.training.metric_losses import CentreLoss
from faceloop.training.optimisers import Named, build_optimiser, restore_state, state_of
from faceloop.training.preparing import Preparation
from faceloop.training.ranks import World
from faceloop.training.sharded_classifier import ShardedClassifier
from faceloop.training.train_params import TrainParams


class Reading(Protocol):
    """A train split in batches; `reading.batches.TrainReader` is one."""

    @property
    def steps_per_epoch(self) -> int: ...

    def batches(self, epoch: int, first_step: int = 0) -> Iterator["Batching"]:
        """This rank's part of the steps of an epoch, from `first_step` on."""
        ...


class Batching(Protocol):
    """`images` uint8 (B, 3, 112, 112) RGB, `labels` int64 (B,), `confidences` float32 (B,)."""

    @property
    def images(self) -> Tensor: ...
    @property
    def labels(self) -> Tensor: ...
    @property
    def confidences(self) -> Tensor: ...


class ExtraLoss(Protocol):
    """A loss beside the classifier's, already weighted; a scalar, averaged over this rank's samples."""

    def __call__(self, features: Tensor, labels: Tensor, images_rgb: Tensor) -> Tensor: ...


class _Joint(nn.Module):
    """Backbone and centre loss as one module, so that DistributedDataParallel averages the gradients of both."""

    def __init__(self, backbone: nn.Module, centre_loss: CentreLoss | None) -> None:
        super().__init__()
        self.backbone, self.centre_loss = backbone, centre_loss

    def forward(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        features = self.backbone(pixels).float()  # losses are never in half precision
        if self.centre_loss is None:
            return features, torch.zeros((), device=features.device)
        return features, self.centre_loss(features, labels)


@dataclass(slots=True, kw_only=True)
class Learner:
    """`backbone`: pixels (B, 3, 112, 112) to features (B, dimension); `classifier`: features, labels, weights to loss.

    `centre_loss` has parameters too, alike on every rank; `extras` have none.
    """

    backbone: nn.Module
    classifier: ShardedClassifier
    preparation: Preparation
    params: TrainParams
    world: World
    centre_loss: CentreLoss | None = None
    extras: tuple[ExtraLoss, ...] = ()
    optimiser: Optimizer = field(init=False)
    _wrapped: nn.Module = field(init=False)

    def __post_init__(self) -> None:
        device = self.world.device
        self.backbone.to(device)
        self.classifier.to(device)
        joint = _Joint(self.backbone, self.centre_loss).to(device)
        self.optimiser = build_optimiser(
            self.named_backbone + self.named_further, self.named_rows, self.params.optimiser
        )
        self._wrapped = joint
        if self.world.ranks > 1:
            ids = [device.index] if device.type == "cuda" else None
            self._wrapped = DistributedDataParallel(joint, device_ids=ids)

    @property
    def named_backbone(self) -> list[Named]:
        return [(name, value) for name, value in self.backbone.named_parameters() if value.requires_grad]

    @property
    def named_rows(self) -> list[Named]:
        return [(name, value) for name, value in self.classifier.named_parameters() if value.requires_grad]

    @property
    def named_further(self) -> list[Named]:
        return [] if self.centre_loss is None else [("centre_loss.centres", self.centre_loss.centres)]

    def losses(self, batch: Batching, *, is_last: bool) -> tuple[Tensor, Tensor]:
        """The classifier's loss of a (part of a) batch, and the extra losses' sum. `is_last`: gradients meet now."""
        device = self.world.device
        labels = batch.labels.to(device)
        weights = batch.confidences.to(device) if self.params.loss.is_weighted else None
        images = batch.images.to(device, non_blocking=True)
        pixels = self.preparation.pixels(images)
        kind = {"off": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.params.amp]
        if isinstance(self._wrapped, DistributedDataParallel):
            self._wrapped.require_backward_grad_sync = is_last
        with torch.autocast(device.type, dtype=kind, enabled=self.params.amp != "off"):
            features, pull = self._wrapped(pixels, labels)
        main = self.classifier(features, labels, weights)
        extra = sum((one(features, labels, images) for one in self.extras), pull * self.params.extras.centre_weight)
        return main, extra

    def shared_state(self) -> dict[str, Tensor]:
        """What every rank holds alike: weights, buffers, the optimiser's memory of them."""
        weights = {f"backbone.{name}": value for name, value in self.backbone.state_dict().items()}
        weights |= {f"further.{name}": value.detach() for name, value in self.named_further}
        memory = state_of(self.optimiser, self.named_backbone + self.named_further)
        return weights | {f"optimiser.{key}": value for key, value in memory.items()}

    def rows_state(self) -> dict[str, Tensor]:
        """What this rank alone holds: its class rows."""
        weights = {f"classifier.{name}": value for name, value in self.classifier.state_dict().items()}
        return weights | {f"optimiser.{key}": v for key, v in state_of(self.optimiser, self.named_rows).items()}

    def restore(self, shared: Mapping[str, Tensor], rows: Mapping[str, Tensor]) -> None:
        """The inverse of the two."""
        self.backbone.load_state_dict(under(shared, "backbone."))
        self.classifier.load_state_dict(under(rows, "classifier."))
        for name, value in self.named_further:
            value.data.copy_(shared[f"further.{name}"])
        restore_state(self.optimiser, self.named_backbone + self.named_further, under(shared, "optimiser."))
        restore_state(self.optimiser, self.named_rows, under(rows, "optimiser."))


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose name begins so, without the beginning."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
