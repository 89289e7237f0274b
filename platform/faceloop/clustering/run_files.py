"""What a clustering leaves for the next one: nodes, the constraints it obeyed, the numbers it used."""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceloop.clustering.constraints import Constraints
from faceloop.clustering.earlier import Earlier
from faceloop.clustering.nodes import Nodes
from faceloop.clustering.partition import Partition
from facestore.errors import DataError
from facestore.ids import canonical_json
from facestore.records import ClusterNode, ClusterTie
from facestore.tables import TableWriter, read_columns, write_table

RUN_FILE = "run.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """How a clustering was made."""

    params_key: str  # names the params, the calibration and the embedding contract
    contract_id: str
    added_since_full: int  # nodes that incremental runs have added or dissolved since the last full run


def write_run(folder: Path, nodes: Nodes, result: Partition, constraints: Constraints, facts: RunFacts) -> None:
    """Tables `nodes` and `ties`, and run.json, in order of node ids."""
    with TableWriter(folder / "nodes.parquet", ClusterNode) as table:
        for row in sorted(range(len(nodes.node_ids)), key=nodes.node_ids.__getitem__):
            table.write(
                ClusterNode(
                    node_id=nodes.node_ids[row],
                    cluster_id=int(result.labels[row]),
                    subcentre=int(result.subcentres[row]),
                    confidence=float(result.confidence[row]),
                    hubness=float(result.hubness[row]),
                    drop_reason=result.drop_reasons[row],
                    template_crc=zlib.crc32(nodes.vectors[row].tobytes()),
                )
            )
    pairs = [(pairs, is_same) for pairs, is_same in ((constraints.must_link, True), (constraints.cannot_link, False))]
    ties = {
        (*sorted((nodes.node_ids[first], nodes.node_ids[second])), is_same)
        for ends, is_same in pairs
        for first, second in ends.tolist()
    }
    rows = [ClusterTie(first_node_id=a, second_node_id=b, is_same=is_same) for a, b, is_same in sorted(ties)]
    write_table(folder / "ties.parquet", ClusterTie, rows)
    spelled = canonical_json(
        {
            "params_key": facts.params_key,
            "contract_id": facts.contract_id,
            "added_since_full": facts.added_since_full,
        }
    )
    (folder / RUN_FILE).write_text(spelled + "\n", encoding="utf-8")


def read_run(folder: Path, nodes: Nodes) -> Earlier | None:
    """The run that `write_run` left in a folder; None where there is none.

    A node whose template is another one today counts as gone, so that it is clustered anew. Raises DataError for files
    that do not belong together.
    """
    path = folder / RUN_FILE
    if not path.is_file():
        return None
    try:
        facts = RunFacts(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is not what cluster writes ({error}); remove the folder and run cluster") from error
    table = read_columns(folder, "nodes", ClusterNode)
    ids: list[str] = table["node_id"].to_pylist()
    crc_today = {
        node_id: zlib.crc32(vector.tobytes()) for node_id, vector in zip(nodes.node_ids, nodes.vectors, strict=True)
    }
    names = [
        node_id if crc_today.get(node_id, crc) == crc else f"{node_id} as it was"
        for node_id, crc in zip(ids, table["template_crc"].to_pylist(), strict=True)
    ]
    row_of = {node_id: row for row, node_id in enumerate(ids)}
    ties = read_columns(folder, "ties", ClusterTie)
    ends = np.array(
        [[row_of[name] for name in ties[column].to_pylist()] for column in ("first_node_id", "second_node_id")],
        np.int64,
    ).T.reshape(-1, 2)
    is_same = np.array(ties["is_same"].to_pylist(), np.bool_)
    return Earlier(
        node_ids=tuple(names),
        labels=table["cluster_id"].to_numpy().astype(np.int64),
        subcentres=table["subcentre"].to_numpy().astype(np.int64),
        confidence=table["confidence"].to_numpy().astype(np.float32),
        hubness=table["hubness"].to_numpy().astype(np.float32),
        drop_reasons=tuple(table["drop_reason"].to_pylist()),
        constraints=Constraints(must_link=ends[is_same], cannot_link=ends[~is_same]),
        params_key=facts.params_key,
        added_since_full=facts.added_since_full,
    )
