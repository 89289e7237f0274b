"""What the compiled loops of this folder share: how they are compiled, and the inner product."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
_ZERO = np.float32(0)


def compiled(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Compile at the first call and keep the machine code beside the module. Floating point stays strict and
    single-threaded, so that the same input gives the same bits."""
    return cast(Callable[Parameters, Result], numba.njit(cache=True, nogil=True)(function))


@compiled
def dot(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    """Inner product of two rows, (d,) f32. Eight running sums, written out: so they fill one vector register
    without changing the order of additions from machine to machine."""
    s0, s1, s2, s3, s4, s5, s6, s7 = _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO
    whole = len(left) - len(left) % 8
    for at in range(0, whole, 8):
        s0 += left[at] * right[at]
        s1 += left[at + 1] * right[at + 1]
        s2 += left[at + 2] * right[at + 2]
        s3 += left[at + 3] * right[at + 3]
        s4 += left[at + 4] * right[at + 4]
        s5 += left[at + 5] * right[at + 5]
        s6 += left[at + 6] * right[at + 6]
        s7 += left[at + 7] * right[at + 7]
    total = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
    for at in range(whole, len(left)):
        total += left[at] * right[at]
    return float(total)


@compiled
def root_of(parent: NDArray[np.int64], member: int) -> int:
    """Root of a member in a forest of parents (c,); the path is halved on the way."""
    while parent[member] != member:
        parent[member] = parent[parent[member]]
        member = parent[member]
    return member
