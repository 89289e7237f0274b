"""The last layer of training, its classes split over the ranks: Partial FC (An et al. 2022).

With a million identities the centres are larger than the backbone. Here each rank holds an equal share of them,
and only features, class indices and weights are exchanged: memory and work a rank fall with the number of ranks.
"""

from hashlib import sha256

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from faceloop.training.margins import Margin, nearest_subcentre, with_margin
from faceloop.training.sharded_softmax import Gathered, gather_batch, sharded_cross_entropy
from facestore.errors import ConfigError, DataError

_INIT_BLOCK_ROWS = 4096
_INIT_DEVIATION = 0.01
_MIN_LENGTH = 1e-12


def rows_of_rank(classes: int, *, rank: int, world_size: int) -> range:
    """The contiguous class rows of a rank; shares differ by at most one, the first ranks have the larger."""
    share, extra = divmod(classes, world_size)
    first = rank * share + min(rank, extra)
    return range(first, first + share + (rank < extra))


def _mixed(*parts: int) -> int:
    """One seed out of several numbers; neighbours give unrelated streams, on every machine the same."""
    return int.from_bytes(sha256(repr(parts).encode()).digest()[:7], "big")


class ShardedClassifier(nn.Module):
    """Margin softmax over `classes` centres, of which this rank holds `rows`.

    `centres`, the one parameter: (rows, sub_centres, dimension) float32, any length (only directions count). At the
    start, N(0, 0.01) by seed and row, so that it is the same on any number of ranks. `sample_rate` < 1: each step
    uses that share of this rank's rows, those of the batch always among them (optimiser momentum and weight decay
    still touch all rows). `draws` counts the samplings, lies in the state dict, and makes a resume draw on.

    With world_size > 1, `torch.distributed` is up and every rank calls `forward`, `gather_centres` and the backward
    pass together. The module must not be wrapped in DistributedDataParallel: its rows are nobody else's.
    Raises ConfigError for a value out of range, fewer classes than ranks among them.
    """

    centres: nn.Parameter
    draws: Tensor

    def __init__(
        self,
        dimension: int,
        classes: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        margin: Margin,
        scale: float = 64.0,
        sub_centres: int = 1,
        sample_rate: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not 0 <= rank < world_size:
            raise ConfigError(f"rank is {rank} of {world_size}; set it between 0 and world_size - 1")
        if classes < max(world_size, 2):
            raise ConfigError(f"{classes} classes on {world_size} ranks; at least 2, and one a rank, are needed")
        if dimension < 1 or sub_centres < 1 or scale <= 0 or not 0 < sample_rate <= 1:
            raise ConfigError(
                f"dimension {dimension}, sub_centres {sub_centres}, scale {scale}, sample_rate {sample_rate}: set the "
                "first two to 1 or more, scale above 0, sample_rate in (0, 1]"
            )
        self.classes, self.dimension, self.sub_centres = classes, dimension, sub_centres
        self.rank, self.world_size = rank, world_size
        self.margin, self.scale, self.sample_rate, self.seed = margin, scale, sample_rate, seed
        self.rows = rows_of_rank(classes, rank=rank, world_size=world_size)
        self.centres = nn.Parameter(self._initial_centres())
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64))

    def forward(self, features: Tensor, class_indices: Tensor, weights: Tensor | None = None) -> Tensor:
        """The loss, a scalar float32 equal on all ranks: the weighted mean over the faces of all ranks.

        `features` (B_local, dimension), raw; `class_indices` (B_local,) int64 in [0, classes); `weights` (B_local,)
        in [0, 1], the labels' confidence, None: all 1. B_local may differ by rank. The gradient of `features` is
        world_size times the true one, as DistributedDataParallel divides by it; that of `centres` is the true one.
        Raises DataError for a class index out of range.
        """
        if weights is None:
            weights = torch.ones(len(features), device=features.device)
        self._check(features, class_indices, weights)
        batch = gather_batch(
            features.float(), class_indices, weights.float(), rank=self.rank, world_size=self.world_size
        )
        is_here = (batch.class_indices >= self.rows.start) & (batch.class_indices < self.rows.stop)
        own_rows = torch.where(is_here, batch.class_indices - self.rows.start, -1)
        centres, own_columns = self._sampled(own_rows)
        return self._loss(batch, centres, own_columns)

    def _loss(self, batch: Gathered, centres: Tensor, own_columns: Tensor) -> Tensor:
        # The products are divided by the centres' lengths, not the centres before: the table is copied less often.
        lengths = torch.linalg.vector_norm(centres, dim=2).flatten().clamp_min(_MIN_LENGTH)
        flat = functional.linear(functional.normalize(batch.features), centres.flatten(0, 1)).float() / lengths
        cosines = nearest_subcentre(flat.reshape(len(flat), -1, self.sub_centres))
        return sharded_cross_entropy(
            with_margin(cosines, own_columns, self.margin),
            own_columns,
            batch.weights,
            scale=self.scale,
            world_size=self.world_size,
        )

    def _sampled(self, own_rows: Tensor) -> tuple[Tensor, Tensor]:
        """This step's centres (n, sub_centres, dimension), and each face's own column among them (-1: not here)."""
        if self.sample_rate == 1.0:
            return self.centres, own_rows
        positives = torch.unique(own_rows[own_rows >= 0])
        generator = torch.Generator().manual_seed(_mixed(self.seed, self.rank, int(self.draws)))
        self.draws += 1
        ranking = torch.rand(len(self.rows), generator=generator).to(own_rows.device)
        ranking[positives] = 2.0  # above any draw: the classes of the batch come first
        kept = max(round(self.sample_rate * len(self.rows)), len(positives), 1)
        chosen = ranking.topk(kept).indices.sort().values
        columns = torch.searchsorted(chosen, own_rows.clamp_min(0))
        return self.centres[chosen], torch.where(own_rows >= 0, columns, -1)

    @torch.no_grad()
    def gather_centres(self) -> Tensor:
        """All centres, (classes, sub_centres, dimension) float32 on the CPU of every rank."""
        whole = torch.empty((self.classes, self.sub_centres, self.dimension))
        for source in range(self.world_size):
            rows = rows_of_rank(self.classes, rank=source, world_size=self.world_size)
            part = self.centres.detach()
            if self.world_size > 1:
                part = part.clone() if source == self.rank else part.new_empty((len(rows), *part.shape[1:]))
                dist.broadcast(part, src=source)
            whole[rows.start : rows.stop] = part.cpu()
        return whole

    @torch.no_grad()
    def load_centres(self, centres: Tensor) -> None:
        """Take this rank's rows of a table of all classes: (classes, dimension), or with sub-centres between.

        The table may come from any number of ranks; a row without sub-centres is the first of them, and the others
        start around it (by seed and row: K equal ones would stay equal for ever). Raises DataError for another shape.
        """
        table = centres.unsqueeze(1) if centres.ndim == 2 else centres
        if table.ndim != 3 or len(table) != self.classes or table.shape[2] != self.dimension:
            raise DataError(
                f"centres are {tuple(centres.shape)}, this classifier has {self.classes} classes of dimension "
                f"{self.dimension}; give one row a class, in the order of class indices"
            )
        own = table[self.rows.start : self.rows.stop].to(self.centres)
        if own.shape[1] == self.sub_centres:
            self.centres.copy_(own)
        elif own.shape[1] == 1:
            length = own.norm(dim=2, keepdim=True).clamp_min(_INIT_DEVIATION)
            around = own + self._initial_centres().to(own) * length
            self.centres.copy_(torch.cat([own, around[:, 1:]], dim=1))
        else:
            raise DataError(f"centres have {own.shape[1]} sub-centres, this has {self.sub_centres}; keep the number")

    def _initial_centres(self) -> Tensor:
        """Drawn in blocks of rows, each by its own seed: no rank draws the whole table, all would draw the same."""
        parts = []
        for block in range(self.rows.start // _INIT_BLOCK_ROWS, (self.rows.stop - 1) // _INIT_BLOCK_ROWS + 1):
            generator = torch.Generator().manual_seed(_mixed(self.seed, block))
            drawn = torch.randn((_INIT_BLOCK_ROWS, self.sub_centres, self.dimension), generator=generator)
            first = block * _INIT_BLOCK_ROWS
            parts.append(drawn[max(self.rows.start - first, 0) : self.rows.stop - first] * _INIT_DEVIATION)
        return torch.cat(parts)

    def _check(self, features: Tensor, class_indices: Tensor, weights: Tensor) -> None:
        count = len(features)
        if features.shape != (count, self.dimension) or class_indices.shape != (count,) or weights.shape != (count,):
            raise DataError(
                f"features {tuple(features.shape)}, class indices {tuple(class_indices.shape)}, weights "
                f"{tuple(weights.shape)}: expected (B, {self.dimension}), (B,) and (B,)"
            )
        if count and (int(class_indices.min()) < 0 or int(class_indices.max()) >= self.classes):
            low, high = int(class_indices.min()), int(class_indices.max())
            raise DataError(
                f"class indices reach from {low} to {high}, the classifier has {self.classes} classes; "
                "train on the split whose class_index is set"
            )
