"""The stage from end to end, in a world where the candidate sees more than the current model."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from faceloop.params import read_params, section
from faceloop.runner import Workspace, run_stage
from faceloop.stages.evaluate import Params
from facestore.errors import ConfigError
from facestore.publish import read_manifest

from .evaluation_world import cell_pack, evaluated, picture
from .runner_world import ROOT


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    found = evaluated(tmp_path_factory.mktemp("evaluated"))
    run_stage(found, "evaluate")
    return found


def _metrics(work: Workspace) -> dict[str, float]:
    found: dict[str, float] = json.loads((work.path("evaluation") / "metrics.json").read_text(encoding="utf-8"))
    return found


def _table(work: Workspace, name: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = pq.read_table(work.path("evaluation") / "tables" / f"{name}.parquet").to_pylist()
    return rows


def test_the_better_candidate_is_called_better_and_low_rates_are_refused(work: Workspace) -> None:
    metrics = _metrics(work)
    assert metrics["release.candidate.tar_at_far_0.05"] > metrics["release.current.tar_at_far_0.05"]
    assert metrics["release.gain.tar_at_far_0.05.low"] > 0
    assert "release.candidate.tar_at_far_1e-06" not in metrics
    assert metrics["release.candidate.fars_refused"] == 1
    verdicts = {row["far"]: row["verdict"] for row in _table(work, "verification") if row["model"] == "candidate"}
    assert list(verdicts.values())[1:] == ["better", "refused"]


def test_val_and_test_are_gold_and_looks_of_one_tracklet_are_no_pair(work: Workspace) -> None:
    metrics = _metrics(work)
    assert (metrics["release.faces"], metrics["release.identities"]) == (18 * 5, 18)
    assert metrics["release.candidate.genuine_pairs"] == 18 * (10 - 1)
    assert metrics["release.leaked_identities"] == metrics["release.leaked_faces"] == 0


def test_slices_come_from_faces_and_from_what_people_said(work: Workspace) -> None:
    names = {f"{row['kind']}:{row['band']}" for row in _table(work, "slices")}
    assert {"yaw:45_up", "yaw:0_to_15", "subset:gate", "subset:lobby", "occlusion:mask", "occlusion:unknown"} <= names


def test_the_page_says_it_in_words_with_all_pictures_inside_and_no_face_id(work: Workspace) -> None:
    page = (work.path("evaluation") / "report.html").read_text(encoding="utf-8")
    assert "It is better than the current model" in page
    assert "people confirmed 20% of its labels" in page
    assert page.count("data:image/png;base64,") >= 5
    assert 'src="http' not in page
    assert "16-0" not in page
    assert "person-16" not in page


def test_the_same_inputs_give_the_same_bytes(work: Workspace, tmp_path: Path) -> None:
    other = evaluated(tmp_path)
    run_stage(other, "evaluate")
    one, two = (read_manifest(found.path("evaluation")) for found in (work, other))
    assert one is not None
    assert two is not None
    assert one.digest == two.digest


@pytest.fixture(scope="module")
def flawed(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A leak, a floor that fails, and beside the release a frozen set of twelve people with pairs in two folds."""
    folder = tmp_path_factory.mktemp("flawed")
    lines = ["2 6"]
    for fold in range(2):
        mine = range(100 + 6 * fold, 106 + 6 * fold)
        lines += [f"zebulon{who} 1 2" for who in mine]
        lines += [f"zebulon{who} 1 zebulon{100 + (who - 99) % 12} 3" for who in mine]
    for who in range(100, 112):
        (folder / "photos" / f"zebulon{who}").mkdir(parents=True)
        for look in range(1, 4):
            path = folder / "photos" / f"zebulon{who}" / f"zebulon{who}_{look:04d}.png"
            Image.fromarray(picture(who, look)).save(path)
    (folder / "pairs.txt").write_text("\n".join(lines), encoding="utf-8")
    found = evaluated(
        folder / "root",
        f"evaluate.gold=[{{name: frozen, kind: pairs, path: '{folder / 'photos'}', "
        f"pairs_file: '{folder / 'pairs.txt'}', except_file: null, is_aligned: true}}]",
        "evaluate.floors={all: 0.0, yaw: 1.0}",
        leak=True,
    )
    run_stage(found, "evaluate")
    return found


def test_a_frozen_set_with_pairs_is_measured_beside_the_release_and_names_nobody(flawed: Workspace) -> None:
    metrics = _metrics(flawed)
    assert metrics["frozen.candidate.fold_accuracy"] > 0.8
    assert metrics["frozen.identities"] == 12
    texts = [path.read_bytes() for path in flawed.path("evaluation").rglob("*") if path.is_file()]
    assert not any(b"zebulon" in text for text in texts)


def test_a_leak_and_a_floor_that_fails_stand_in_tables_gate_and_page(flawed: Workspace) -> None:
    assert _metrics(flawed)["release.leaked_faces"] == 1
    assert _table(flawed, "leaks")[0]["gold_id"] == "16-0"
    failed = json.loads((flawed.path("evaluation") / "gate.json").read_text(encoding="utf-8"))["failed"]
    assert failed[0] == "gold release: near-duplicates of training 1, at most 0"
    assert any(line.startswith("gold release: slice yaw:0_to_15 TAR 0.") for line in failed)
    page = (flawed.path("evaluation") / "report.html").read_text(encoding="utf-8")
    assert "Gold release leaks: 0 people and 1 near-duplicate faces" in page
    assert "The gate of a promotion refuses this candidate" in page


def test_a_current_model_that_is_not_the_one_that_embedded_is_refused(tmp_path: Path) -> None:
    another = cell_pack(tmp_path / "another", 4)
    with pytest.raises(ConfigError, match=r"set evaluate\.current as embed\.model"):
        run_stage(evaluated(tmp_path / "root", f"evaluate.current.pack={another}"), "evaluate")


def test_a_release_without_gold_is_evaluated_and_nothing_is_said_of_the_model(tmp_path: Path) -> None:
    work = evaluated(tmp_path, "evaluate.splits=[val]", val=0)
    run_stage(work, "evaluate")
    assert _metrics(work)["release.faces"] == 0
    assert "There is no gold to measure on" in (work.path("evaluation") / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("evaluate.splits=[train]", "what a model was trained on is no gold"),
        ("evaluate.slices.far=0.5", r"slices\.far = 0\.5 is none of fars"),
        ("evaluate.fars=[0.001, 1.5]", "must lie between 0 and 1"),
        (
            "evaluate.gold=[{name: release, kind: folders, path: x, pairs_file: , except_file: , is_aligned: no}]",
            "names of their own",
        ),
        (
            "evaluate.gold=[{name: lfw, kind: pairs, path: x, pairs_file: null, except_file: null, is_aligned: no}]",
            "pairs_file belongs to kind pairs",
        ),
        ("evaluate.slices.measured={subset: {column: yaw, is_absolute: true, edges: [30.0]}}", "choose another name"),
    ],
)
def test_params_that_contradict_themselves_are_refused(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        section(read_params(ROOT / "params.yaml", [override]), "evaluate", Params)
