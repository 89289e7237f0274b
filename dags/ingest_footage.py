"""Airflow Dag: footage that arrived becomes faces and vectors."""

from datetime import UTC, datetime

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable

from facedags.assets import FACES, FOOTAGE
from facedags.commands import ARRIVED, command, commands, house_rules
from facedags.endings import announce, report
from facedags.settings import settings

DOC = """
### What arrived becomes faces

Looks into the inbox, waits until nothing in it changes, and shares new footage out: to at most `loop.most_tasks` tasks,
whatever it is. `detect` and `embed` work by batches, several to a task; then each publishes the whole at once.

* **Nothing new**: `plan_footage` is skipped, and all behind it; unless the run before failed: then its work is done.
* **Cleared, run twice, run at once, killed**: safe. Work that is done has its run key and is not done again; work in
  progress has a lease, and a second run of it is retried later (exit code 75).
* **Failed checks** stop here: `check` names each figure and its limit, and labels are not made from these faces. Look
  at the run report, then clear the task, or change `loop.checks`.
"""


def batches(group: str) -> list[str]:
    """The options that name a group of batches."""
    return [f"--batch={batch}" for batch in group.split()]


with DAG(
    "ingest_footage",
    description="Footage that arrived → faces and vectors",
    doc_md=DOC,
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable(settings().ingest_cron, timezone="UTC"), assets=FOOTAGE
    ),
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=house_rules(),
    tags=["faceloop", "footage"],
) as dag:
    plan = command("plan_footage", ["loop", "plan-footage"], pick="shares", resumes=True)
    take = commands("take", ["loop", "take"], plan, lambda share: [share])
    ingest = command("ingest", ["run", "ingest", "--wait=600"], trigger_rule=ARRIVED)

    plan_detect = command("plan_detect", ["loop", "plan-batches", "detect"], pick="groups")
    detect_batches = commands("detect_batches", ["run", "detect"], plan_detect, batches)
    detect = command("detect", ["run", "detect", "--wait=600"], trigger_rule=ARRIVED)

    plan_embed = command("plan_embed", ["loop", "plan-batches", "embed"], pick="groups")
    embed_batches = commands("embed_batches", ["run", "embed"], plan_embed, batches)
    embed = command("embed", ["run", "embed", "--wait=600"], trigger_rule=ARRIVED)

    check = command("check", ["watch", "check"], retries=0)
    measure = command("measure", ["watch", "measure"])
    faces = announce("faces", FACES)

    plan >> take >> ingest >> plan_detect >> detect_batches >> detect >> plan_embed >> embed_batches >> embed
    plan >> ingest
    plan_detect >> detect
    plan_embed >> embed
    embed >> check >> faces
    embed >> measure
    report(after=[plan, embed, check, measure])
