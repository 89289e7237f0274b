"""Airflow Dag: labels become a release, a model, and, once somebody agrees, what is used from then on."""

from datetime import UTC, datetime

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable

from facedags.approval import approval
from facedags.assets import LABELS, RELEASES
from facedags.commands import command, house_rules, job
from facedags.endings import announce, report
from facedags.forms import RELEASE
from facedags.settings import settings

DOC = """
### Labels become a release, and what comes after it

Runs daily, when labels changed, and by hand. It goes on only when a release is due (`loop.due`) or `force` is set.
Packs, trains, states figures, holds them against the floors of `loop.gate`, asks for approval, exports, promotes.

* **train** and **export** are jobs: their id is in the catalogue before they start. A restart of any part of Airflow
  finds the running job again; it is not started twice. Marking or clearing the task cancels the job.
* **A floor is not met**: `gate` fails and names it; nobody is asked.
* **Rejected, or no answer in time**: nothing is promoted; what was promoted before stays.
* **Cleared, run twice, run at once**: safe, by run keys, job ids and leases.
"""
SET = "--set={{ params.parameter_set }}"
REVISION = "{{ '--revision=' ~ params.code_revision if params.code_revision }}"
OVERRIDES = "{{ (ti.xcom_pull(task_ids='due')['overrides'] + params.overrides) | tojson }}"
JOB = "--job={{ ti.xcom_pull(task_ids='gate')['job_id'] }}"  # what was approved is what is promoted

with DAG(
    "release_and_train",
    description="Labels → release → model → approval → promotion",
    doc_md=DOC,
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable(settings().release_cron, timezone="UTC"), assets=LABELS
    ),
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=house_rules(),
    params=RELEASE,
    tags=["faceloop", "release"],
) as dag:
    due = command("due", ["releases", "due", "{{ '--force' if params.force }}", SET])
    pack = command("pack", ["run", "pack", "--wait=600", ["--set", OVERRIDES]])
    train = job("train", ["jobs", "submit", "train", SET, REVISION])
    evaluate = command("evaluate", ["releases", "evaluate"])
    gate = command("gate", ["releases", "gate"], retries=0)
    approve = approval("Promote this release?", figures="evaluate", is_wanted="{{ params.ask_approval }}")
    export = job("export", ["jobs", "submit", "export", SET, REVISION])
    promote = command("promote", ["releases", "promote", f"--by={approve.who}", JOB])
    embed = command("embed", ["run", "embed", "--wait=600"])
    release = announce("release", RELEASES)

    due >> pack >> train >> evaluate >> gate >> approve.task >> export >> promote >> embed
    promote >> release
    report(after=[due, evaluate, promote])
