"""Batches that need work are grouped; finished ones, staged or published, are left alone. Only news is announced."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from faceloop.decision_tables import export_decisions, with_decision_log
from faceloop.intake.changes import What, announce_change, content_digest
from faceloop.intake.groups import plan_batches
from faceloop.runner import Workspace, run_stage
from facestore.decisions import decide
from facestore.errors import StageError

from .runner_world import open_root, tree_of


def _batches(work: Workspace) -> list[str]:
    return sorted(path.name for path in work.path("footage").iterdir() if path.is_dir())


def test_every_batch_of_a_new_footage_is_in_one_group(ingested: Workspace) -> None:
    plan = plan_batches(ingested, "detect")
    assert sorted(batch for group in plan.groups for batch in group) == _batches(ingested)
    assert (plan.batches, plan.unchanged) == (len(_batches(ingested)), 0)
    assert len(plan.groups) == len(_batches(ingested))


def test_there_are_no_more_groups_than_tasks(ingested: Workspace, face_source: Path) -> None:
    few = open_root(ingested.root, tree_of(face_source, "loop.most_tasks=2"))
    plan = plan_batches(few, "detect")
    assert len(plan.groups) == 2
    assert sorted(batch for group in plan.groups for batch in group) == _batches(ingested)


def test_finished_batches_need_no_work_whether_staged_or_published(work: Workspace) -> None:
    assert plan_batches(work, "detect").groups == ()
    assert plan_batches(work, "embed").unchanged == len(_batches(work))
    shutil.rmtree(work.path("embeddings"))
    assert len(plan_batches(work, "embed").groups) == len(_batches(work))


def test_a_staged_batch_is_unchanged_and_the_others_are_due(ingested: Workspace) -> None:
    batch, *others = _batches(ingested)
    run_stage(ingested, "detect", batches=[batch])
    plan = plan_batches(ingested, "detect")
    assert plan.unchanged == 1
    assert sorted(batch for group in plan.groups for batch in group) == others


def test_what_is_planned_is_what_a_run_would_do_under_other_params(work: Workspace, face_source: Path) -> None:
    other = open_root(work.root, tree_of(face_source, "embed.duplicate_similarity=0.5"))
    assert plan_batches(other, "detect").groups == ()
    assert plan_batches(other, "embed").unchanged == 0


def test_stages_without_batches_and_missing_inputs_are_refused(ingested: Workspace) -> None:
    with pytest.raises(StageError, match="no batches"):
        plan_batches(ingested, "cluster")
    with pytest.raises(StageError, match="missing input"):
        plan_batches(ingested, "embed")


def test_faces_are_news_once_and_again_only_when_they_differ(work: Workspace, face_source: Path) -> None:
    assert announce_change(work, "faces", run_id="ingest/1").is_news
    assert announce_change(work, "faces", run_id="ingest/1").is_news
    assert not announce_change(work, "faces", run_id="ingest/2").is_news
    run_stage(work, "embed", again=True)
    assert not announce_change(work, "faces", run_id="ingest/3").is_news  # the same bytes
    run_stage(open_root(work.root, tree_of(face_source, "embed.duplicate_similarity=0.5")), "embed")
    assert announce_change(work, "faces", run_id="ingest/4").is_news


def test_what_was_never_published_is_no_news(work: Workspace) -> None:
    nothing: tuple[What, ...] = ("labels", "release", "decisions")
    for what in nothing:
        change = announce_change(work, what, run_id="a")
        assert (change.digest, change.is_news) == (None, False)


def test_artifacts_of_different_runs_are_not_announced(work: Workspace, face_source: Path) -> None:
    run_stage(open_root(work.root, tree_of(face_source, "detect.min_quality=0.9")), "detect")
    with pytest.raises(StageError, match="another version of faces"):
        announce_change(work, "faces", run_id="a")


def test_a_new_decision_is_news_and_its_export_is_not(work: Workspace) -> None:
    said = decide("not_a_face", face_id="f" * 32, annotator="anna", decided_at=datetime(2026, 5, 1, tzinfo=UTC))
    with_decision_log(work, lambda log: log.append([said]))
    assert announce_change(work, "decisions", run_id="a").is_news
    before = content_digest(work, "decisions")
    export_decisions(work)
    assert content_digest(work, "decisions") == before
    assert not announce_change(work, "decisions", run_id="b").is_news
