"""Random numbers by what they are for, not by when they are asked for."""

import numpy as np


def generator_for(seed: int, *place: int) -> np.random.Generator:
    """The generator of one place: (epoch, step), say. Equal arguments give equal numbers in every process.

    Philox is counter-based (Salmon et al., SC 2011): to start one anywhere costs microseconds, so nothing has to be
    carried from step to step. `seed` and `place` are not negative.
    """
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, *place))))
