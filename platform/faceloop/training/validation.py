"""A cheap look at the val split while training: verification at the lowest false accept rate its pairs can carry."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from faceloop.training.preparing import Preparation
from faceloop.vision.arrays import BoolArray, Float32Array
from facestore.errors import StageError
from facestore.shards import INDEX, ShardReader

_MOST_SAMPLES = 3000  # of the val split; 4.5 million pairs
_IMPOSTORS_BEYOND = 10  # pairs above the threshold that an estimate needs at least
_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Share `tar` of genuine pairs at or above the similarity that a share `far` of impostor pairs reaches."""

    tar: float
    far: float
    genuine_pairs: int
    impostor_pairs: int


@torch.no_grad()
def embed_rows(
    backbone: nn.Module, reader: ShardReader, rows: Sequence[int], preparation: Preparation, device: torch.device
) -> Iterator[Tensor]:
    """Unit vectors (b, dimension) float32 on the CPU of the crops in `rows`, a batch after another, in eval mode."""
    was_training = backbone.training
    backbone.eval()
    for start in range(0, len(rows), _BATCH):
        crops = [reader[row].image_rgb for row in rows[start : start + _BATCH]]
        images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
        yield normalize(backbone(preparation.pixels(images.to(device))).float(), dim=1).cpu()
    backbone.train(was_training)


class ValSplit:
    """The val split of a release, if it has genuine and impostor pairs enough; `len` is 0 where not."""

    def __init__(self, split: Path) -> None:
        self._reader = ShardReader(split) if (split / INDEX).is_file() else None
        samples = 0 if self._reader is None else len(self._reader)
        self._rows = list(range(0, samples, max(1, -(-samples // _MOST_SAMPLES))))
        labels = [self._reader[row].label.identity_id for row in self._rows] if self._reader else []
        _, codes = np.unique(np.array(labels, dtype=np.str_), return_inverse=True)
        self._upper = np.triu_indices(len(labels), k=1)
        self._is_genuine = codes[self._upper[0]] == codes[self._upper[1]]
        impostors = int((~self._is_genuine).sum())
        if not self._is_genuine.any() or impostors <= _IMPOSTORS_BEYOND:
            self._rows = []

    def __len__(self) -> int:
        return len(self._rows)

    def verify(self, backbone: nn.Module, preparation: Preparation, device: torch.device) -> Verification:
        """The model as it is now. FAR is ten impostor pairs of all there are: fewer say nothing."""
        if self._reader is None:
            raise StageError("train: there is no val split to verify on; ask len() first")
        vectors = torch.cat(list(embed_rows(backbone, self._reader, self._rows, preparation, device))).numpy()
        return verification((vectors @ vectors.T)[self._upper], self._is_genuine)


def verification(similarities: Float32Array, is_genuine: BoolArray) -> Verification:
    """Of pairs, (n,) each; needs more than ten impostor pairs and one genuine."""
    impostors = np.sort(similarities[~is_genuine])
    threshold = impostors[-_IMPOSTORS_BEYOND]
    genuine = similarities[is_genuine]
    return Verification(
        tar=float((genuine >= threshold).mean()),
        far=_IMPOSTORS_BEYOND / len(impostors),
        genuine_pairs=len(genuine),
        impostor_pairs=len(impostors),
    )
