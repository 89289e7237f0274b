"""A model switch: tried in the shadow, exchanged whole, completed after a kill, taken back; ids and decisions stay."""

import copy
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from faceloop import migration
from faceloop.commands.migrate_model import migrate_model
from faceloop.migration import complete_pending, dry_run, finish, live_contract, plan_switch, roll_back
from faceloop.runner import Workspace, run_stage
from faceloop.shadow_impact import keep_ids
from facestore.errors import ConfigError, StageError
from facestore.ledger import Ledger
from facestore.publish import verify
from facestore.records import Identity
from facestore.tables import read_table, write_table

from .migration_world import (
    identities,
    identity_of,
    label,
    publish_a_label_that_no_machine_repeats,
    twin_pack,
    with_scale,
)
from .runner_world import digests_of, open_root

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SWITCHED = ("embeddings", "clusters", "assignments")


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> str:
    return twin_pack(tmp_path_factory.mktemp("pack") / "twin")


@pytest.fixture(scope="module")
def labelled(done: Workspace, twin: str, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("labelled")
    shutil.copytree(done.root, folder / "root")
    work = open_root(folder / "root", with_scale(done.tree, folder, twin))
    label(work)
    return work


@pytest.fixture
def root(labelled: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(labelled.root, tmp_path / "root")
    return open_root(tmp_path / "root", labelled.tree)


def _with_pack(work: Workspace, pack: str) -> Workspace:
    tree = copy.deepcopy(work.tree)
    tree["embed"]["model"]["pack"] = pack  # type: ignore[index,call-overload]  # a section of params.yaml
    return open_root(work.root, tree)


def test_a_dry_run_changes_nothing_and_says_that_equal_vectors_change_nothing(root: Workspace, twin: str) -> None:
    before = digests_of(root, *SWITCHED)
    impact = dry_run(root, plan_switch(root, "builtin", twin))
    assert digests_of(root, *SWITCHED) == before
    assert impact.labelled > 0
    assert impact.moves == ()
    assert {change.fate for change in impact.changes} == {"unchanged"}
    assert (root.root / "migration" / "impact.json").is_file()


def test_a_finished_switch_is_what_the_next_run_finds_and_it_can_be_taken_back(root: Workspace, twin: str) -> None:
    old_contract, before, labels = (
        live_contract(root.path("embeddings")),
        digests_of(root, *SWITCHED),
        identity_of(root),
    )
    switch = plan_switch(root, "builtin", twin)
    with pytest.raises(ConfigError, match=f"pack: {twin}"):
        finish(root, switch, abort_above=0.2, now=NOW)
    switched = _with_pack(root, twin)
    finish(switched, switch, abort_above=0.2, now=NOW)
    assert live_contract(root.path("embeddings")) == switch.new_contract != old_contract
    assert identity_of(root) == labels
    for name in ("embed", "cluster", "identify"):
        assert run_stage(switched, name).was_published_before, name
    with pytest.raises(ConfigError, match="pack: builtin"):
        roll_back(switched, "builtin", twin, now=NOW)
    roll_back(root, "builtin", twin, now=NOW + timedelta(hours=1))
    assert digests_of(root, *SWITCHED) == before
    for name in SWITCHED:
        verify(root.path(name))
    ledger = Ledger(root.ledger_url())
    last = ledger.latest("migrate-model")
    ledger.close()
    assert last is not None
    assert last.outputs == dict(zip(SWITCHED, before, strict=True))


def test_only_what_is_live_can_be_left_and_only_another_model_come(root: Workspace, twin: str) -> None:
    with pytest.raises(ConfigError, match="but live is"):
        plan_switch(root, twin, "builtin")
    with pytest.raises(ConfigError, match="live already"):
        plan_switch(root, "builtin", "builtin")
    contract = live_contract(root.path("embeddings"))
    assert plan_switch(root, contract, twin) == plan_switch(root, "builtin", twin)


def test_a_switch_that_moves_too_many_faces_is_refused(root: Workspace, twin: str) -> None:
    publish_a_label_that_no_machine_repeats(root)
    switched = _with_pack(root, twin)
    before = digests_of(root, *SWITCHED)
    with pytest.raises(StageError, match="--abort-above"):
        finish(switched, plan_switch(root, "builtin", twin), abort_above=0.0, now=NOW)
    assert digests_of(root, *SWITCHED) == before


def test_after_a_kill_no_stage_runs_until_the_switch_is_completed(
    root: Workspace, twin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch, switched = plan_switch(root, "builtin", twin), _with_pack(root, twin)

    def killed(journal: Path) -> None:
        raise KeyboardInterrupt(journal)

    with monkeypatch.context() as patch:
        patch.setattr(migration, "complete_exchange", killed)
        with pytest.raises(KeyboardInterrupt):
            finish(switched, switch, abort_above=0.2, now=NOW)
    with pytest.raises(StageError, match="cut short"):
        run_stage(switched, "cluster")
    assert complete_pending(switched)
    assert not complete_pending(switched)
    assert live_contract(root.path("embeddings")) == switch.new_contract
    assert run_stage(switched, "identify").was_published_before
    ledger = Ledger(root.ledger_url())
    assert ledger.latest("migrate-model") is not None
    ledger.close()


def test_an_identity_minted_after_the_switch_stays_as_a_tombstone_when_it_is_taken_back(root: Workspace) -> None:
    restored, live = root.root / "restored", root.root / "live"
    shutil.copytree(root.path("assignments"), restored)
    shutil.copytree(root.path("assignments"), live)
    known = identities(root)
    seed = min(face for face, name in identity_of(root).items() if name is not None)
    first = next(iter(known.values()))
    minted = Identity(
        **{
            **{name: getattr(first, name) for name in Identity.__slots__},
            "identity_id": "person-new",
            "seed_face_id": seed,
        }
    )
    write_table(live / "identities.parquet", Identity, [*known.values(), minted])
    keep_ids(restored, live)
    verify(restored)
    after = {row.identity_id: row for row in read_table(restored, "identities", Identity)}
    assert after.keys() == {*known, "person-new"}
    assert (after["person-new"].is_active, after["person-new"].successor) == (False, identity_of(root)[seed])
    assert {name: row for name, row in after.items() if name != "person-new"} == known


def test_the_command_reports_a_dry_run_and_refuses_two_wishes_at_once(
    root: Workspace, twin: str, tmp_path: Path
) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump(root.tree), encoding="utf-8")
    app = typer.Typer()
    app.command()(migrate_model)
    given = ["builtin", twin, "--root", str(root.root), "--params", str(params)]
    shown = CliRunner().invoke(app, [*given, "--json"], catch_exceptions=False)
    counts = json.loads(shown.stdout)
    assert counts["faces_labelled"] > 0
    assert counts["faces_moved"] == counts["decisions_violated"] == 0
    assert "decisions: 0 broken" in CliRunner().invoke(app, given, catch_exceptions=False).stdout
    with pytest.raises(ConfigError, match="exclude one another"):
        CliRunner().invoke(app, [*given, "--finish", "--roll-back"], catch_exceptions=False)
