"""Settled questions that somebody else is asked too: each once, and what was decided stays until the answer comes."""

from datetime import UTC, datetime
from pathlib import Path

from faceloop.params import read_params
from faceloop.progress import SilentProgress
from faceloop.review.doubts import ask_again
from faceloop.runner import Workspace, open_workspace
from facereview.kinds import SamePerson, SamePersonAnswer, Strip, ask, dump_answer
from facestore.questions import AnnotationVersion, Question, ReviewProject, ReviewTask, Settlement
from facestore.reviewlog import ReviewLog

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
NOBODY = ("review.quality.overlap_share=0.0", "review.quality.recheck_gain_per_minute=1000000.0")


def workspace(folder: Path, *overrides: str) -> Workspace:
    tree = read_params(ROOT / "params.yaml", [*NOBODY, *overrides])
    return open_workspace(folder, tree, threads=1, progress=SilentProgress())


def pair(number: int, *, chance: float = 0.9, gain: float = 1.0) -> Question:
    sides = (Strip(face_ids=(f"{number:03d}{side}",)) for side in "ab")
    return ask(
        SamePerson(left=next(sides), right=next(sides), similarity=0.4, chance=chance),
        subset="s",
        reason="unknown_pair",
        model_version="m",
        chance=chance,
        gain=gain,
        seconds=4.0,
    )


def answered(log: ReviewLog, question: Question, *annotators: str) -> None:
    """Asked once, answered "same", settled."""
    log.offer([question], at=NOON)
    if not log.projects():
        log.add_project(
            ReviewProject(
                key="p", instance="i", project_id=1, kind="same_person", round=1, overlap=1, config_sha256="0" * 64,
                model_version="m", created_at=NOON, is_open=True,
            )
        )  # fmt: skip
    number = len(log.tasks()) + 1
    task = ReviewTask(
        question_id=question.question_id, round=1, project_key="p", task_id=number, state="pushed", changed_at=NOON
    )
    log.plan([task])
    versions = [
        AnnotationVersion(
            project_key="p", unique_id=f"{number} {name}", version=1, annotation_id=number, task_id=number,
            question_id=question.question_id, annotator=name, state="answered",
            answer=dump_answer(SamePersonAnswer(verdict="same")), detail="", updated_at=NOON, lead_time_s=4.0,
            digest=f"{number} {name}", seen_at=NOON,
        )
        for name in annotators
    ]  # fmt: skip
    settled = Settlement(
        question_id=question.question_id, state="settled", decision_ids=(f"d{number}",), changed_at=NOON
    )
    log.record(versions, [settled], [])


def test_without_a_reason_nobody_else_is_asked(tmp_path: Path) -> None:
    log = ReviewLog("sqlite://")
    answered(log, pair(1), "i/1")
    assert ask_again(workspace(tmp_path), log, [], now=NOON) == 0
    log.close()


def test_a_sample_is_asked_of_a_second_person_once_and_its_decisions_stay(tmp_path: Path) -> None:
    log, work = ReviewLog("sqlite://"), workspace(tmp_path, "review.quality.overlap_share=1.0")
    answered(log, pair(1), "i/1")
    answered(log, pair(2), "i/1", "i/2")  # two have answered already
    assert ask_again(work, log, [], now=NOON) == 1
    reopened = log.settlements()[pair(1).question_id]
    assert (reopened.state, reopened.decision_ids) == ("unsettled", ("d1",))
    assert ask_again(work, log, [], now=NOON) == 0
    log.close()


def test_a_slip_that_would_cost_more_than_the_plan_brings_is_looked_for(tmp_path: Path) -> None:
    log, work = ReviewLog("sqlite://"), workspace(tmp_path, "review.quality.recheck_gain_per_minute=1.0")
    risky, safe = pair(1, chance=0.2, gain=4.0), pair(2, chance=0.999, gain=1.0)
    answered(log, risky, "i/1")
    answered(log, safe, "i/1")
    rich_plan = [pair(9, gain=1000.0)]
    assert ask_again(work, log, rich_plan, now=NOON) == 0, "the plan's questions buy more"
    assert ask_again(work, log, [], now=NOON) == 1
    assert log.settlements()[risky.question_id].state == "unsettled"
    assert log.settlements()[safe.question_id].state == "settled"
    log.close()


def test_where_the_next_asking_would_decide_nobody_is_asked_for_a_second_opinion(tmp_path: Path) -> None:
    log = ReviewLog("sqlite://")
    work = workspace(tmp_path, "review.quality.overlap_share=1.0", "review.max_rounds=1")
    answered(log, pair(1), "i/1")
    assert ask_again(work, log, [], now=NOON) == 0
    log.close()
