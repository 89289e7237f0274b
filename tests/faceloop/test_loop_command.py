"""`faceloop loop …`: one JSON object as the last line, ids and counts only, exit codes that a scheduler knows."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.commands.loop import NOTHING_TO_DO
from faceloop.runner import Workspace, run_stage

from .intake_world import QUICK, inbox, opened
from .runner_world import ROOT, SMALL


@pytest.fixture
def inbox_work(tmp_path: Path) -> Workspace:
    return opened(tmp_path / "root", inbox(tmp_path / "inbox"))


def _call(work: Workspace, *words: str, code: int = 0, run_id: str | None = None) -> dict[str, object]:
    overrides = [*SMALL, *QUICK, f"paths.source={work.external('source')}"]
    options = ["--root", str(work.root), "--params", str(ROOT / "params.yaml")]
    options += [word for override in overrides for word in ("-S", override)]
    result = CliRunner().invoke(app, ["loop", *words, *options], env={"FACELOOP_RUN_ID": run_id})
    assert result.exit_code == code, (result.output, result.exception)
    last: dict[str, object] = json.loads(result.stdout.splitlines()[-1])
    return last


def test_footage_is_planned_taken_published_and_then_nothing_is_left_to_do(inbox_work: Workspace) -> None:
    plan = _call(inbox_work, "plan-footage")
    assert plan.keys() == {"locations", "known", "new", "new_mb", "arriving", "shares"}
    shares = plan["shares"]
    assert isinstance(shares, list)
    taken = [_call(inbox_work, "take", share) for share in shares]
    assert taken[0].keys() == {"share", "in", "published", "rejected", "pending"}
    assert sum(int(str(each["in"])) for each in taken) == plan["new"] == 10
    assert _call(inbox_work, "plan-footage")["new"] == 0
    run_stage(inbox_work, "ingest")
    nothing = _call(inbox_work, "plan-footage", code=NOTHING_TO_DO)
    assert (nothing["new"], nothing["shares"], nothing["locations"]) == (0, [], 10)


def test_no_name_of_a_file_leaves_with_an_answer(inbox_work: Workspace) -> None:
    plan = _call(inbox_work, "plan-footage")
    taken = _call(inbox_work, "take", plan["shares"][0])  # type: ignore[index]  # a list
    said = json.dumps([plan, taken])
    names = {part for path in Path(inbox_work.external("source")).rglob("*") for part in (path.name, path.stem)}
    assert not [name for name in names if len(name) > 1 and name in said]


def test_batches_are_planned_by_name(ingested: Workspace) -> None:
    first = _call(ingested, "plan-batches", "detect")
    groups = first["groups"]
    assert isinstance(groups, list)
    assert all(isinstance(group, str) for group in groups)
    run_stage(ingested, "detect", batches=" ".join(groups).split())
    assert _call(ingested, "plan-batches", "detect")["groups"] == []


def test_only_news_ends_with_zero(work: Workspace) -> None:
    assert _call(work, "changed", "faces", "--by", "dag/1")["changed"] is True
    assert _call(work, "changed", "faces", run_id="dag/1")["changed"] is True
    told = _call(work, "changed", "faces", "--by", "dag/2", code=NOTHING_TO_DO)
    assert told["what"] == "faces"
    assert len(str(told["digest"])) == 64
    assert _call(work, "changed", "release", "--by", "dag/2", code=NOTHING_TO_DO)["digest"] is None
