"""The earlier run that an incremental one builds on, and what of it still holds."""

from bisect import bisect_left
from dataclasses import dataclass
from itertools import repeat
from operator import gt
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from faceloop.clustering.constraints import Constraints, checked_pairs
from faceloop.clustering.nodes import Nodes
from facestore.errors import DataError

BoolArray = NDArray[np.bool_]
Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
Entry = TypeVar("Entry", np.bool_, np.float32, np.int64)
FullReason = Literal["no_earlier_run", "other_params", "many_new_nodes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """The outcome of a run, one entry a node. A node's template must be the one it has today: where embeddings
    of old nodes have changed only a full run is right. Raises DataError when malformed."""

    node_ids: tuple[str, ...]  # m unique, any order
    labels: Int64Array  # (m,) cluster >= 0, -1 left out
    subcentres: Int64Array  # (m,) unit of linkage within all clusters >= 0, -1 left out
    confidence: Float32Array  # (m,)
    hubness: Float32Array  # (m,)
    drop_reasons: tuple[str | None, ...]  # m
    constraints: Constraints  # that held then, rows of these nodes; those not given any more were taken back
    params_key: str  # names the params and the embedding contract
    added_since_full: int  # nodes that incremental runs have added or dissolved since the last full run

    def __post_init__(self) -> None:
        m = len(self.node_ids)
        columns = (self.labels, self.subcentres, self.confidence, self.hubness, self.drop_reasons)
        lengths = [len(column) for column in columns]
        if set(lengths) != {m} or len(set(self.node_ids)) != m:
            raise DataError(f"{m} earlier nodes with columns of lengths {lengths} or repeated ids; run cluster in full")
        if m and (((self.labels < 0) != (self.subcentres < 0)).any() or min(self.labels.min(), 0) < -1):
            raise DataError("an earlier label and its subcentre disagree; run cluster in full")
        checked_pairs(self.constraints.must_link, m)
        checked_pairs(self.constraints.cannot_link, m)


def needs_full(earlier: Earlier | None, nodes: Nodes, *, params_key: str, full_above_share: float) -> FullReason | None:
    """Why an incremental run will not do, or None. `full_above_share` in [0, 1] is the share of nodes that may
    have come, gone or been dissolved since the last full run: it bounds how far labels drift from a full one's."""
    if earlier is None or not earlier.node_ids:
        return "no_earlier_run"
    if earlier.params_key != params_key:
        return "other_params"
    known = len(set(earlier.node_ids).intersection(nodes.node_ids))
    moved = len(nodes.node_ids) - known + len(earlier.node_ids) - known
    if earlier.added_since_full + moved > full_above_share * len(nodes.node_ids):
        return "many_new_nodes"
    return None


def earlier_rows(earlier: Earlier, node_ids: tuple[str, ...]) -> Int64Array:
    """Row in the earlier run of each node, (n,) int64, -1 for a new one."""
    row_of = dict(zip(earlier.node_ids, range(len(earlier.node_ids)), strict=True))
    return np.fromiter(map(row_of.get, node_ids, repeat(-1)), np.int64, count=len(node_ids))


def id_order(node_ids: tuple[str, ...], earlier_row: Int64Array, earlier_ids: tuple[str, ...]) -> Int64Array:
    """Rows sorted by node id, (n,) int64. Where the earlier run was written in that order only new ids are sorted."""
    if any(map(gt, earlier_ids, earlier_ids[1:])):
        return np.asarray(sorted(range(len(node_ids)), key=node_ids.__getitem__), np.int64)
    old = np.flatnonzero(earlier_row >= 0)
    old = old[np.argsort(earlier_row[old])]
    new = sorted(np.flatnonzero(earlier_row < 0).tolist(), key=node_ids.__getitem__)
    before = earlier_row[old]
    places = [int(np.searchsorted(before, bisect_left(earlier_ids, node_ids[row]))) for row in new]
    return np.insert(old, places, new).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaken:
    """Earlier sub-centres that today's nodes and constraints put in doubt, (units,) bool each."""

    is_dissolved: BoolArray  # a member has gone, a cannot-link was taken back, or today's constraints forbid it
    is_untied: BoolArray  # a must-link was taken back: it stands, but may now meet others


def shaken_units(earlier: Earlier, earlier_row: Int64Array, given: Constraints, is_kept: BoolArray) -> Shaken:
    """What of the earlier run no longer holds. `given` and `is_kept` (n,) are about today's nodes, `earlier_row`
    (n,) is their row in the earlier run."""
    of_earlier = earlier.subcentres
    count = int(of_earlier.max(initial=-1)) + 1
    today = np.full(len(earlier.node_ids), -1, np.int64)
    kept = np.flatnonzero(is_kept & (earlier_row >= 0))
    today[earlier_row[kept]] = kept
    # The last place of both stands for nodes that were left out.
    is_dissolved, is_untied = np.zeros(count + 1, np.bool_), np.zeros(count + 1, np.bool_)
    is_dissolved[of_earlier[today < 0]] = True
    must, cannot = earlier.constraints.must_link.reshape(-1, 2), earlier.constraints.cannot_link.reshape(-1, 2)
    is_untied[of_earlier[must[~_found(today[must], given.must_link, len(is_kept))]]] = True
    is_dissolved[of_earlier[cannot[~_found(today[cannot], given.cannot_link, len(is_kept))]]] = True
    unit = entries(of_earlier, earlier_row, np.int64(-1))
    while True:
        stands = (unit >= 0) & ~is_dissolved[unit]
        entity = np.where(stands, unit, count + np.arange(len(unit)))
        forbidden = _forbidden(entity, given, count + len(unit))
        newly = forbidden[forbidden < count]
        if len(newly) == 0:
            return Shaken(is_dissolved=is_dissolved[:count], is_untied=is_untied[:count] & ~is_dissolved[:count])
        is_dissolved[newly] = True


def _forbidden(unit: Int64Array, given: Constraints, size: int) -> Int64Array:
    """All units that chains of must-links join although a cannot-link keeps some of them apart."""
    must, cannot = unit[given.must_link], unit[given.cannot_link]
    graph = coo_array((np.ones(len(must), np.int8), (must[:, 0], must[:, 1])), shape=(size, size))
    component = connected_components(graph, directed=False)[1]
    broken = component[cannot[component[cannot[:, 0]] == component[cannot[:, 1]]][:, 0]]
    return np.flatnonzero(np.isin(component, broken)) if len(broken) else np.empty(0, np.int64)


def _found(pairs: Int64Array, among: Int64Array, base: int) -> BoolArray:
    """Which undirected pairs (p, 2) are among the others; one with an end of -1 counts as found: its node has gone."""
    keys = np.minimum(among[:, 0], among[:, 1]) * base + np.maximum(among[:, 0], among[:, 1])
    wanted = pairs.min(axis=1) * base + pairs.max(axis=1)
    found: BoolArray = (pairs < 0).any(axis=1) | np.isin(wanted, keys)
    return found


def entries(column: NDArray[Entry], rows: Int64Array, missing: Entry) -> NDArray[Entry]:
    """Entries of a column, (rows,); `missing` where the row is -1."""
    return np.append(column, np.array([missing], column.dtype))[rows]
