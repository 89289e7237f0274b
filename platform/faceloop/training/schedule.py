"""How the learning rate moves: linear warm-up, then half a cosine down (Loshchilov & Hutter 2017)."""

import math


def rate_factor(step: int, *, steps: int, warm_up_steps: int, final: float) -> float:
    """What the learning rate of `step` (0 … steps−1) is multiplied by, in (0, 1].

    Depends on the step alone, so a resumed training needs no state of a scheduler. Warm-up never starts at 0: the
    first step counts.
    """
    if step < warm_up_steps:
        return (step + 1) / (warm_up_steps + 1)
    done = (step - warm_up_steps) / max(1, steps - warm_up_steps)
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


def warm_up_steps(steps: int, share: float) -> int:
    """Steps of warm-up; at least one step is left for the rest."""
    return min(int(steps * share), steps - 1)
