"""cluster: tracklet templates and people's decisions to clusters, and proposals of what people should look at.

Tracklets are must-link unless people say otherwise, faces of one picture cannot-link. After the first run only what is
new or in doubt is clustered again.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from faceloop.clustering.calibration import (
    Calibration,
    Shortage,
    as_json,
    builtin_calibration,
    calibration_text,
    load_calibration,
)
from faceloop.clustering.clustered import Clustered
from faceloop.clustering.constraints import Constraints
from faceloop.clustering.earlier import needs_full
from faceloop.clustering.impostors import Unlabelled, measure_calibration
from faceloop.clustering.incremental import partition_incremental
from faceloop.clustering.knn import Device, SearchParams
from faceloop.clustering.nodes import Nodes
from faceloop.clustering.params import PartitionParams
from faceloop.clustering.partition import Partition, partition
from faceloop.clustering.run_files import RunFacts, read_run, write_run
from faceloop.clustering.sigmas import SigmaParams, calibrated
from faceloop.identity.doubts import DoubtParams, best_faces, doubts
from faceloop.identity.evidence import node_constraints
from faceloop.identity.gather import read_roster, seen_faces
from faceloop.identity.key_ties import key_contradictions, key_questions, tie_keys
from faceloop.identity.keys import KeyParams, key_groups
from faceloop.identity.resolve import aliases_of
from faceloop.identity.roster import Roster, SeenFace
from faceloop.identity.second_opinions import CommitteeParams, ask_committee, differing, read_opinions, weighed
from faceloop.identity.strain import PEOPLE_FIRST, against_pictures, against_vectors
from faceloop.params import StageParams
from faceloop.stage import Context, In, Out, Report
from facestore.decisions import Contradiction, Decision, IdentityEvent
from facestore.ids import digest_of
from facestore.records import Cluster, Footage, Proposal
from facestore.tables import read_columns, read_table, write_table

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
VERSION = 2
NOT_CLUSTERED = -1
_NOT_FOR_LABELS = {"calibration", "full_above_share", "device", "keys", "doubts", "committee"}
_NOT_FOR_PARTITION = {
    "calibration", "full_above_share", "flat_rows_max", "probes", "block_rows", "device", "keys", "doubts",
    "committee",
}  # fmt: skip


class Params(StageParams):
    calibration: str | None  # a file of `faceloop calibrate`; null: the shipped one, else measured on these faces
    full_above_share: float = Field(ge=0, le=1)
    neighbours: int = Field(ge=1, le=1024)
    micro_sigmas: float = Field(ge=-20, le=40)
    within_sigmas: float = Field(ge=-20, le=40)
    across_sigmas: float = Field(ge=-20, le=40)
    attach_sigmas: float = Field(ge=-20, le=40)
    attach_margin_sigmas: float = Field(ge=0, le=20)
    min_quality: float = Field(ge=0, le=1)
    full_quality: float = Field(ge=0, le=1)
    quality_toll_sigmas: float = Field(ge=0, le=20)
    hubness_share: float = Field(ge=0, le=2)
    hubness_sigmas: float = Field(ge=-20, le=40)
    hubness_skipped: int = Field(ge=0)
    hubness_cohort: int = Field(ge=1)
    hubness_prior: int = Field(ge=1)
    confidence_scale_sigmas: float = Field(gt=0)
    flat_rows_max: int = Field(ge=1)
    probes: int = Field(ge=1)
    block_rows: int = Field(ge=1)
    device: Device
    keys: KeyParams
    doubts: DoubtParams
    committee: CommitteeParams

    def search(self) -> SearchParams:
        """How neighbours are searched."""
        return SearchParams(
            flat_rows_max=self.flat_rows_max, probes=self.probes, block_rows=self.block_rows, device=self.device
        )

    def partition(self, calibration: Calibration | None = None) -> PartitionParams:
        """The numbers in cosines of one embedding contract; without a calibration those of the built-in recogniser."""
        fields = self.model_dump(exclude=_NOT_FOR_PARTITION)
        return calibrated(SigmaParams(**fields, search=self.search()), calibration or builtin_calibration())

    def calibration_of(self, contract_id: str, measure: Callable[[], Calibration | Shortage]) -> Calibration:
        """Of the named file, else the shipped one, else what `measure` finds; raises ConfigError where nothing is."""
        file = Path(self.calibration) if self.calibration is not None else None
        return load_calibration(contract_id, file=file, measure=measure)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    result: Partition
    facts: RunFacts
    calibration: Calibration


def fingerprint(params: Params) -> str:
    """The calibration that params point at: an edited file is another run."""
    return digest_of(calibration_text(Path(params.calibration) if params.calibration is not None else None))


def run(
    *, footage: In, faces: In, embeddings: In, decisions: In, clusters: Out, params: Params, context: Context
) -> Report:
    report = Report()
    effective = list(read_table(decisions, "effective", Decision))
    aliases = aliases_of(list(read_table(decisions, "events", IdentityEvent)))
    seen = seen_faces(faces)
    with context.stopwatch.on("gather"):
        roster, contract_id = read_roster(embeddings, seen, effective, aliases)
    count = len(roster.nodes.node_ids)
    together = roster.same_picture(seen)
    known = node_constraints(
        effective,
        aliases=aliases,
        node_of_face=roster.node_of_face,
        same_picture=together,
        vectors=roster.nodes.vectors,
    )
    groups = key_groups(_keys_of(footage), seen, params.keys)
    keyed = tie_keys(groups, roster.node_of_face, known.constraints, nodes=count)
    constraints = Constraints(
        must_link=np.concatenate([known.constraints.must_link, keyed.pairs]),
        cannot_link=known.constraints.cannot_link,
    )
    found = _partition(roster.nodes, constraints, together, contract_id, params, context, report) if count else None
    proposals: list[Proposal] = []
    confidence: Float32Array = np.empty(0, np.float32)
    if found is not None:
        write_run(clusters, roster.nodes, found.result, constraints, found.facts)
        (clusters / "calibration.json").write_text(as_json([found.calibration]), encoding="utf-8")
        with context.stopwatch.on("doubts"):
            proposals, confidence = _doubts(found, roster, seen, constraints, embeddings, params, context)
    labels = found.result.labels if found else np.empty(0, np.int64)
    cluster_of_face = {face: int(labels[node]) for face, node in roster.node_of_face.items() if labels[node] >= 0}
    apart = {(min(pair), max(pair)) for pair in labels[constraints.cannot_link].tolist() if min(pair) >= 0}
    proposals += key_questions(groups.ask, cluster_of_face, answered=apart, run_id=context.run_key)
    write_table(clusters / "proposals.parquet", Proposal, proposals)
    contradictions = [
        *key_contradictions(keyed.contested, effective, roster.node_of_face, policy=PEOPLE_FIRST),
        *against_pictures(effective, roster.node_of_face, known.lifted_pictures, best_faces(seen, roster.node_of_face)),
        *(against_vectors(effective, roster, found.calibration) if found else ()),
    ]
    write_table(clusters / "contradictions.parquet", Contradiction, contradictions)
    rows = _rows(seen, roster, found, confidence, keyed.group_of_face, context.run_key)
    write_table(clusters / "clusters.parquet", Cluster, rows)
    _count(report, roster, found.result if found else None)
    report.figures["must_link_pairs"] = len(constraints.must_link)
    report.figures["cannot_link_pairs"] = len(constraints.cannot_link)
    report.figures["ambiguous_keys"] = len(groups.ambiguous)
    report.figures["contradictions"] = len(contradictions)
    report.figures["proposals"] = len(proposals)
    return report


def _partition(
    nodes: Nodes,
    constraints: Constraints,
    together: Int64Array,
    contract_id: str,
    params: Params,
    context: Context,
    report: Report,
) -> _Found:
    with context.stopwatch.on("calibrate"):
        calibration = params.calibration_of(
            contract_id, lambda: _measured(contract_id, nodes, together, params.min_quality)
        )
    numbers = params.partition(calibration)
    spelled = params.model_dump(
        mode="json", exclude={"full_above_share", "calibration", "device", "keys", "doubts", "committee"}
    )
    key = digest_of([VERSION, spelled, contract_id, calibration.impostor_mean, calibration.impostor_sd])
    previous = context.previous["clusters"]
    earlier = read_run(previous, nodes) if previous is not None else None
    why_full = needs_full(earlier, nodes, params_key=key, full_above_share=params.full_above_share)
    added = 0
    with context.stopwatch.on("partition"):
        if why_full is None and earlier is not None:
            result, touched = partition_incremental(
                nodes=nodes, constraints=constraints, params=numbers, earlier=earlier
            )
            added = touched.added_since_full
            report.figures["new_nodes"] = touched.new_nodes
            report.figures["dissolved_nodes"] = touched.dissolved_nodes
        else:
            result = partition(nodes=nodes, constraints=constraints, params=numbers)
            report.figures["new_nodes"] = len(nodes.node_ids)
    facts = RunFacts(params_key=key, contract_id=contract_id, added_since_full=added)
    return _Found(result=result, facts=facts, calibration=calibration)


def _measured(contract_id: str, nodes: Nodes, together: Int64Array, min_quality: float) -> Calibration | Shortage:
    is_good = np.flatnonzero(nodes.quality >= min_quality)
    place = np.full(len(nodes.node_ids), -1, np.int64)
    place[is_good] = np.arange(len(is_good))
    pairs = place[together]
    return measure_calibration(
        Unlabelled(
            contract_id=contract_id,
            node_ids=tuple(nodes.node_ids[row] for row in is_good.tolist()),
            vectors=nodes.vectors[is_good],
            same_picture=pairs[(pairs >= 0).all(axis=1)],
            genuine=np.empty(0, np.float32),
            source="the faces that were clustered",
        )
    )


def _doubts(
    found: _Found,
    roster: Roster,
    seen: Sequence[SeenFace],
    constraints: Constraints,
    embeddings: Path,
    params: Params,
    context: Context,
) -> tuple[list[Proposal], Float32Array]:
    """What people should look at, and the confidence of each node once the committee has spoken."""
    result, nodes = found.result, roster.nodes
    faces = np.bincount(list(roster.node_of_face.values()), minlength=len(nodes.node_ids)).astype(np.int64)
    given = Clustered(nodes=nodes, labels=result.labels, hubness=result.hubness, faces=faces, constraints=constraints)
    search, run_id = params.search(), context.run_key
    proposals = doubts(given, seen, roster, params.doubts, found.calibration, search, run_id=run_id)
    opinions = read_opinions(embeddings)
    votes = ask_committee(
        nodes, result.labels, found.calibration, opinions, params.calibration_of, params.committee, search
    )
    if votes is None:
        return proposals, result.confidence
    best = best_faces(seen, roster.node_of_face)
    proposals += differing(votes, result.labels, best, faces, params.committee, run_id=run_id)
    return proposals, weighed(result.confidence, votes, params.committee)


def _keys_of(footage: Path) -> dict[str, list[str]]:
    table = read_columns(footage, "footage", Footage, ("footage_id", "keys"))
    rows = zip(table["footage_id"].to_pylist(), table["keys"].to_pylist(), strict=True)
    return {footage_id: keys for footage_id, keys in rows if keys}


def _rows(
    seen: Sequence[SeenFace],
    roster: Roster,
    found: _Found | None,
    confidences: Float32Array,
    group_of_face: Mapping[str, int],
    run_key: str,
) -> Iterator[Cluster]:
    labels = found.result.labels if found else np.empty(0, np.int64)
    sizes = np.bincount(labels[labels >= 0])
    for face in seen:
        node = roster.node_of_face.get(face.face_id)
        label, confidence, status = NOT_CLUSTERED, 0.0, roster.left_out.get(face.face_id, "")
        if node is not None and found is not None:
            label, confidence = int(labels[node]), float(confidences[node])
            status = found.result.drop_reasons[node] or ("clustered" if sizes[label] > 1 else "singleton")
        yield Cluster(
            face_id=face.face_id,
            tracklet_id=face.tracklet_id,
            cluster_id=label,
            confidence=confidence,
            status=status,
            key_group=group_of_face.get(face.face_id, -1),
            run_id=run_key,
        )


def _count(report: Report, roster: Roster, result: Partition | None) -> None:
    """Nodes are counted here; faces that people left out, or that have no vector, beside them."""
    reasons = Counter(roster.left_out.values())
    report.items_in = len(roster.nodes.node_ids) + reasons.total()
    report.rejected.update({reason: reasons[reason] for reason in reasons if reason != "no_embedding"})
    if reasons["no_embedding"]:
        report.pending["no_embedding"] += reasons["no_embedding"]
    for reason in result.drop_reasons if result else ():
        if reason is None:
            report.published += 1
        else:
            report.pending[reason] += 1
    labels = result.labels if result else np.empty(0, np.int64)
    report.figures["clusters"] = len(np.unique(labels[labels >= 0]))
