"""A model that was trained is kept, judged by its real evaluation, promoted and taken back."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.loop_params import LoopParams, ModelGateParams
from faceloop.params import section
from faceloop.promotion.model_registry import judge, opened_models, promote_model, promoted_pack, register
from faceloop.runner import Workspace, run_stage
from faceloop.vision.packs import load_pack
from facestore.errors import DataError, InputsNotReady, StageError
from facestore.publish import fresh_partial, publish, read_manifest

from .evaluation_world import cell_pack, evaluated


def _floors(work: Workspace) -> ModelGateParams:
    return section(work.tree, "loop", LoopParams).model_gate


def _trained(work: Workspace, cells: int) -> str:
    """Another candidate is published, and evaluated; its digest."""
    staging = fresh_partial(work.path("candidate"), keep=False)
    staging.rmdir()
    cell_pack(staging, cells)
    publish(work.path("candidate"), stage="train", run_key=f"run {cells}", counts={}, inputs={})
    run_stage(work, "evaluate")
    manifest = read_manifest(work.path("candidate"))
    assert manifest is not None
    return manifest.digest


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return evaluated(tmp_path_factory.mktemp("models"))


def test_a_better_model_is_promoted_a_worse_one_refused_and_the_way_back_is_open(work: Workspace) -> None:
    better = _trained(work, 4)
    with opened_models(work) as models:
        done = promote_model(work, models, _floors(work), by="ann", model_id=better, revision=None)
        assert (done.model_id, done.turn) == (better, "promoted")
        pack = promoted_pack(work, models)
        assert pack is not None
        assert load_pack(str(pack), accept_licence=None, insightface_root=None).pack_id == "cells-4"

        worse = _trained(work, 1)  # sees one colour of a picture
        with pytest.raises(StageError, match=r"fails its gate: .*against the current model"):
            promote_model(work, models, _floors(work), by="ann", model_id=worse, revision=None)
        assert models.current() == done
        assert promoted_pack(work, models) == pack, "another training does not replace what is in use"

        models.roll_back(by="ann", why="a test", model_id=better)
        assert models.current() is None
        assert promoted_pack(work, models) is None


def test_what_was_approved_is_what_is_promoted(work: Workspace) -> None:
    better = _trained(work, 4)
    _trained(work, 8)
    with opened_models(work) as models, pytest.raises(StageError, match="was meant"):
        promote_model(work, models, _floors(work), by="ann", model_id=better, revision=None)


def test_an_evaluation_of_an_earlier_candidate_judges_no_other(work: Workspace) -> None:
    _trained(work, 4)
    staging = fresh_partial(work.path("candidate"), keep=False)
    staging.rmdir()
    cell_pack(staging, 8)
    publish(work.path("candidate"), stage="train", run_key="late", counts={}, inputs={})
    with pytest.raises(InputsNotReady, match="of another candidate"):
        judge(work)


def test_a_kept_model_whose_bytes_changed_is_not_used(work: Workspace) -> None:
    better = _trained(work, 4)
    with opened_models(work) as models:
        model = register(work, models, revision=None)
        assert register(work, models, revision=None) == model
        models.promote(better, by="ann", evaluation="e", figures=[])
        file = work.root / model.folder / "model.onnx"
        kept = file.read_bytes()
        file.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        with pytest.raises(DataError, match=r"model\.onnx"):
            promoted_pack(work, models)
        file.write_bytes(kept)
        assert promoted_pack(work, models) is not None
        models.roll_back(by="ann", why="a test", model_id=None)


def test_the_commands_say_it_in_json(work: Workspace, tmp_path: Path) -> None:
    better = _trained(work, 4)
    params = tmp_path / "params.json"
    params.write_text(json.dumps(work.tree), encoding="utf-8")
    options = ["--root", str(work.root), "--params", str(params)]

    def said(*words: str) -> dict[str, object]:
        done = CliRunner().invoke(app, ["models", *words, *options], catch_exceptions=False)
        found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
        return found

    assert said("register")["model_id"] == better
    assert said("gate")["passed"] is True
    assert said("promote", "--by", "ann", "--model", better)["model_id"] == better
    assert said("list")["current"] == better
    assert said("rollback", "--by", "ann", "--why", "a test", "--model", better) == {
        "rolled_back": better,
        "current": None,
    }
