"""calibrate on a root: what is measured is printed and written, what cannot be is said."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.clustering.calibration import read_calibrations
from faceloop.commands.calibrate import unlabelled_of
from faceloop.runner import Workspace
from facestore.publish import fresh_partial, publish
from facestore.records import Face, FaceEmbedding, TrackletTemplate
from facestore.tables import write_table


def _run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["calibrate", *(str(one) for one in arguments)])
    return done.exit_code, done.output if done.exception is None else f"{done.output}{done.exception}"


def _template(name: str, vector: list[float], quality: float = 0.9) -> TrackletTemplate:
    return TrackletTemplate(
        tracklet_id=name,
        footage_id="f",
        subset="s",
        contract_id="new",
        faces=1,
        weight=1.0,
        quality=quality,
        coherence=1.0,
        best_face_id=name,
        embedding=tuple(vector),
    )


def _root_of(folder: Path, people: int) -> Path:
    """A root whose embeddings are random directions, one tracklet a person, and one of poor quality."""
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(people, 64))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [_template(f"t{n:03d}", vector) for n, vector in enumerate(vectors.tolist())]
    for artifact in ("faces", "embeddings"):
        staging = fresh_partial(folder / artifact, keep=False)
        if artifact == "embeddings":
            write_table(staging / "templates.parquet", TrackletTemplate, [*rows, _template("poor", [0.125] * 64, 0.1)])
            write_table(staging / "committee.parquet", TrackletTemplate, [])
            write_table(staging / "faces.parquet", FaceEmbedding, [])
        else:
            write_table(staging / "faces.parquet", Face, [])
        publish(folder / artifact, stage="test", run_key="k", counts={}, inputs={})
    return folder


def test_a_root_of_many_people_is_measured_printed_and_written(tmp_path: Path) -> None:
    root, file = _root_of(tmp_path / "root", 90), tmp_path / "here" / "mine.json"
    code, said = _run("--root", root, "--out", file)
    assert code == 0, said
    found = read_calibrations(file.read_text(encoding="utf-8"), file.name)["new"]
    assert found.impostor_mean == pytest.approx(0, abs=0.02)
    assert found.impostor_sd == pytest.approx(1 / 8, abs=0.02)
    assert "new: strangers" in said
    assert json.loads(file.read_text(encoding="utf-8"))[0]["source"] == "90 tracklets of root"  # the poor one left out


def test_too_few_people_end_with_what_is_missing(tmp_path: Path) -> None:
    code, said = _run("--root", _root_of(tmp_path, 9))
    assert code != 0
    assert "about 9 people found, 40 are needed" in said
    assert "nothing could be measured" in said


def test_before_embed_has_run_it_says_so(tmp_path: Path) -> None:
    code, said = _run("--root", tmp_path)
    assert code != 0
    assert "run detect and embed first" in said


def test_clips_tell_what_one_tracklet_and_one_picture_look_like(done: Workspace) -> None:
    (found,) = unlabelled_of(done)
    assert len(found.node_ids) == len(found.vectors)
    assert len(found.genuine)
    assert (found.genuine > 0.5).all()  # neighbouring frames of one head
