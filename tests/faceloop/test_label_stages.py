"""cluster and identify on small worlds whose answer is known."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from faceloop.params import read_params, section
from faceloop.progress import SilentProgress
from faceloop.stage import Context, Report, Stopwatch
from faceloop.stages import cluster, identify
from faceloop.stages.cluster import same_picture_pairs
from facestore.errors import ContractMismatch
from facestore.objects import FolderStore
from facestore.records import Assignment, Cluster, Face, Identity, TrackletTemplate
from facestore.tables import read_table, write_table

ROOT = Path(__file__).parents[2]


def _face(name: str, tracklet: str, pts_ms: int) -> Face:
    return Face(
        face_id=name, footage_id="clip", subset="gate", pts_ms=pts_ms, bbox=(0.0, 0.0, 9.0, 9.0),
        landmarks=(0.0,) * 10, det_score=0.9, tracklet_id=tracklet, is_best_shot=True, size_px=90.0, sharpness=1.0,
        brightness=0.5, contrast=0.2, yaw=0.0, pitch=0.0, roll=0.0, occlusion=0.0, quality=0.9,
        crop_key=f"b000/{name}", detector="d", rejected=None,
    )  # fmt: skip


def _template(tracklet: str, axis: int, contract: str = "c") -> TrackletTemplate:
    return TrackletTemplate(
        tracklet_id=tracklet, footage_id="clip", subset="gate", contract_id=contract, faces=1, weight=0.9,
        quality=0.9, coherence=1.0, best_face_id=tracklet, embedding=tuple(np.eye(8, dtype=np.float32)[axis].tolist()),
    )  # fmt: skip


def _context(tmp_path: Path, previous: Path | None = None) -> Context:
    return Context(
        objects=FolderStore(tmp_path / "objects"),
        progress=SilentProgress(),
        stopwatch=Stopwatch(),
        threads=1,
        run_key="run",
        previous={"assignments": previous},
    )


def _cluster(tmp_path: Path, faces: Sequence[Face], templates: Sequence[TrackletTemplate]) -> Report:
    write_table(tmp_path / "faces" / "faces.parquet", Face, faces)
    write_table(tmp_path / "embeddings" / "templates.parquet", TrackletTemplate, templates)
    params = section(read_params(ROOT / "params.yaml"), "cluster", cluster.Params)
    return cluster.run(
        faces=tmp_path / "faces",
        embeddings=tmp_path / "embeddings",
        clusters=tmp_path / "clusters",
        params=params,
        context=_context(tmp_path),
    )


def test_templates_of_two_embedding_contracts_are_refused(tmp_path: Path) -> None:
    faces = [_face("f1", "t1", 0), _face("f2", "t2", 200)]
    with pytest.raises(ContractMismatch, match="old-contract"):
        _cluster(tmp_path, faces, [_template("t1", 0), _template("t2", 0, "old-contract")])


def test_two_faces_of_one_picture_stay_apart_however_alike(tmp_path: Path) -> None:
    faces = [_face("f1", "t1", 0), _face("f2", "t2", 0), _face("f3", "t3", 200)]
    report = _cluster(tmp_path, faces, [_template("t1", 0), _template("t2", 0), _template("t3", 1)])
    label = {row.face_id: row.cluster_id for row in read_table(tmp_path / "clusters", "clusters", Cluster)}
    assert len(set(label.values())) == 3
    assert report.figures["cannot_link_pairs"] == 1
    assert report.items_in == report.published == 3


def test_alike_tracklets_of_different_pictures_are_one_cluster(tmp_path: Path) -> None:
    faces = [_face("f1", "t1", 0), _face("f2", "t2", 200), _face("f3", "t3", 400)]
    _cluster(tmp_path, faces, [_template("t1", 0), _template("t2", 0), _template("t3", 1)])
    rows = {row.face_id: row for row in read_table(tmp_path / "clusters", "clusters", Cluster)}
    assert rows["f1"].cluster_id == rows["f2"].cluster_id != rows["f3"].cluster_id
    assert [rows[name].status for name in ("f1", "f3")] == ["clustered", "singleton"]


def test_a_pair_seen_in_many_pictures_is_one_pair_and_faces_without_a_node_are_passed_over() -> None:
    pairs = same_picture_pairs([("a", 0), ("a", 0), ("a", 5), ("a", 5), ("b", 5)], [4, 2, 2, 4, None])
    assert pairs.tolist() == [[2, 4]]


def _identify(tmp_path: Path, labels: dict[str, int], out: str, previous: str | None = None) -> list[Identity]:
    faces = [_face(name, f"t-{name}", 200 * row) for row, name in enumerate(labels)]
    write_table(tmp_path / "faces" / "faces.parquet", Face, faces)
    rows = [
        Cluster(face_id=name, tracklet_id=f"t-{name}", cluster_id=label, confidence=0.9, status="clustered", run_id="r")
        for name, label in labels.items()
    ]
    write_table(tmp_path / "clusters" / "clusters.parquet", Cluster, rows)
    params = section(read_params(ROOT / "params.yaml"), "identify", identify.Params)
    report = identify.run(
        faces=tmp_path / "faces",
        clusters=tmp_path / "clusters",
        assignments=tmp_path / out,
        params=params,
        context=_context(tmp_path, tmp_path / previous if previous else None),
    )
    report.check("identify")
    return list(read_table(tmp_path / out, "identities", Identity))


def test_a_lone_face_stays_unknown_and_a_pair_becomes_an_identity(tmp_path: Path) -> None:
    (identity,) = _identify(tmp_path, {"a": 0, "b": 0, "c": 1}, "first")
    rows = {row.face_id: row for row in read_table(tmp_path / "first", "assignments", Assignment)}
    assert rows["a"].identity_id == rows["b"].identity_id == identity.identity_id
    assert (rows["c"].identity_id, rows["c"].state) == (None, "unknown")


def test_an_id_survives_the_next_run_and_a_merged_one_retires_with_its_successor(tmp_path: Path) -> None:
    before = _identify(tmp_path, {"a": 0, "b": 0, "c": 0, "d": 1, "e": 1}, "first")
    after = _identify(tmp_path, {"e": 7, "d": 7, "c": 7, "b": 7, "a": 7}, "second", previous="first")
    assert {identity.identity_id for identity in after} == {identity.identity_id for identity in before}
    (alive,) = [identity for identity in after if identity.is_active]
    (retired,) = [identity for identity in after if not identity.is_active]
    assert alive.faces == 5
    assert retired.successor == alive.identity_id
