"""`faceloop cluster`: people's own vectors in, labels out, bad input named."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.clustering.calibration import as_json
from facestore.errors import ConfigError, DataError

from .cluster_world import SCALE

AXES = np.eye(4, dtype=np.float32)


def _scale(folder: Path) -> Path:
    spelled = as_json([SCALE]).replace('"contract_id": "c"', '"contract_id": "own-vectors"')
    (folder / "scale.json").write_text(spelled, encoding="utf-8")
    return folder / "scale.json"


def _cluster(folder: Path, vectors: npt.ArrayLike, *options: object) -> tuple[list[int], dict[str, object]]:
    np.save(folder / "vectors.npy", vectors)
    arguments = ["cluster", folder / "vectors.npy", "--out", folder / "labels.npy", "--calibration", _scale(folder)]
    done = CliRunner().invoke(app, [str(part) for part in (*arguments, *options)])
    if done.exception is not None:
        raise done.exception
    labels = np.load(folder / "labels.npy")
    assert labels.dtype == np.int64
    return labels.tolist(), json.loads(done.stdout)


def _saved(path: Path, values: object) -> Path:
    np.save(path, np.asarray(values))
    return path


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_alike_vectors_share_a_label(tmp_path: Path) -> None:
    labels, said = _cluster(tmp_path, AXES[[0, 1, 0, 1, 2]])
    assert labels == [0, 1, 0, 1, 2]
    assert (said["vectors"], said["clusters"], said["rejected"]) == (5, 3, {})


def test_bad_vectors_get_no_label_and_are_counted(tmp_path: Path) -> None:
    vectors = AXES[[0, 0, 1, 2]].copy()
    vectors[2], vectors[3] = np.nan, 0
    labels, said = _cluster(tmp_path, vectors)
    assert labels == [0, 0, -1, -1]
    assert said["rejected"] == {"not_finite": 1, "zero_norm": 1}


def test_constraints_tracklets_subsets_and_quality_are_obeyed(tmp_path: Path) -> None:
    pairs = _written(tmp_path / "pairs.csv", "verb,first,second\nsame,0,1\ndifferent,2,3\n")
    labels, _ = _cluster(tmp_path, AXES[[0, 1, 2, 2]], "--constraints", pairs)
    assert labels == [0, 0, 1, 2]
    labels, said = _cluster(
        tmp_path, AXES[[0, 1, 2, 2]], "--tracklets", _saved(tmp_path / "t.npy", ["a", "a", "", "b"])
    )
    assert labels[0] == labels[1]
    assert said["nodes"] == 3
    _, said = _cluster(
        tmp_path, AXES[[0, 0]], "--quality", _saved(tmp_path / "q.npy", [0.9, 0.1]),
        "--subsets", _saved(tmp_path / "s.npy", [0, 1]),
    )  # fmt: skip
    assert said["nodes_left_out"] == {"low_quality": 1}


@pytest.mark.parametrize("rows", [0, 1])
def test_none_and_one_vector_are_no_error(tmp_path: Path, rows: int) -> None:
    assert _cluster(tmp_path, AXES[:rows])[0] == [0] * rows


@pytest.mark.parametrize(
    ("line", "said"),
    [("like,0,1", "line 2"), ("same,0,9", "two rows of 4"), ("same,1,1", "line 2"), ("same,0,-1", "line 2")],
)
def test_a_constraint_that_cannot_be_read_is_named(tmp_path: Path, line: str, said: str) -> None:
    pairs = _written(tmp_path / "pairs.csv", f"verb,first,second\n{line}\n")
    with pytest.raises(DataError, match=said):
        _cluster(tmp_path, AXES, "--constraints", pairs)


def test_constraints_that_nothing_can_satisfy_are_refused_with_the_rows_that_prove_it(tmp_path: Path) -> None:
    pairs = _written(tmp_path / "pairs.csv", "verb,first,second\nsame,0,1\nsame,1,2\ndifferent,0,2\nsame,2,3\n")
    with pytest.raises(DataError, match="contradict"):
        _cluster(tmp_path, AXES, "--constraints", pairs)


@pytest.mark.parametrize("vectors", [AXES.astype(object), np.zeros(4, np.float32), np.array(["a", "b"])])
def test_what_is_no_matrix_of_numbers_is_refused(tmp_path: Path, vectors: npt.ArrayLike) -> None:
    with pytest.raises(DataError):
        _cluster(tmp_path, vectors)


def test_too_few_people_to_calibrate_on_are_told(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", AXES)
    done = CliRunner().invoke(app, ["cluster", str(tmp_path / "vectors.npy"), "--out", str(tmp_path / "labels.npy")])
    assert isinstance(done.exception, ConfigError)
    assert not (tmp_path / "labels.npy").exists()


def test_strangers_are_told_apart_by_a_threshold_measured_on_the_vectors_themselves(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((80, 64))
    vectors = np.repeat(centres / np.linalg.norm(centres, axis=1, keepdims=True), 5, axis=0)
    vectors += 0.05 * rng.standard_normal(vectors.shape)
    np.save(tmp_path / "vectors.npy", vectors)
    arguments = ["cluster", str(tmp_path / "vectors.npy"), "--out", str(tmp_path / "labels.npy"), "--normalise"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    assert np.array_equal(np.load(tmp_path / "labels.npy"), np.repeat(np.arange(80), 5))
