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
### Labels become a release and a model, and what comes after it

Runs daily, when labels changed, and by hand. It goes on only when a release is due (`loop.due`) or `force` is set.
Packs, holds the release against the floors of `loop.gate`, trains a model on it, evaluates it against the current one,
asks for approval, promotes, exports, and brings the labels to the promoted model.

* **train**, **evaluate** and **export** are jobs: their id is in the catalogue before they start. A restart of any part
  of Airflow finds the running job again; it is not started twice. Marking or clearing the task cancels the job. A
  training that was killed goes on from its checkpoint.
* **A floor of the release is not met**: `gate` fails and names it; nothing is trained, nobody is asked.
* **Something speaks against the model** (`loop.model_gate`, floors of `evaluate`): the form says what. Approving then
  promotes the release alone; the current model stays, and `promote_model`, `export` and `switch` are skipped.
* **Labels cannot follow yet** (`switch` skipped): no calibration of the new model; its log says how to get one.
* **Rejected, or no answer in time**: nothing is promoted; what was promoted before stays.
* **Cleared, run twice, run at once**: safe, by run keys, job ids and leases.
"""
SET = "--set={{ params.parameter_set }}"
REVISION = "{{ '--revision=' ~ params.code_revision if params.code_revision }}"
TYPED = ["--value", "{{ params.overrides | tojson }}"]
OVERRIDES = ["--set", "{{ (ti.xcom_pull(task_ids='due')['overrides'] + params.overrides) | tojson }}"]
JOB = "--job={{ ti.xcom_pull(task_ids='train')['job_id'] }}"  # what was approved is what is promoted
MODEL = "--model={{ ti.xcom_pull(task_ids='judge')['model_id'] }}"
PASSES = "{{ ti.xcom_pull(task_ids='judge')['model_passes'] }}"

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
    pack = command("pack", ["run", "pack", "--wait=600", OVERRIDES])
    gate = command("gate", ["releases", "gate"], retries=0)
    train = job("train", ["jobs", "submit", "train", SET, REVISION, TYPED])
    evaluate = job("evaluate", ["jobs", "submit", "evaluate", SET, REVISION, TYPED])
    judge = command("judge", ["releases", "judge"])
    approve = approval("Promote this release, and its model?", figures="judge", is_wanted="{{ params.ask_approval }}")
    promote = command("promote", ["releases", "promote", f"--by={approve.who}", JOB])
    promote_model = command("promote_model", ["models", "promote", f"--by={approve.who}", MODEL], only_if=PASSES)
    export = job("export", ["jobs", "submit", "export", SET, REVISION, TYPED])
    switch = command("switch", ["models", "switch"], gives_way=True)
    release = announce("release", RELEASES)

    due >> pack >> gate >> train >> evaluate >> judge >> approve.task >> promote >> promote_model >> export >> switch
    promote >> release
    report(after=[due, train, evaluate, judge, promote, export], also_skipped=True)
