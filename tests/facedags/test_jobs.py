"""Jobs that outlive their tasks."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, TaskDeferred
from airflow.triggers.base import TriggerEvent

from facedags.jobs import JobTrigger, LocalJob

Answering = Callable[[dict[str, Any]], Path]
RUNNING = {"stdout": '{"job_id": "j1", "state": "running"}\n'}
SUCCEEDED = {"stdout": '{"job_id": "j1", "state": "succeeded", "result": {"samples": 7}}\n'}


def _job(kind: str = "train") -> LocalJob:
    made = LocalJob(task_id=kind, argv=["jobs", "submit", kind], skip_on=[99])
    made.env = {}
    return made


async def _fired(trigger: JobTrigger) -> Any:
    return [event async for event in trigger.run()]


def _events(trigger: JobTrigger) -> list[TriggerEvent]:
    return list(asyncio.run(_fired(trigger)))


def _calls(file: Path) -> list[str]:
    return [" ".join(json.loads(line)["argv"]) for line in file.read_text().splitlines()]


def test_a_job_under_way_frees_the_worker_and_is_known_by_its_id_alone(answering: Answering) -> None:
    answering({"jobs submit": RUNNING})
    with pytest.raises(TaskDeferred) as deferred:
        _job().execute({"ti": None})  # type: ignore[typeddict-item]
    path, told = deferred.value.trigger.serialize()
    assert path == "facedags.jobs.JobTrigger"
    assert told == {"job_id": "j1", "pause_s": 5.0}
    assert deferred.value.method_name == "ended"


def test_a_job_that_has_ended_already_is_not_waited_for(answering: Answering) -> None:
    answering({"jobs submit": SUCCEEDED})
    assert _job().execute({"ti": None})["result"] == {"samples": 7}  # type: ignore[typeddict-item]


def test_the_trigger_looks_until_the_job_has_ended_and_fires_once(answering: Answering) -> None:
    calls = answering({"jobs show": [RUNNING, RUNNING, SUCCEEDED]})
    (event,) = _events(JobTrigger("j1", 0.01))
    assert event.payload["state"] == "succeeded"
    assert _calls(calls) == ["jobs show j1 --wait=600"] * 3


def test_a_trigger_that_was_written_down_and_read_again_finds_the_same_job(answering: Answering) -> None:
    calls = answering({"jobs show": [RUNNING, SUCCEEDED]})
    _, told = JobTrigger("j1", 0.01).serialize()
    (event,) = _events(JobTrigger(**json.loads(json.dumps(told))))
    assert event.payload["job_id"] == "j1"
    assert set(_calls(calls)) == {"jobs show j1 --wait=600"}


def test_a_catalogue_that_is_away_for_some_looks_ends_nothing(answering: Answering) -> None:
    answering({"jobs show": [{"code": 2, "stderr": "locked\n"}, {"code": 2}, RUNNING, SUCCEEDED]})
    (event,) = _events(JobTrigger("j1", 0.01))
    assert event.payload["state"] == "succeeded"


def test_a_catalogue_that_stays_away_fails_the_task_with_the_reason(answering: Answering) -> None:
    calls = answering({"jobs show": {"code": 2, "stderr": "faceloop: the catalogue is gone\n"}})
    (event,) = _events(JobTrigger("j1", 0.0))
    assert len(_calls(calls)) == 20
    with pytest.raises(AirflowException, match="out of sight: faceloop: the catalogue is gone"):
        _job().ended({"ti": None}, event.payload)  # type: ignore[typeddict-item]


@pytest.mark.parametrize("state", ["failed", "cancelled", "lost"])
def test_any_end_but_success_fails_the_task_with_the_message_of_the_job(answering: Answering, state: str) -> None:
    answering({})
    with pytest.raises(AirflowException, match=f"job j1 is {state}: shard 3 is corrupt"):
        _job().ended({"ti": None}, {"job_id": "j1", "state": state, "message": "shard 3 is corrupt"})  # type: ignore[typeddict-item]


def test_a_person_who_ends_the_waiting_task_cancels_the_job(answering: Answering) -> None:
    calls = answering({"jobs cancel": {"stdout": '{"job_id": "j1", "state": "cancelled"}\n'}})
    asyncio.run(JobTrigger("j1", 1.0).on_kill())
    assert _calls(calls) == ["jobs cancel j1"]


def test_a_trigger_that_is_only_stopped_cancels_nothing(answering: Answering) -> None:
    calls = answering({"jobs show": RUNNING})

    async def restart() -> None:
        task = asyncio.ensure_future(_fired(JobTrigger("j1", 30.0)))
        while not _calls(calls):
            await asyncio.sleep(0.05)
        task.cancel()
        await JobTrigger("j1", 30.0).cleanup()

    asyncio.run(restart())
    assert set(_calls(calls)) == {"jobs show j1 --wait=600"}


def test_a_task_killed_between_submission_and_waiting_cancels_its_job(answering: Answering) -> None:
    calls = answering({"jobs submit": RUNNING})
    task = _job()
    with pytest.raises(TaskDeferred):
        task.execute({"ti": None})  # type: ignore[typeddict-item]
    task.on_kill()
    assert _calls(calls) == ["jobs submit train", "jobs cancel j1"]
