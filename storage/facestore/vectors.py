"""The door that every stored vector passes, when it is written and when it is read: a finite direction, of length 1,
among vectors of one embedding contract.

A NaN in one row of an index, or a vector of length 0, harms no one visibly: it is near nothing, or near everything.
"""

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from facestore.errors import ContractMismatch, DataError

VECTORS = "embedding"  # the column of every table that holds them
CONTRACTS = "contract_id"  # and of the column beside them
OF_SEVERAL = frozenset({"committee"})  # tables that hold several contracts, and whose readers part them
LENGTH_TOLERANCE = 1e-2  # of float16 and of rounding; a vector that nobody normalised is further off


def check_vectors(vectors: npt.NDArray[np.float32], where: str) -> None:
    """Raises DataError, with the first bad row, unless `vectors` (n, d) are finite and of unit length."""
    if vectors.ndim != 2:
        raise DataError(f"{where}: vectors of shape {vectors.shape}; expected (rows, dimension)")
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    is_bad = ~(np.abs(lengths - 1.0) <= LENGTH_TOLERANCE)
    if is_bad.any():
        row = int(np.flatnonzero(is_bad)[0])
        raise DataError(
            f"{where}: {int(is_bad.sum())} of {len(vectors)} vectors have no direction of length 1 (row {row}: length "
            f"{lengths[row]:.4g}); run embed again"
        )


def as_vectors(rows: Sequence[Sequence[float]]) -> npt.NDArray[np.float32]:
    """(n, d) of rows. Raises DataError where they differ in length."""
    if len({len(row) for row in rows}) > 1:
        raise DataError("vectors of several dimensions in one table; run embed again over all batches")
    return np.asarray(rows, dtype=np.float32)


def one_contract(contract_ids: Collection[str], where: str) -> None:
    """Raises ContractMismatch for vectors of several embedding contracts: their cosines would be noise."""
    found = sorted(set(contract_ids))
    if len(found) > 1:
        raise ContractMismatch(
            f"{where}: vectors of {len(found)} embedding contracts ({', '.join(found)}) lie together and cannot be "
            "compared; run embed again over all batches"
        )
