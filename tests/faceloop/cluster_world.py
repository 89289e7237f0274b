"""A small world for the cluster stage: faces on known axes, what people said, and the run over it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from faceloop.clustering.calibration import Calibration, as_json
from faceloop.params import read_params, section
from faceloop.progress import SilentProgress
from faceloop.stage import Context, Report, Stopwatch
from faceloop.stages import cluster
from facestore.decisions import Contradiction, Decision, IdentityEvent
from facestore.objects import FolderStore
from facestore.records import Cluster, Face, FaceEmbedding, Footage, NearDuplicate, Proposal, TrackletTemplate
from facestore.tables import read_table, write_table

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DIM = 8
SCALE = Calibration(
    contract_id="c", impostor_mean=0.0, impostor_sd=0.1, impostor_pairs=1, people=50, same_picture_mean=None,
    same_picture_pairs=0, genuine_mean=None, genuine_pairs=0, method="made up", source="a test",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """One accepted face with a crop, on an axis."""

    name: str
    tracklet: str
    axis: int
    pts_ms: int
    footage: str = "clip"
    contract: str = "c"


@dataclass(slots=True)
class ClusterWorld:
    folder: Path
    spots: Sequence[Spot] = ()
    decisions: Sequence[Decision] = ()
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)
    overrides: Sequence[str] = ()
    committee: Sequence[TrackletTemplate] = ()
    runs: int = 0

    def run(self) -> Report:
        """Cluster the world; the run before is what the stage sees as its previous output."""
        self._write_inputs()
        previous = self.clusters if self.runs else None
        self.runs += 1
        scale = self.folder / "scale.json"
        scale.write_text(as_json([SCALE, replace(SCALE, contract_id="other")]), encoding="utf-8")
        tree = read_params(ROOT / "params.yaml", [f"cluster.calibration={scale}", *self.overrides])
        report = cluster.run(
            footage=self.folder / "footage",
            faces=self.folder / "faces",
            embeddings=self.folder / "embeddings",
            decisions=self.folder / "decisions",
            clusters=self.clusters,
            params=section(tree, "cluster", cluster.Params),
            context=self._context(previous),
        )
        report.check("cluster")
        return report

    @property
    def clusters(self) -> Path:
        return self.folder / f"clusters-{self.runs}"

    def rows(self) -> dict[str, Cluster]:
        return {row.face_id: row for row in read_table(self.clusters, "clusters", Cluster)}

    def partition(self) -> set[frozenset[str]]:
        """Who is together; faces that were left out stand alone."""
        groups: dict[object, set[str]] = {}
        for row in self.rows().values():
            groups.setdefault(row.cluster_id if row.cluster_id >= 0 else row.face_id, set()).add(row.face_id)
        return {frozenset(group) for group in groups.values()}

    def proposals(self) -> list[Proposal]:
        return list(read_table(self.clusters, "proposals", Proposal))

    def contradictions(self) -> list[Contradiction]:
        return list(read_table(self.clusters, "contradictions", Contradiction))

    def _context(self, previous: Path | None) -> Context:
        return Context(
            objects=FolderStore(self.folder / "objects"), progress=SilentProgress(), stopwatch=Stopwatch(), threads=1,
            run_key="run", previous={"clusters": previous},
        )  # fmt: skip

    def _write_inputs(self) -> None:
        footage = [_footage(name, self.keys) for name in sorted({spot.footage for spot in self.spots})]
        write_table(self.folder / "footage" / "footage.parquet", Footage, footage)
        write_table(self.folder / "faces" / "faces.parquet", Face, [_face(spot) for spot in self.spots])
        embeddings = self.folder / "embeddings"
        write_table(embeddings / "faces.parquet", FaceEmbedding, [_embedding(spot) for spot in self.spots])
        tracklets = dict.fromkeys(spot.tracklet for spot in self.spots)
        templates = [_template([spot for spot in self.spots if spot.tracklet == name]) for name in tracklets]
        write_table(embeddings / "templates.parquet", TrackletTemplate, templates)
        write_table(embeddings / "committee.parquet", TrackletTemplate, self.committee)
        write_table(embeddings / "near_duplicates.parquet", NearDuplicate, [])
        write_table(self.folder / "decisions" / "effective.parquet", Decision, self.decisions)
        write_table(self.folder / "decisions" / "events.parquet", IdentityEvent, [])


def _vector(axis: int) -> tuple[float, ...]:
    return tuple(np.eye(DIM, dtype=np.float32)[axis].tolist())


def _footage(name: str, keys: dict[str, tuple[str, ...]]) -> Footage:
    return Footage(
        footage_id=name, batch="b000", uri=name, locations=(name,), size_bytes=1, kind="video", width=9, height=9,
        rotation=0, fps=5.0, duration_s=1.0, frames=5, codec="h264", captured_at=None, source="s", subset="gate",
        consent_id=None, keys=keys.get(name, ()), flags=(),
    )  # fmt: skip


def _face(spot: Spot) -> Face:
    return Face(
        face_id=spot.name, footage_id=spot.footage, subset="gate", pts_ms=spot.pts_ms, bbox=(0.0, 0.0, 9.0, 9.0),
        landmarks=(0.0,) * 10, det_score=0.9, tracklet_id=spot.tracklet, is_best_shot=True, size_px=90.0,
        sharpness=1.0, brightness=0.5, contrast=0.2, yaw=0.0, pitch=0.0, roll=0.0, occlusion=0.0, quality=0.9,
        crop_key=f"b000/{spot.name}", detector="d", rejected=None,
    )  # fmt: skip


def _embedding(spot: Spot) -> FaceEmbedding:
    return FaceEmbedding(
        face_id=spot.name, tracklet_id=spot.tracklet, footage_id=spot.footage, contract_id=spot.contract,
        embedding=_vector(spot.axis),
    )  # fmt: skip


def _template(spots: Sequence[Spot]) -> TrackletTemplate:
    mean = np.mean([_vector(spot.axis) for spot in spots], axis=0)
    first = spots[0]
    return TrackletTemplate(
        tracklet_id=first.tracklet, footage_id=first.footage, subset="gate", contract_id=first.contract,
        faces=len(spots), weight=0.9 * len(spots), quality=0.9, coherence=1.0, best_face_id=first.name,
        embedding=tuple((mean / np.linalg.norm(mean)).astype(np.float32).tolist()),
    )  # fmt: skip


def other_opinion(axis_of: dict[str, int]) -> list[TrackletTemplate]:
    """Templates of a second recogniser: tracklet → axis."""
    return [
        _template([Spot(name=name, tracklet=name, axis=axis, pts_ms=0, contract="other")])
        for name, axis in axis_of.items()
    ]
