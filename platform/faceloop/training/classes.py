"""Classes that come and go between turns: centres and their optimiser state follow the identity, not the row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from facestore.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTable:
    """Class centres by identity: `centres` (classes, sub_centres, dimension) float32, and optimiser state alike.

    `identity_ids` in row order, no repeats. Raises DataError where shapes and names do not agree.
    """

    identity_ids: tuple[str, ...]
    centres: Tensor
    state: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        rows = {len(self.centres), *(len(values) for values in self.state.values())}
        if rows != {len(self.identity_ids)} or len(set(self.identity_ids)) != len(self.identity_ids):
            raise DataError(
                f"class table of {len(self.identity_ids)} identities holds {sorted(rows)} rows, or an identity twice; "
                "train from another candidate"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Succession:
    """How many classes stayed, came and went."""

    kept: int
    new: int
    gone: int


def succeed(
    before: ClassTable | None, identity_ids: Sequence[str], means: Tensor, *, sub_centres: int, seed: int
) -> tuple[ClassTable, Succession]:
    """The classes of this turn, in the order of `identity_ids`.

    Kept identities keep centre and optimiser state, bit for bit. A new one starts at the mean embedding of its
    samples, `means` (classes, dimension), as long as the kept centres are on average; its optimiser state is that of
    the rested (zeros: no momentum), in Adam's the squares too. Further sub-centres, and the centres of an earlier
    turn that had fewer, start beside the first (a tenth of its length away, from `seed`).
    """
    old = {} if before is None else {name: row for row, name in enumerate(before.identity_ids)}
    kept_rows = [(row, old[name]) for row, name in enumerate(identity_ids) if name in old]
    length = 1.0
    if before is not None and len(before.centres):
        length = float(before.centres[:, 0].norm(dim=1).mean())
    fresh = normalize(means.float(), dim=1) * length
    centres = _beside(fresh[:, None, :], sub_centres, seed)
    state: dict[str, Tensor] = {}
    if before is not None:
        now, then = (torch.tensor([pair[side] for pair in kept_rows], dtype=torch.long) for side in (0, 1))
        inherited = before.centres[then, :sub_centres]
        centres[now] = _beside(inherited, sub_centres, seed + 1)
        for key, values in before.state.items():
            state[key] = values.new_zeros((len(identity_ids), sub_centres, values.shape[-1]))
            state[key][now, : min(sub_centres, values.shape[1])] = values[then, :sub_centres]
    table = ClassTable(identity_ids=tuple(identity_ids), centres=centres, state=state)
    kept = len(kept_rows)
    return table, Succession(kept=kept, new=len(identity_ids) - kept, gone=len(old) - kept)


def _beside(centres: Tensor, sub_centres: int, seed: int) -> Tensor:
    """(classes, had, dimension) widened to `sub_centres`; what was there is not touched."""
    missing = sub_centres - centres.shape[1]
    if missing <= 0:
        return centres.clone()
    noise = torch.randn((len(centres), missing, centres.shape[2]), generator=torch.Generator().manual_seed(seed))
    first = centres[:, :1]
    step = normalize(noise, dim=2) * first.norm(dim=2, keepdim=True) * 0.1
    return torch.cat([centres, first + step], dim=1)
