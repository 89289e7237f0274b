"""cluster: tracklet templates to clusters. Tracklets are must-link, faces of one picture cannot-link."""

from collections import defaultdict
from itertools import combinations

import numpy as np
import numpy.typing as npt
from pydantic import Field

from faceloop.clustering.constraints import Constraints
from faceloop.clustering.knn import SearchParams
from faceloop.clustering.nodes import Nodes
from faceloop.clustering.params import PartitionParams
from faceloop.clustering.partition import Partition, partition
from faceloop.params import StageParams
from faceloop.stage import Context, In, Out, Report
from facestore.errors import ContractMismatch
from facestore.records import Cluster, Face, TrackletTemplate
from facestore.tables import TableWriter, column_matrix, read_columns

VERSION = 1


class Params(StageParams):
    neighbours: int = Field(ge=1, le=1024)
    within_similarity: float = Field(ge=-1, le=1)
    across_similarity: float = Field(ge=-1, le=1)
    attach_similarity: float = Field(ge=-1, le=1)
    attach_margin: float = Field(ge=0, le=2)
    min_quality: float = Field(ge=0, le=1)
    hubness_share: float = Field(ge=0, le=2)
    hubness_similarity: float = Field(ge=-1, le=1)
    hubness_skipped: int = Field(ge=0)
    hubness_cohort: int = Field(ge=1)
    hubness_prior: int = Field(ge=1)
    confidence_scale: float = Field(gt=0)
    flat_rows_max: int = Field(ge=1)
    probes: int = Field(ge=1)
    block_rows: int = Field(ge=1)

    def partition(self) -> PartitionParams:
        fields = self.model_dump(exclude={"flat_rows_max", "probes", "block_rows"})
        search = SearchParams(flat_rows_max=self.flat_rows_max, probes=self.probes, block_rows=self.block_rows)
        return PartitionParams(**fields, search=search)


def run(*, faces: In, embeddings: In, clusters: Out, params: Params, context: Context) -> Report:
    report = Report()
    nodes = _nodes(embeddings)
    report.items_in = len(nodes.node_ids)
    found = read_columns(faces, "faces", Face, ("face_id", "footage_id", "pts_ms", "tracklet_id", "rejected"))
    found = found.filter(found["rejected"].is_null())
    row_of = {tracklet: row for row, tracklet in enumerate(nodes.node_ids)}
    constraints = Constraints(
        must_link=np.empty((0, 2), dtype=np.int64),
        cannot_link=same_picture_pairs(
            list(zip(found["footage_id"].to_pylist(), found["pts_ms"].to_pylist(), strict=True)),
            [row_of.get(tracklet) for tracklet in found["tracklet_id"].to_pylist()],
        ),
    )
    report.figures["cannot_link_pairs"] = len(constraints.cannot_link)
    with context.stopwatch.on("partition"):
        result = partition(nodes=nodes, constraints=constraints, params=params.partition())
    _count(report, result)
    sizes = np.bincount(result.labels[result.labels >= 0]) if len(result.labels) else np.empty(0, np.int64)
    with TableWriter(clusters / "clusters.parquet", Cluster) as table:
        for face_id, tracklet in zip(found["face_id"].to_pylist(), found["tracklet_id"].to_pylist(), strict=True):
            if (row := row_of.get(tracklet)) is None:
                continue  # its crops gave no valid embedding: embed has counted them
            label = int(result.labels[row])
            table.write(
                Cluster(
                    face_id=face_id,
                    tracklet_id=tracklet,
                    cluster_id=label,
                    confidence=float(result.confidence[row]),
                    status=result.drop_reasons[row] or ("clustered" if sizes[label] > 1 else "singleton"),
                    run_id=context.run_key,
                )
            )
    return report


def _nodes(embeddings: In) -> Nodes:
    table = read_columns(embeddings, "templates", TrackletTemplate)
    contracts = sorted(set(table["contract_id"].to_pylist()))
    if len(contracts) > 1:
        raise ContractMismatch(
            f"templates of {len(contracts)} embedding contracts ({', '.join(contracts)}) cannot be compared; "
            "run embed again over all batches"
        )
    _, codes = np.unique(np.array(table["subset"].to_pylist(), dtype=np.str_), return_inverse=True)

    return Nodes(
        node_ids=tuple(table["tracklet_id"].to_pylist()),
        vectors=column_matrix(table, "embedding"),
        weights=np.maximum(np.asarray(table["weight"].to_numpy(), dtype=np.float32), np.float32(1e-6)),
        quality=np.asarray(table["quality"].to_numpy(), dtype=np.float32),
        subset=codes.astype(np.int32),
    )


def same_picture_pairs(moments: list[tuple[str, int]], rows: list[int | None]) -> npt.NDArray[np.int64]:
    """Pairs of nodes that are seen in one picture, (pairs, 2) int64: nobody is in one picture twice.

    `moments` are (footage, time) and `rows` the node of each face, None for a face without one.
    """
    seen: dict[tuple[str, int], set[int]] = defaultdict(set)
    for moment, row in zip(moments, rows, strict=True):
        if row is not None:
            seen[moment].add(row)
    pairs = {pair for together in seen.values() for pair in combinations(sorted(together), 2)}
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def _count(report: Report, result: Partition) -> None:
    for reason in result.drop_reasons:
        if reason is None:
            report.published += 1
        else:
            report.pending[reason] += 1
    report.figures["clusters"] = len(np.unique(result.labels[result.labels >= 0]))
