"""Labels follow the promoted model: switched whole, the same again after a kill, and back to the byte."""

import copy
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from faceloop import migration
from faceloop.cli import app
from faceloop.decision_tables import with_decision_log
from faceloop.labelling_model import with_model_named
from faceloop.migration import contract_of, live_contract
from faceloop.promotion import switching
from faceloop.promotion.model_registry import PROMOTED_NOTE, opened_models, register
from faceloop.promotion.switching import Switched, switch_to_promoted
from faceloop.runner import Workspace, hold, run_stage, stage_params
from faceloop.stages import embed, evaluate
from faceloop.vision.packs import BUILTIN, KEPT_PREFIX
from facestore.decisions import decide
from facestore.errors import ConfigError, LeaseHeld, StageError, StoreError
from facestore.models import Models
from facestore.publish import fresh_partial, publish, verify

from .migration_world import (
    identities,
    identity_of,
    label,
    publish_a_label_that_no_machine_repeats,
    twin_pack,
    with_scale,
)
from .runner_world import counted, digests_of, open_root

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SWITCHED = ("embeddings", "clusters", "assignments")


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that sees what the built-in one sees, under a contract of its own."""
    return Path(twin_pack(tmp_path_factory.mktemp("pack") / "twin"))


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(twin_pack(tmp_path_factory.mktemp("pack") / "later"))


@pytest.fixture(scope="module")
def labelled(done: Workspace, twin: Path, later: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Labels and questions by the built-in model, one decision of a person among them."""
    folder = tmp_path_factory.mktemp("followed")
    shutil.copytree(done.root, folder / "root")
    work = open_root(folder / "root", with_scale(done.tree, folder, str(twin), str(later)))
    label(work)
    one, other = sorted(face for face, name in identity_of(work).items() if name is not None)[:2]
    said = decide("same", face_id=one, other_face_id=other, annotator="ann", decided_at=NOW)
    with_decision_log(work, lambda log: log.append([said]))
    label(work)
    run_stage(work, "select")
    return work


@pytest.fixture
def root(labelled: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(labelled.root, tmp_path / "root")
    return open_root(tmp_path / "root", labelled.tree)


def _registered(work: Workspace, models: Models, pack: Path) -> str:
    """The pack is the published candidate, and kept; its digest."""
    staging = fresh_partial(work.path("candidate"), keep=False)
    shutil.copytree(pack, staging, dirs_exist_ok=True)
    publish(work.path("candidate"), stage="train", run_key=pack.name, counts={}, inputs={})
    return register(work, models, revision=None).model_id


def _promoted(work: Workspace, pack: Path) -> str:
    with opened_models(work) as models:
        model_id = _registered(work, models, pack)
        models.promote(model_id, by="ann", evaluation="e", figures=[])
    return model_id


def _rolled_back(work: Workspace) -> None:
    with opened_models(work) as models:
        models.roll_back(by="ann", why="a test", model_id=None)


def _switch(work: Workspace, abort_above: float = 0.2) -> Switched:
    return switch_to_promoted(work, abort_above=abort_above, now=NOW)


def _labels(work: Workspace) -> bytes:
    verify(work.path("assignments"))
    return (work.path("assignments") / "assignments.parquet").read_bytes()


def test_promoted_is_the_builtin_model_while_none_is_and_nobody_sees_a_difference(root: Workspace) -> None:
    tree = copy.deepcopy(root.tree)
    tree["embed"]["model"]["pack"] = BUILTIN  # type: ignore[index,call-overload]  # a section of params.yaml
    assert stage_params(root, "embed") == stage_params(open_root(root.root, tree), "embed")
    assert run_stage(root, "embed").was_published_before
    assert run_stage(open_root(root.root, tree), "embed").was_published_before
    assert _switch(root).state == "unchanged"


def test_a_promotion_alone_changes_no_label_and_a_switch_brings_all_to_the_new_model(
    root: Workspace, twin: Path
) -> None:
    contract, labels, before = live_contract(root.path("embeddings")), identity_of(root), digests_of(root, *SWITCHED)
    model_id = _promoted(root, twin)
    for name in ("embed", "cluster", "identify"):
        assert run_stage(root, name).was_published_before, name
    assert digests_of(root, *SWITCHED) == before

    done = _switch(root)
    assert (done.state, done.model_id, done.old_contract) == ("switched", model_id, contract)
    assert live_contract(root.path("embeddings")) == done.new_contract != contract
    assert (done.faces_moved, done.faces_labelled > 0) == (0, True)
    assert sum(count for fate, count in done.identities.items() if fate != "unchanged") == 0
    assert identity_of(root) == labels
    for name in ("embed", "cluster", "identify", "select"):
        assert run_stage(root, name).was_published_before, name
    assert isinstance(params := stage_params(root, "evaluate"), evaluate.Params)
    assert params.current.pack == f"{KEPT_PREFIX}{root.root.resolve()}/models/{model_id}"
    assert params.model_dump(mode="json")["current"]["pack"] == f"{KEPT_PREFIX}{model_id}", "no key knows of the root"
    assert json.loads((root.root / PROMOTED_NOTE).read_bytes()) == {"model_id": model_id}
    assert _switch(root).state == "unchanged"


def test_after_a_roll_back_the_labels_are_those_of_before_to_the_byte_and_forward_again(
    root: Workspace, twin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, tables = _labels(root), digests_of(root, "embeddings", "clusters")
    model_id = _promoted(root, twin)
    forward = _switch(root)
    after = digests_of(root, *SWITCHED)
    _rolled_back(root)
    assert digests_of(root, *SWITCHED) == after, "labels follow by the switch"
    with counted(monkeypatch, embed) as embedded:
        back = _switch(root)
        assert (back.state, back.model_id, back.new_contract) == ("restored", None, forward.old_contract)
        assert _labels(root) == labels
        assert digests_of(root, "embeddings", "clusters") == tables
        with opened_models(root) as models:
            models.promote(model_id, by="ann", evaluation="e", figures=[])
        again = _switch(root)
        assert (again.state, again.new_contract) == ("switched", forward.new_contract)
        assert digests_of(root, "embeddings", "clusters") == after[:2]
    assert embedded == [], "the vectors of either model are kept"


def test_a_word_said_in_between_is_kept_on_the_way_back(root: Workspace, twin: Path) -> None:
    _promoted(root, twin)
    _switch(root)
    face = min(face for face, name in identity_of(root).items() if name is not None)
    said = decide("ignore", face_id=face, annotator="ann", decided_at=NOW)
    with_decision_log(root, lambda log: log.append([said]))
    _rolled_back(root)
    known = set(identities(root))
    done = _switch(root, abort_above=1.0)
    assert (done.state, done.model_id) == ("switched", None)
    assert identity_of(root)[face] is None
    assert known <= set(identities(root)), "every id is kept, if only as a tombstone"


def _die_embedding(patch: pytest.MonkeyPatch) -> None:
    real = embed.finish

    def finish(**given: object) -> object:
        patch.setattr(embed, "finish", real)
        raise KeyboardInterrupt

    patch.setattr(embed, "finish", finish)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def _die_exchanging(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(migration, "complete_exchange", _interrupted)


def _die_before_questions(patch: pytest.MonkeyPatch) -> None:
    real = migration.finish

    def finish(*given: object, **named: object) -> object:
        real(*given, **named)  # type: ignore[arg-type]  # as it was called
        raise KeyboardInterrupt

    patch.setattr(switching, "finish", finish)


@pytest.fixture(scope="module")
def unbroken(labelled: Workspace, twin: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Digests after a switch that nothing disturbed."""
    folder = tmp_path_factory.mktemp("unbroken")
    shutil.copytree(labelled.root, folder / "root")
    work = open_root(folder / "root", labelled.tree)
    _promoted(work, twin)
    assert _switch(work).state == "switched"
    return digests_of(work, *SWITCHED, "questions")


@pytest.mark.parametrize("die", [_die_embedding, _die_exchanging, _die_before_questions])
def test_a_switch_killed_anywhere_ends_as_an_unbroken_one(
    root: Workspace,
    unbroken: list[str],
    twin: Path,
    monkeypatch: pytest.MonkeyPatch,
    die: Callable[[pytest.MonkeyPatch], None],
) -> None:
    _promoted(root, twin)
    with monkeypatch.context() as patch:
        die(patch)
        with pytest.raises(KeyboardInterrupt):
            _switch(root)
    assert _switch(root).state in ("switched", "unchanged")
    assert digests_of(root, *SWITCHED, "questions") == unbroken


def test_another_model_promoted_in_the_middle_of_a_switch_is_the_one_that_labels(
    root: Workspace, twin: Path, later: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _promoted(root, twin)
    with monkeypatch.context() as patch:
        patch.setattr(migration, "compare", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            _switch(root)
    model_id = _promoted(root, later)
    done = _switch(root)
    assert (done.state, done.model_id) == ("switched", model_id)
    assert live_contract(root.path("embeddings")) == contract_of(root, f"{KEPT_PREFIX}{model_id}")


def test_a_model_that_moves_too_many_faces_labels_nothing(root: Workspace, twin: Path) -> None:
    publish_a_label_that_no_machine_repeats(root)
    before = digests_of(root, *SWITCHED)
    _promoted(root, twin)
    with pytest.raises(StageError, match="--abort-above"):
        _switch(root, abort_above=0.0)
    assert digests_of(root, *SWITCHED) == before
    assert run_stage(root, "embed").was_published_before, "what labels goes on as it was"


def test_a_root_without_embeddings_begins_with_the_promoted_model(ingested: Workspace, twin: Path) -> None:
    model_id = _promoted(ingested, twin)
    done = _switch(ingested)
    assert (done.state, done.model_id, done.old_contract) == ("nothing_embedded", model_id, None)
    named = with_model_named(ingested.tree, "embed", ingested.model_places())["embed"]
    assert named["model"]["pack"] == f"{KEPT_PREFIX}{ingested.root.resolve()}/models/{model_id}"  # type: ignore[index,call-overload]
    shutil.rmtree(ingested.root / "models" / model_id)
    with pytest.raises(StoreError, match="is gone"):
        stage_params(ingested, "embed")


def test_a_pack_that_params_name_stays_whatever_is_promoted(root: Workspace, twin: Path) -> None:
    _promoted(root, twin)
    tree = copy.deepcopy(root.tree)
    tree["embed"]["model"]["pack"] = BUILTIN  # type: ignore[index,call-overload]
    before = digests_of(root, *SWITCHED)
    assert _switch(open_root(root.root, tree)).state == "pinned"
    assert digests_of(root, *SWITCHED) == before


def test_promoted_is_no_word_for_a_detector(root: Workspace) -> None:
    tree = copy.deepcopy(root.tree)
    tree["detect"]["model"]["pack"] = "promoted"  # type: ignore[index,call-overload]
    with pytest.raises(ConfigError, match="may be 'promoted'"):
        run_stage(open_root(root.root, tree), "detect")


def test_no_switch_while_a_stage_runs(root: Workspace, twin: Path) -> None:
    _promoted(root, twin)
    with hold(root, "embed"), pytest.raises(LeaseHeld):
        _switch(root)


def test_the_commands_promote_switch_and_take_back(root: Workspace, twin: Path, tmp_path: Path) -> None:
    _promoted(root, twin)
    params = tmp_path / "params.json"
    params.write_text(json.dumps(root.tree), encoding="utf-8")

    def said(*words: str) -> dict[str, object]:
        given = ["models", *words, "--root", str(root.root), "--params", str(params)]
        done = CliRunner().invoke(app, given, catch_exceptions=False)
        found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
        return found

    assert [said("switch")["state"] for _ in range(2)] == ["switched", "unchanged"]
    assert said("rollback", "--by", "ann", "--why", "a test")["current"] is None
    assert json.loads((root.root / PROMOTED_NOTE).read_bytes()) == {"model_id": None}
    assert said("switch")["identities_changed"] == 0
