import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from faceloop.commands.simulate import read_world, selection_params, simulate_answers
from faceloop.params import read_params, section
from faceloop.questions.oracle import Oracle, SimulationParams, questions_to_reach, simulate
from faceloop.questions.plan_params import SelectParams
from faceloop.questions.selection import Strategy
from faceloop.reports.truth import TruthSpec
from faceloop.runner import Workspace
from facestore.errors import ConfigError, DataError, StageError

from .runner_world import ROOT, open_root, run_chain

DATA = ROOT.parent / "shared" / "data"
FOLDERS = TruthSpec(file=None, except_file=None)

runner = CliRunner()
app = typer.Typer()
app.command()(simulate_answers)


def test_the_nodes_of_a_root_meet_their_truth(done: Workspace) -> None:
    world = read_world(done, FOLDERS)
    # The photo of one folder only: the other one lies in two folders, and clips are of nobody in particular.
    assert len(world.nodes.node_ids) == 1
    assert (world.truth.tolist(), world.faces.tolist()) == ([0], [1])
    assert len(world.known.cannot_link) == 0


def test_the_command_writes_its_curves_and_says_when_the_target_was_reached(done: Workspace, tmp_path: Path) -> None:
    options = ["--truth", "folders", "--root", str(done.root), "--params", str(ROOT / "params.yaml")]
    options += ["--seeds", "2", "--questions", "4", "--error-rate", "0.03", "--out", str(tmp_path / "out")]
    told = runner.invoke(app, options, catch_exceptions=False)
    assert told.exit_code == 0
    lines = told.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["expected_gain", "margin", "random", "written"]
    written = json.loads((tmp_path / "out" / "simulation.json").read_text(encoding="utf-8"))
    assert (written["target"], written["error_rate"]) == (0.99, 0.03)
    for strategy in ("expected_gain", "margin", "random"):
        runs = written["strategies"][strategy]["runs"]
        assert len(runs) == 2
        assert runs[0][0]["questions"] == 0
        assert runs[0][0]["pairwise_f"] == runs[1][0]["pairwise_f"]
    with Image.open(tmp_path / "out" / "simulation.png") as picture:
        assert np.asarray(picture.convert("RGB")).std() > 5  # something is drawn


def test_truth_that_knows_nobody_and_stages_that_have_not_run_are_named(
    done: Workspace, ingested: Workspace, tmp_path: Path
) -> None:
    excepted = tmp_path / "except.txt"
    excepted.write_text("album/it's her.jpg\nalbum/mirrored.png\nsame bytes.png\n", encoding="utf-8")
    with pytest.raises(DataError, match="truth names nobody"):
        read_world(done, TruthSpec(file=None, except_file=excepted))
    with pytest.raises(StageError, match="run ingest, detect and embed first"):
        read_world(ingested, FOLDERS)
    with pytest.raises(ConfigError, match="no such file"):
        runner.invoke(app, ["--truth", str(tmp_path / "no.json"), "--root", str(done.root)], catch_exceptions=False)


@pytest.mark.shared_data
@pytest.mark.integration
@pytest.mark.skipif(not DATA.is_dir(), reason="the development data is not beside the checkout")
def test_real_photos_reach_99_with_half_the_answers_of_a_random_order(tmp_path: Path) -> None:
    fixed = [f"paths.source={json.dumps(str(DATA / 'faces_dev'))}", "ingest.subset_from=source"]
    work = open_root(tmp_path, read_params(ROOT / "params.yaml", fixed))
    run_chain(work)
    world = read_world(work, TruthSpec(file=None, except_file=DATA / "faces_dev_label_errors.txt"))
    assert len(world.truth) > 1000
    # SFace starts above 0.99; thresholds that are 0.10 too strict stand for a recogniser that is weaker.
    given = world.partition_params
    stricter = replace(
        given,
        within_similarity=given.within_similarity + 0.1,
        across_similarity=given.across_similarity + 0.1,
        attach_similarity=given.attach_similarity + 0.1,
    )
    world = replace(world, partition_params=stricter)
    asking = section(work.tree, "select", SelectParams)
    strategies: tuple[Strategy, ...] = ("expected_gain", "random")
    for error_rate in (0.0, 0.03):
        needed: dict[Strategy, int] = {}
        for strategy in strategies:
            history = simulate(
                world,
                Oracle(truth=world.truth, error_rate=error_rate),
                selection_params(stricter, asking, error_rate=error_rate, seconds=4.0),
                SimulationParams(strategy=strategy, questions=150, batch_size=5, seed=1),
            )
            assert history[0].pairwise_f < 0.985
            reached = questions_to_reach(history, 0.99)
            needed[strategy] = 151 if reached is None else reached
        assert 2 * needed["expected_gain"] <= needed["random"]
