"""cluster: people's own vectors to labels, without a workspace."""

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from faceloop.clustering.calibration import Calibration, Shortage
from faceloop.clustering.constraints import Constraints
from faceloop.clustering.impostors import Unlabelled, measure_calibration
from faceloop.clustering.own_vectors import OwnVectors, nodes_of_vectors
from faceloop.clustering.partition import partition
from faceloop.commands.options import ParamsOption, SetOption
from faceloop.params import default_params_path, read_params, section
from faceloop.stages.cluster import NOT_CLUSTERED, Params
from facestore.errors import DataError
from facestore.ids import sha256_hex

Int64Array = NDArray[np.int64]
_SIGN = {"same": True, "different": False}
_CONTRACT = "own-vectors"  # what a calibration file for them names
_NO_CONSTRAINTS = Constraints(must_link=np.empty((0, 2), np.int64), cannot_link=np.empty((0, 2), np.int64))


def cluster(
    vectors: Annotated[Path, typer.Argument(help="float array (n, dim) of unit vectors, .npy")],
    out: Annotated[Path, typer.Option("--out", help="Written: int64 labels (n,), .npy; -1 for no label.")],
    tracklets: Annotated[Path | None, typer.Option(help=".npy (n,): rows of one value are one tracklet.")] = None,
    subsets: Annotated[Path | None, typer.Option(help=".npy (n,): album, camera or session of each row.")] = None,
    quality: Annotated[Path | None, typer.Option(help=".npy (n,) in [0, 1].")] = None,
    constraints: Annotated[
        Path | None, typer.Option(help="CSV with the columns verb,first,second: rows that are `same` or `different`.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="JSON that `faceloop calibrate` wrote; default: measured here.")
    ] = None,
    normalise: Annotated[bool, typer.Option("--normalise", help="Scale the vectors to unit length.")] = False,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Cluster vectors of your own. Prints one line of JSON: counts, and how the thresholds were found."""
    settings = section(read_params(params or default_params_path(), overrides or []), "cluster", Params)
    if calibration is not None:
        settings = settings.model_copy(update={"calibration": str(calibration)})
    loaded = _array(vectors)
    own = nodes_of_vectors(
        loaded,
        tracklets=_column(tracklets, _coded),
        subsets=_column(subsets, _coded),
        quality=_column(quality, lambda values: values.astype(np.float32)),
        normalise=normalise,
    )
    pairs = read_pairs(constraints, len(loaded)) if constraints is not None else _NO_CONSTRAINTS
    labels = np.full(len(loaded), NOT_CLUSTERED, np.int64)
    found: dict[str, object] = {}
    if own.nodes.node_ids:
        scale = settings.calibration_of(_CONTRACT, lambda: _measured(own))
        result = partition(nodes=own.nodes, constraints=_on_nodes(pairs, own), params=settings.partition(scale))
        has_node = own.node_of_row >= 0
        labels[has_node] = result.labels[own.node_of_row[has_node]]
        left_out = Counter(reason for reason in result.drop_reasons if reason is not None)
        found = {
            "clusters": len(np.unique(result.labels[result.labels >= 0])),
            "nodes_left_out": dict(sorted(left_out.items())),
            "impostor_mean": round(scale.impostor_mean, 4),
            "impostor_sd": round(scale.impostor_sd, 4),
            "calibrated_on": scale.source,
        }
    write_array(out, labels)
    typer.echo(
        json.dumps({"vectors": len(loaded), "nodes": len(own.nodes.node_ids), "rejected": own.rejected, **found})
    )


def write_array(path: Path, labels: Int64Array) -> None:
    """Written beside and renamed: the file is whole or absent."""
    waiting = path.with_name(path.name + ".partial")
    with waiting.open("wb") as stream:
        np.save(stream, labels)
    waiting.rename(path)


def _measured(own: OwnVectors) -> Calibration | Shortage:
    nodes = own.nodes
    return measure_calibration(
        Unlabelled(
            contract_id=_CONTRACT,
            node_ids=tuple(sha256_hex(name.encode()) for name in nodes.node_ids),  # rows often stand person by person
            vectors=nodes.vectors,
            same_picture=np.empty((0, 2), np.int64),
            genuine=np.empty(0, np.float32),
            source="these vectors",
        )
    )


def _on_nodes(pairs: Constraints, own: OwnVectors) -> Constraints:
    """Constraints between rows as constraints between nodes. Raises DataError for a row without a node, and for two
    rows of one tracklet that shall differ."""
    must, cannot = own.node_of_row[pairs.must_link], own.node_of_row[pairs.cannot_link]
    for given, ends in ((pairs.must_link, must), (pairs.cannot_link, cannot)):
        if (ends < 0).any():
            raise DataError(f"a constraint names row {given[ends < 0][0]}, whose vector was rejected; leave it out")
    if (cannot[:, 0] == cannot[:, 1]).any():
        first, second = pairs.cannot_link[cannot[:, 0] == cannot[:, 1]][0].tolist()
        raise DataError(
            f"rows {first} and {second} shall differ and are of one tracklet; give them different tracklets"
        )
    return Constraints(must_link=must[must[:, 0] != must[:, 1]], cannot_link=cannot)


def _array(path: Path) -> NDArray[Any]:
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"cannot read {path}: {error}; give an .npy file without objects") from error
    if not isinstance(loaded, np.ndarray):
        raise DataError(f"{path} is no single array; give an .npy file")
    return loaded


def _column(path: Path | None, convert: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[Any] | None:
    return None if path is None else convert(_array(path))


def _coded(values: NDArray[Any]) -> Int64Array:
    """Any column as codes: whole numbers stay (below 0: none), text is numbered, empty text is none."""
    if np.issubdtype(values.dtype, np.integer):
        return values.astype(np.int64)
    if values.dtype.kind not in "US":
        raise DataError(f"a column holds {values.dtype}; give whole numbers or text")
    _, codes = np.unique(values, return_inverse=True)
    return np.where(values == values.dtype.type(), -1, codes).astype(np.int64)


def read_pairs(path: Path, rows: int) -> Constraints:
    """Constraints over rows from CSV. Raises DataError naming the line that cannot be read."""
    pairs: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            for number, line in enumerate(csv.DictReader(stream, strict=True), start=2):
                verb, ends = str(line.get("verb")), [str(line.get(name)) for name in ("first", "second")]
                if (
                    verb not in _SIGN
                    or not all(end.isdecimal() and int(end) < rows for end in ends)
                    or ends[0] == ends[1]
                ):
                    raise DataError(
                        f"{path}, line {number}: {verb},{','.join(ends)} is not same|different and two rows of {rows}"
                    )
                pairs[_SIGN[verb]].append((int(ends[0]), int(ends[1])))
    except (OSError, UnicodeError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    must, cannot = (np.array(pairs[is_same], np.int64).reshape(-1, 2) for is_same in (True, False))
    return Constraints(must_link=must, cannot_link=cannot)
