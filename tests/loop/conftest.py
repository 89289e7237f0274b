"""One deployment for all tests of this folder: footage goes round once, then faults are made in it."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from faceloop.operate.deployment import leftovers
from faceloop.review.access import with_review_log
from faceloop.sample.build import build_sample_footage
from facestore.ledger import Ledger
from facestore.questions import Question, ReviewTask
from facestore.reviewlog import ReviewLog

from .deployment_world import Loop, bring_down, bring_up, until


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """A deployment in which footage became faces, labels and questions, without a hand on it."""

    loop: Loop
    sample: Path
    asked: tuple[tuple[Question, ReviewTask], ...]


def _one_deployment(fixture_name: str, config: pytest.Config) -> Literal["module", "session"]:
    """For both files where both use it; else it ends before the rest of the tests runs. Without `__init__.py` in the
    folder, pytest takes a package for the session."""
    return "session" if os.environ.get("FACELOOP_LONG") else "module"


@pytest.fixture(scope=_one_deployment)
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    folder = tmp_path_factory.mktemp("loop")
    try:
        made = bring_up(folder / "deployment", folder / "dags")
        yield made
        made.airflow.close()
    finally:
        said = bring_down(folder / "deployment")
        assert said["left"] == 0
        assert leftovers(made.place) == 0


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample-footage")
    build_sample_footage(folder, seed=7, progress=lambda line: None)
    return folder


@pytest.fixture(scope=_one_deployment)
def turned(loop: Loop, sample: Path) -> Turned:
    """Footage was dropped, and people are asked."""
    began = time.monotonic()
    loop.drop(sample / "album", sample / "lobby")
    for stage in ("ingest", "embed", "identify"):
        until(lambda stage=stage: taken_in(loop, stage) > 0, stage)  # type: ignore[misc]
        loop.times[stage] = time.monotonic() - began
    asked = until(lambda: questions(loop), "questions in Label Studio")
    loop.times["questions"] = time.monotonic() - began
    return Turned(loop=loop, sample=sample, asked=tuple(asked))


def taken_in(loop: Loop, stage: str) -> int:
    """How much came into the last published run of a stage; 0 before the first."""
    ledger = Ledger(loop.work().ledger_url())
    try:
        run = ledger.latest(stage)
    finally:
        ledger.close()
    return int(str(run.counts["in"])) if run is not None and isinstance(run.counts, dict) else 0


def questions(loop: Loop) -> list[tuple[Question, ReviewTask]]:
    """What waits for an answer in Label Studio."""

    def read(log: ReviewLog) -> list[tuple[Question, ReviewTask]]:
        known = {question.question_id: question for question in log.questions()}
        return [(known[task.question_id], task) for task in log.tasks(states={"pushed"})]

    return with_review_log(loop.work(), read)


def is_long() -> bool:
    """Whether there is time for the faults that take minutes."""
    return os.environ.get("FACELOOP_LONG") == "1"
