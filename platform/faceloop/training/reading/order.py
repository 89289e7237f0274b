"""Which samples a step holds: a pure function of (seed, epoch, step), so a training resumes anywhere at no cost.

An order is asked `rows(epoch, step)` in any sequence, by any process. What it remembers only saves time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from faceloop.training.reading.labels import Int64Array, SplitLabels
from faceloop.training.reading.randomness import generator_for
from facestore.errors import ConfigError

_RUNS, _WITHIN, _IDENTITIES, _SAMPLES = range(4)  # what a generator is for: no two share numbers
_LEAST_WEIGHT = 1e-6
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shuffled:
    """Every sample once an epoch (the few that fill no whole batch wait for another).

    `buffer_samples` None: one permutation of the split. Else, for splits larger than memory: runs of `run_samples`
    neighbours are shuffled, and then the samples inside of every `buffer_samples`, so disks read in sequence.
    """

    buffer_samples: int | None = None
    run_samples: int = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Balanced:
    """Every identity equally often, its samples in turn; an identity of one sample repeats it.

    `is_confidence_weighted`: surer labels come earlier in an identity's turn, as in a draw without replacement
    (Efraimidis and Spirakis, 2006), so of large identities doubtful samples are seen less.
    """

    is_confidence_weighted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PerIdentity:
    """P×K batches: `samples_per_identity` samples each of batch / samples_per_identity different identities.

    Identities with fewer than `least_samples` are left out: one picture, twice, teaches a triplet nothing.
    One with fewer than K repeats samples.
    """

    samples_per_identity: int
    least_samples: int = 2
    is_confidence_weighted: bool = False


Sampler = Shuffled | Balanced | PerIdentity


class Order(Protocol):
    """Steps of an epoch and the rows of each, (batch_size,) int64."""

    @property
    def steps_per_epoch(self) -> int: ...
    def rows(self, epoch: int, step: int) -> Int64Array: ...


def order_of(sampler: Sampler, labels: SplitLabels, *, batch_size: int, seed: int) -> Order:
    """Raises ConfigError when the sampler cannot fill a batch of `batch_size` from these labels."""
    match sampler:
        case Shuffled():
            return _ShuffledOrder(sampler, len(labels), batch_size, seed)
        case Balanced():
            turns = _Turns(labels, seed, least_samples=1, is_weighted=sampler.is_confidence_weighted)
            return _BalancedOrder(turns, len(labels), batch_size)
        case PerIdentity():
            turns = _Turns(
                labels, seed, least_samples=sampler.least_samples, is_weighted=sampler.is_confidence_weighted
            )
            return _PerIdentityOrder(turns, batch_size, sampler.samples_per_identity)


class _Lately(Generic[Found]):
    """The last few results of a pure function of integers; unlike functools' it can be pickled."""

    def __init__(self, keep: int, make: Callable[..., Found]) -> None:
        self._keep, self._make = keep, make
        self._found: dict[tuple[int, ...], Found] = {}

    def __call__(self, *key: int) -> Found:
        if key not in self._found:
            while len(self._found) >= self._keep:
                del self._found[next(iter(self._found))]
            self._found[key] = self._make(*key)
        return self._found[key]


class _ShuffledOrder:
    def __init__(self, sampler: Shuffled, samples: int, batch_size: int, seed: int) -> None:
        buffer = sampler.buffer_samples
        if sampler.run_samples < 1 or (buffer is not None and buffer < 1):
            raise ConfigError("buffer_samples and run_samples must be at least 1; set buffer_samples to null for all")
        self.steps_per_epoch = max(1, samples // batch_size)
        self._samples, self._batch, self._seed = samples, batch_size, seed
        self._run = samples if buffer is None else sampler.run_samples
        self._buffer = min(buffer or samples, samples)
        self._starts = _Lately(2, self._shuffled_starts)
        self._window = _Lately(4, self._shuffled_window)

    def _shuffled_starts(self, epoch: int) -> tuple[Int64Array, Int64Array]:
        """Where each run starts in the split, and, with its end, in the epoch."""
        runs = generator_for(self._seed, _RUNS, epoch).permutation(-(-self._samples // self._run))
        starts = np.asarray(runs, np.int64) * self._run
        return starts, np.cumsum(np.concatenate([[0], np.minimum(self._run, self._samples - starts)]))

    def _shuffled_window(self, epoch: int, window: int) -> Int64Array:
        starts, ends = self._starts(epoch)
        first = window * self._buffer
        places = np.arange(first, min(first + self._buffer, self._samples))
        runs = np.searchsorted(ends, places, side="right") - 1
        rows = starts[runs] + places - ends[runs]
        return np.asarray(generator_for(self._seed, _WITHIN, epoch, window).permutation(rows), np.int64)

    def rows(self, epoch: int, step: int) -> Int64Array:
        places = (step * self._batch + np.arange(self._batch)) % self._samples
        windows = places // self._buffer
        rows = np.empty(self._batch, np.int64)
        for window in np.unique(windows).tolist():
            mine = windows == window
            rows[mine] = self._window(epoch, window)[places[mine] - window * self._buffer]
        return rows


class _Turns:
    """Identities in shuffled rounds, and the samples of each in shuffled order, anew each epoch."""

    def __init__(self, labels: SplitLabels, seed: int, *, least_samples: int, is_weighted: bool) -> None:
        _, inverse, sizes = np.unique(labels.class_index, return_inverse=True, return_counts=True)
        self._identity_of_row, self._seed = inverse, seed
        self._weights = np.maximum(labels.confidence, _LEAST_WEIGHT) if is_weighted else 1.0
        self._sizes, self._starts = sizes, np.cumsum(sizes) - sizes
        self._kept = np.flatnonzero(sizes >= least_samples)
        self.identities = len(self._kept)
        self.samples = int(sizes[self._kept].sum())
        self.round_of = _Lately(64, self._shuffled_round)
        self._order_of = _Lately(2, self._shuffled_samples)

    def _shuffled_round(self, epoch: int, number: int) -> Int64Array:
        return np.asarray(generator_for(self._seed, _IDENTITIES, epoch, number).permutation(self._kept), np.int64)

    def _shuffled_samples(self, epoch: int) -> Int64Array:
        waits = generator_for(self._seed, _SAMPLES, epoch).exponential(size=len(self._identity_of_row))
        return np.asarray(np.lexsort((waits / self._weights, self._identity_of_row)), np.int64)

    def rows(self, epoch: int, identities: Int64Array, visits: Int64Array) -> Int64Array:
        """The row that each identity shows at its n-th visit of the epoch."""
        return np.asarray(self._order_of(epoch)[self._starts[identities] + visits % self._sizes[identities]], np.int64)


class _BalancedOrder:
    def __init__(self, turns: _Turns, samples: int, batch_size: int) -> None:
        self.steps_per_epoch = max(1, samples // batch_size)
        self._turns, self._batch = turns, batch_size

    def rows(self, epoch: int, step: int) -> Int64Array:
        places = step * self._batch + np.arange(self._batch)
        rounds, inside = np.divmod(places, self._turns.identities)
        identities = np.concatenate(
            [self._turns.round_of(epoch, number)[inside[rounds == number]] for number in np.unique(rounds).tolist()]
        )
        return self._turns.rows(epoch, identities, rounds)


class _PerIdentityOrder:
    def __init__(self, turns: _Turns, batch_size: int, samples_per_identity: int) -> None:
        identities, rest = divmod(batch_size, samples_per_identity)
        if samples_per_identity < 2 or rest or not identities:
            raise ConfigError(
                f"batch size {batch_size} is no multiple of samples_per_identity {samples_per_identity} ≥ 2"
            )
        if turns.identities < identities:
            raise ConfigError(
                f"a batch needs {identities} identities with samples enough, the split has {turns.identities}; "
                "lower batch_size or raise samples_per_identity"
            )
        self.steps_per_epoch = max(1, turns.samples // batch_size)
        self._turns, self._identities, self._each = turns, identities, samples_per_identity
        self._steps_per_round = turns.identities // identities

    def rows(self, epoch: int, step: int) -> Int64Array:
        number, slot = divmod(step, self._steps_per_round)
        chosen = self._turns.round_of(epoch, number)[slot * self._identities : (slot + 1) * self._identities]
        visits = number * self._each + np.tile(np.arange(self._each), self._identities)
        return self._turns.rows(epoch, np.repeat(chosen, self._each), visits)
