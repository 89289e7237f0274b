"""`faceloop reviews`: a random draw of machine labels, and what people said of them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.commands.options import workspace
from faceloop.decision_tables import read_logs
from facestore.errors import DataError, StageError
from facestore.publish import fresh_partial, publish
from facestore.records import Assignment, Cluster
from facestore.tables import write_table


def _label(face: str, source: str, identity: str | None) -> Assignment:
    return Assignment(
        face_id=face, identity_id=identity, state="proposed" if identity else "unknown", confidence=0.75,
        source=source, decision_id=None, via=None,  # type: ignore[arg-type]  # a literal
    )  # fmt: skip


def _cluster(face: str) -> Cluster:
    return Cluster(
        face_id=face, tracklet_id=face, cluster_id=0, confidence=0.625, status="clustered", key_group=-1, run_id="c"
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    labels = [_label(f"{n:032x}", "auto", "person-a") for n in range(20)]
    labels += [_label(f"{99:032x}", "human", "person-a"), _label(f"{98:032x}", "auto", None)]
    clusters = [_cluster(label.face_id) for label in labels]
    for name, record, rows in (("assignments", Assignment, labels), ("clusters", Cluster, clusters)):
        write_table(fresh_partial(tmp_path / name, keep=False) / f"{name}.parquet", record, rows)  # type: ignore[type-var]
        publish(tmp_path / name, stage=name, run_key="run-7", counts={}, inputs={})
    return tmp_path


def _said(root: Path, *arguments: str) -> str:
    done = CliRunner().invoke(app, ["reviews", *arguments, "--root", str(root)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


def test_a_draw_holds_machine_labels_only_and_repeats_with_its_seed(root: Path) -> None:
    drawn = [json.loads(line)["face_id"] for line in _said(root, "draw", "8").splitlines()]
    assert len(set(drawn)) == 8
    assert set(drawn) <= {f"{n:032x}" for n in range(20)}
    assert _said(root, "draw", "8") == _said(root, "draw", "8")
    assert _said(root, "draw", "8") != _said(root, "draw", "8", "--seed", "1")
    assert len(_said(root, "draw", "500").splitlines()) == 20


def test_a_review_keeps_what_the_machine_had_said(root: Path) -> None:
    _said(root, "add", f"{3:032x}", "--wrong", "--by", "ann")
    (review,) = read_logs(workspace(root, None, None)).reviews
    assert (review.face_id, review.identity_id, review.is_right) == (f"{3:032x}", "person-a", False)
    assert (review.confidence, review.run_id, review.annotator) == (0.625, "run-7", "ann")


def test_a_label_that_people_gave_is_not_reviewed(root: Path) -> None:
    with pytest.raises(DataError, match="no label of the machine"):
        _said(root, "add", f"{99:032x}", "--right")


def test_before_identify_there_is_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="run cluster and identify first"):
        _said(tmp_path, "draw", "3")
