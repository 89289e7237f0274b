"""A job that outlives its task: submitted, waited for without a worker, attached to again after any restart."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from facedags.commanded import Commanded
from facedags.local import LocalCommand, die_with_parent, program
from facedags.results import Result, parsed
from facedags.settings import settings

UNDER_WAY = ("submitted", "running")
LIMIT = timedelta(days=3)
LOOK_S = 600  # a process that waits costs less than one that is started every few seconds
_FAILED_LOOKS = 20  # so many in a row are no passing outage


class JobTrigger(BaseTrigger):
    """Waits until a job has ended, and fires once. A look lasts LOOK_S; after one that failed it pauses for `pause_s`.

    It holds nothing but the job's id, which is in the catalogue before anything starts: whichever triggerer runs it
    finds the job again. A person who marks or clears the task cancels the job; a restart does not.
    """

    def __init__(self, job_id: str, pause_s: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.job_id = job_id
        self.pause_s = pause_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "facedags.jobs.JobTrigger", {"job_id": self.job_id, "pause_s": self.pause_s}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        failed = 0
        while True:
            try:
                job = await _ask("show", self.job_id, f"--wait={LOOK_S}")
                failed = 0
            except (AirflowException, OSError, ValueError) as error:
                failed += 1
                self.log.warning("cannot see job %s (%d in a row): %s", self.job_id, failed, error)
                if failed >= _FAILED_LOOKS:
                    yield _event({"job_id": self.job_id, "state": "out of sight", "message": str(error)})
                    return
            else:
                if job.get("state") not in UNDER_WAY:
                    yield _event(job)
                    return
            await asyncio.sleep(self.pause_s)

    async def on_kill(self) -> None:
        """A person ended the task: nobody wants the job any more."""
        await _ask("cancel", self.job_id)


class Job(Commanded):
    """Mixed into a command that submits a job: the task then waits for the job's end without a worker.

    A retried task submits again, and the same inputs are the same job: attached to while it runs, started anew when it
    did not succeed.
    """

    _job_id: str | None = None

    def concluded(self, context: Context, said: Callable[[], Result]) -> Any:
        job = said()
        self._job_id = str(job["job_id"])
        if job.get("state") in UNDER_WAY:
            trigger = JobTrigger(self._job_id, settings().job_pause_s)
            self.defer(trigger=trigger, method_name="ended", timeout=LIMIT)  # type: ignore[attr-defined]
        return self.ended(context, job)

    def ended(self, context: Context, event: dict[str, Any]) -> Result:
        """The job as it ended. Raises AirflowException, with the job's own message, for any end but success."""
        if event.get("state") != "succeeded":
            why = event.get("message") or event.get("error") or f"see `faceloop jobs show {event.get('job_id')}`"
            raise AirflowException(f"job {event.get('job_id')} is {event.get('state')}: {why}")
        return parsed(json.dumps(event))

    def on_kill(self) -> None:
        super().on_kill()  # type: ignore[misc]
        if self._job_id is not None:
            subprocess.run([*program(), "jobs", "cancel", self._job_id], check=False, timeout=60)


class LocalJob(Job, LocalCommand):
    """Submitted by a process beside Airflow."""


async def _ask(verb: str, *words: str) -> Result:
    """What `faceloop jobs VERB WORDS` says, while the triggerer goes on. Raises AirflowException where it fails."""
    child = await asyncio.create_subprocess_exec(
        *program(),
        "jobs",
        verb,
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent,
    )
    try:
        out, complaints = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
    if child.returncode != 0:
        raise AirflowException(_last(complaints) or f"faceloop jobs {verb} ended with {child.returncode}")
    return parsed(_last(out))


def _event(job: Result) -> TriggerEvent:
    return TriggerEvent(job)  # type: ignore[no-untyped-call]


def _last(text: bytes) -> str:
    lines = [line for line in text.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""
