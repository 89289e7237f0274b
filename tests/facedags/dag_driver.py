"""Runs Dags one after another in one process, as `airflow dags test` does, and gives the answers of people.

Reads lines of JSON: {"dag": ID, "conf": {…}, "answer": "Approve" | "Reject" | null}. Appends one line for each to the
file that it is given: the state of the run and of its tasks, and what they returned.
"""

import faulthandler
import json
import signal
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any
from unittest.mock import patch

warnings.simplefilter("ignore")

from airflow.dag_processing.dagbag import DagBag  # noqa: E402
from airflow.models.hitl import HITLDetail  # noqa: E402
from airflow.models.taskinstance import TaskInstance  # noqa: E402
from airflow.models.trigger import handle_event_submit  # noqa: E402
from airflow.models.xcom import XComModel  # noqa: E402
from airflow.sdk import timezone  # noqa: E402
from airflow.triggers.base import TriggerEvent  # noqa: E402
from airflow.utils.session import create_session  # noqa: E402
from airflow.utils.state import TaskInstanceState  # noqa: E402
from sqlalchemy import select  # noqa: E402

BODIES: list[str] = []


def answer_people(answer: str) -> None:
    """What the form of the required actions does: writes the answer down and wakes the task."""
    with create_session(scoped=False) as session:
        waiting = session.scalars(select(TaskInstance).where(TaskInstance.state == TaskInstanceState.AWAITING_INPUT))
        for task in waiting.all():
            asked = session.get(HITLDetail, task.id)
            if asked is None or asked.response_received:
                continue
            BODIES.append(asked.body or "")
            asked.responded_by = {"id": "7", "name": "operator"}
            asked.responded_at = timezone.utcnow()
            asked.chosen_options = [answer]
            asked.params_input = {}
            session.add(asked)
            event = TriggerEvent(asked.as_resume_event_payload())  # type: ignore[no-untyped-call]
            handle_event_submit(event, task_instance=task, session=session)


def run(bag: DagBag, dag_id: str, conf: dict[str, Any], answer: str | None) -> dict[str, Any]:
    """Airflow's loop sleeps while a task waits for a person: that is when the person answers."""
    sleep = time.sleep

    def answering(seconds: float) -> None:
        if answer is not None and threading.current_thread() is threading.main_thread():
            answer_people(answer)
        sleep(min(seconds, 0.2))

    with patch("time.sleep", answering):
        ran = bag.dags[dag_id].test(run_conf=conf)
    with create_session() as session:
        tasks = session.scalars(select(TaskInstance).where(TaskInstance.run_id == ran.run_id)).all()
        states = {
            f"{task.task_id}[{task.map_index}]" if task.map_index >= 0 else task.task_id: task.state for task in tasks
        }
        labels = {task.rendered_map_index for task in tasks if task.map_index >= 0}
        found = session.scalars(select(XComModel).where(XComModel.run_id == ran.run_id)).all()
        said = {f"{one.task_id}[{one.map_index}].{one.key}": one.value for one in found}
    return {
        "dag": dag_id,
        "run_id": ran.run_id,
        "state": str(ran.state),
        "tasks": states,
        "labels": sorted(str(label) for label in labels),
        "said": said,
        "asked": BODIES[-1] if BODIES else None,
    }


def main() -> None:
    faulthandler.register(signal.SIGUSR1)  # says where it stands
    bag = DagBag(dag_folder=sys.argv[1])
    assert not bag.import_errors, bag.import_errors
    results = Path(sys.argv[2])
    for line in sys.stdin:
        wanted = json.loads(line)
        result = run(bag, wanted["dag"], wanted.get("conf") or {}, wanted.get("answer"))
        with results.open("a") as out:
            out.write(json.dumps(result, default=str) + "\n")


if __name__ == "__main__":
    main()
