"""Vitals, on SQLite and on PostgreSQL: sums of the ledger, leases, questions, jobs and promotions."""

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from facestore.leases import Leases
from facestore.ledger import Ledger, StageRun
from facestore.promotions import PromotionRequest, Promotions, Stock
from facestore.questions import AnnotationState, AnnotationVersion, Question, ReviewProject, ReviewTask, Settlement
from facestore.reviewlog import ReviewLog
from facestore.vitals import CatalogueVitals, Vitals, promoted_inputs

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
_scopes = count()


@pytest.fixture
def scope() -> str:
    """A prefix of names of this test: the server's database is shared."""
    return f"v{next(_scopes)}-"


def stage_run(key: str, stage: str, **changes: object) -> StageRun:
    plain = StageRun(
        run_key=key, stage=stage, params={}, inputs={}, outputs={}, counts={"in": 3}, timings={},
        published_at=NOON, wall_s=2.0,
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def vitals(url: str) -> CatalogueVitals:
    with closing(Vitals(url)) as opened:
        return opened.read()


def test_an_empty_catalogue_has_nothing_to_say(sqlite_url: str) -> None:
    found = vitals(sqlite_url)
    assert (found.stages, found.leases, found.questions, found.jobs) == ((), (), (), ())
    assert (found.hints, found.promotions, found.promoted_at) == (0, 0, None)


def test_a_stage_has_its_sums_and_its_newest_run(url: str, scope: str) -> None:
    stage = scope + "detect"
    with closing(Ledger(url)) as ledger:
        ledger.record(stage_run(scope + "new", stage, published_at=NOON + timedelta(hours=1), counts={"in": 5}))
        ledger.record(stage_run(scope + "old", stage, wall_s=3.0))
    (found,) = [one for one in vitals(url).stages if one.stage == stage]
    assert (found.runs, found.seconds, found.last_counts) == (2, 5.0, {"in": 5})
    assert found.last_at == NOON + timedelta(hours=1)


def test_leases_are_summed_by_the_work_they_begin_with(url: str, scope: str) -> None:
    work = scope + "detect"
    with closing(Leases(url, holder="elsewhere:1:1")) as leases:
        leases.take(f"{work}/b000", 60)
        leases.take(f"{work}/b001", 60)
        leases.give_back(leases.take(f"{work}/b002", 60))
        leases.take(f"{work}/b003", -1)  # run out
        leases.take(f"{work}/b003", 60)
    (found,) = [one for one in vitals(url).leases if one.work == work]
    assert (found.held, found.losses) == (3, 1)


def test_questions_wait_until_they_are_answered_skipped_or_closed(sqlite_url: str) -> None:
    names = ("waits", "answered", "skipped", "closed", "planned")
    with closing(ReviewLog(sqlite_url)) as log:
        log.offer([_question(name) for name in names], at=NOON)
        log.add_project(
            ReviewProject(
                key="p",
                instance="i",
                project_id=1,
                kind="same_person",
                round=1,
                overlap=1,
                config_sha256="c",
                model_version="m",
                created_at=NOON,
                is_open=True,
            )
        )
        tasks = [_task(name, number) for number, name in enumerate(names, start=1)]
        log.plan(tasks)
        log.change_tasks([replace(task, state="pushed") for task in tasks[:-1]])
        log.record([_version("answered", 2, 1), _version("skipped", 3, 1, state="skipped")], [], [])
        closed = Settlement(question_id="closed", state="withdrawn", decision_ids=(), changed_at=NOON)
        log.record([_version("answered", 2, 2)], [closed], [])
    (found,) = vitals(sqlite_url).questions
    assert (found.kind, found.waiting, found.answers, found.oldest_at) == ("same_person", 1, 1, NOON)


def test_the_inputs_of_the_current_release_are_those_of_the_run_that_packed_it(sqlite_url: str) -> None:
    with closing(Ledger(sqlite_url)) as ledger:
        for name in ("one", "two"):
            made = {"inputs": {"faces": f"faces of {name}"}, "outputs": {"release": f"release {name}"}}
            ledger.record(stage_run(name, "pack", **made))
    assert promoted_inputs(sqlite_url) == {}
    with closing(Promotions(sqlite_url)) as promotions:
        for name in ("one", "two", "unknown"):
            promotions.promote(_promotion(f"release {name}"))
        assert promoted_inputs(sqlite_url) == {}  # the newest one was not packed here
        promotions.roll_back(by="somebody", why="it is unknown", release=None)
    assert promoted_inputs(sqlite_url) == {"faces": "faces of two"}
    assert vitals(sqlite_url).promotions == 3


def _promotion(release: str) -> PromotionRequest:
    stock = Stock(faces=1, decisions=0, labels_digest="")
    return PromotionRequest(
        release=release, by="somebody", job_id=None, parameter_set="default", revision=None, figures={}, stock=stock
    )


def _question(name: str) -> Question:
    return Question(
        question_id=name, kind="same_person", subject="{}", subset="s", reason="bridge", reason_detail="",
        model_version="m", chance=0.7, gain=3.0, seconds=4.0, needs=1, expected=None, rank=5,
    )  # fmt: skip


def _task(name: str, task_id: int) -> ReviewTask:
    return ReviewTask(
        question_id=name, round=1, asking=1, project_key="p", task_id=task_id, state="planned", changed_at=NOON,
        model_version="m",
    )  # fmt: skip


def _version(name: str, task_id: int, version: int, state: AnnotationState = "answered") -> AnnotationVersion:
    return AnnotationVersion(
        project_key="p", unique_id=f"u-{name}", version=version, annotation_id=task_id,
        task_id=task_id, question_id=name, annotator="x", state=state, answer='{"verdict":"same"}', detail="",
        updated_at=NOON, lead_time_s=2.0, digest=f"d{version}", seen_at=NOON,
    )  # fmt: skip
