"""A catalogue that is lost: what the store alone gives back, and what it says that it cannot."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from faceloop.catalogue_rebuild import rebuild
from faceloop.cli import app
from faceloop.decision_tables import ARTIFACT, export_decisions, read_logs
from faceloop.runner import Workspace
from facestore.backups import states_at
from facestore.decisionlog import DecisionLog
from facestore.decisions import Review, decide, identity_event
from facestore.errors import DataError
from facestore.identitylog import IdentityLog
from facestore.ledger import Ledger

from .runner_world import CHAIN, open_root, run_chain, tree_of

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def _say(work: Workspace) -> None:
    decisions, identities = DecisionLog(work.ledger_url()), IdentityLog(work.ledger_url())
    said = decide("ignore", face_id="f1", annotator="ann", decided_at=NOON, note="wirklich · 真")
    decisions.append([said, decide("retract", retracts=said.decision_id, annotator="ann", decided_at=NOON)])
    identities.append([identity_event("rename", identity_id="person-1", name="A", annotator="ann", happened_at=NOON)])
    review = Review(
        face_id="f1", identity_id="person-1", confidence=0.5, run_id="r", is_right=True, annotator="a", reviewed_at=NOON
    )
    identities.append_reviews([review])
    decisions.close()
    identities.close()


def _runs(work: Workspace, keys: list[str]) -> list[tuple[object, ...]]:
    ledger = Ledger(work.ledger_url())
    found = [run for key in keys if (run := ledger.find(key)) is not None]
    ledger.close()
    return [(run.run_key, run.stage, run.params, run.inputs, run.outputs, run.counts) for run in found]


def _lose(work: Workspace) -> None:
    for path in work.root.glob("ledger*"):
        path.unlink()


@pytest.fixture
def told(work: Workspace) -> Workspace:
    _say(work)
    export_decisions(work)
    return work


def test_runs_and_decisions_come_back_as_they_were(told: Workspace) -> None:
    keys = [outcome.run_key for outcome in run_chain(told).values()]
    runs, logs = _runs(told, keys), read_logs(told)
    assert len(runs) == len(CHAIN)
    _lose(told)
    assert _runs(told, keys) == []
    _lose(told)
    done = rebuild(told)
    assert (done.runs, done.guessed, done.decisions, done.events, done.reviews) == (len(CHAIN), 0, 2, 1, 1)
    assert _runs(told, keys) == runs
    assert read_logs(told) == logs
    again = rebuild(told)
    assert (again.runs, again.decisions, again.events, again.reviews) == (0, 0, 0, 0)


def test_params_that_cannot_be_proved_are_not_claimed(told: Workspace, face_source: Path) -> None:
    keys = [outcome.run_key for outcome in run_chain(told).values()]
    _lose(told)
    other = open_root(told.root, tree_of(face_source, "detect.best_shots=1"))
    assert rebuild(other).guessed == 1
    assert [run[2] is None for run in _runs(told, keys)] == [name == "detect" for name in CHAIN]


def test_decisions_that_fail_their_hash_are_not_taken(told: Workspace) -> None:
    table = told.path(ARTIFACT) / "decisions.parquet"
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes(bytes(content))
    _lose(told)
    with pytest.raises(DataError, match="sha256"):
        rebuild(told)
    assert read_logs(told).decisions == ()


def _called(*words: object) -> dict[str, object]:
    done = CliRunner().invoke(app, ["catalogue", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, object] = json.loads(done.output.splitlines()[-1])
    return found


def test_the_commands_save_prove_move_and_give_back_a_catalogue(told: Workspace, tmp_path: Path) -> None:
    url, root = told.ledger_url(), ("--root", told.root)
    before = states_at(url)
    rows = sum(state.rows for state in before)
    assert _called("migrate", *root) == {"before": "0001", "after": "0001"}
    assert _called("backup", tmp_path / "saved", *root)["rows"] == rows
    assert _called("drill", *root)["equal"] is True
    log = DecisionLog(url)
    log.append([decide("ignore", face_id="f2", annotator="ann", decided_at=NOON)])
    log.close()
    drilled = _called("drill", tmp_path / "saved", *root)
    assert (drilled["equal"], drilled["rows_since"]) == (True, 1)
    moved = f"sqlite:///{tmp_path / 'moved.sqlite3'}"
    assert _called("copy", "--to", moved, *root)["rows"] == rows + 1
    _lose(told)
    assert _called("restore", tmp_path / "saved", *root)["rows"] == rows
    assert states_at(url) == before
    _lose(told)
    assert _called("rebuild", *root)["decisions"] == 2
