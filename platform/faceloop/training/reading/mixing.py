"""MixUp and CutMix for attribute heads: two faces in one picture, and labels that say how much of each.

Not for identities: a mixture of two people is nobody. Zhang et al., mixup, ICLR 2018; Yun et al., CutMix, ICCV 2019.
"""

import numpy as np
import torch
from torch import Tensor

from facestore.errors import DataError


def mixed_up(images: Tensor, targets: Tensor, *, alpha: float, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Each picture blended with another of the batch by a share from Beta(`alpha`, `alpha`).

    `images` (B, C, H, W) float, `targets` (B, classes) float, rows summing to 1 (one-hot or soft); both come back new.
    """
    partner, share = _partners(images, targets, alpha, generator)
    shares = torch.from_numpy(share).to(images.device, images.dtype)
    blended = torch.lerp(images[partner], images, shares[:, None, None, None])
    return blended, torch.lerp(targets[partner], targets, shares[:, None].to(targets.dtype))


def cut_and_mixed(
    images: Tensor, targets: Tensor, *, alpha: float, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A box of each picture taken from another of the batch; targets by the area that was kept. As `mixed_up`."""
    partner, share = _partners(images, targets, alpha, generator)
    height, width = images.shape[2:]
    boxed, kept = images.clone(), torch.ones(len(images), 1, dtype=targets.dtype, device=targets.device)
    middles = generator.random((len(images), 2))
    for row, (middle, cut) in enumerate(zip(middles, np.sqrt(1 - share), strict=True)):
        top, bottom = _ends(middle[0], cut, height)
        left, right = _ends(middle[1], cut, width)
        boxed[row, :, top:bottom, left:right] = images[partner[row], :, top:bottom, left:right]
        kept[row] = 1 - (bottom - top) * (right - left) / (height * width)
    return boxed, torch.lerp(targets[partner], targets, kept)


def _ends(middle: float, share: float, length: int) -> tuple[int, int]:
    low, high = middle * length - share * length / 2, middle * length + share * length / 2
    return max(0, round(low)), min(length, round(high))


def _partners(
    images: Tensor, targets: Tensor, alpha: float, generator: np.random.Generator
) -> tuple[Tensor, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    if images.ndim != 4 or targets.ndim != 2 or len(images) != len(targets) or not images.is_floating_point():
        raise DataError(
            f"pictures {tuple(images.shape)} {images.dtype} and targets {tuple(targets.shape)} do not fit: "
            "pass (B, C, H, W) floats and (B, classes)"
        )
    partner = torch.from_numpy(generator.permutation(len(images))).to(images.device)
    return partner, generator.beta(alpha, alpha, size=len(images))
