"""Airflow Dag: what people answered becomes decisions."""

from datetime import UTC, datetime

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, Param

from facedags.assets import DECISIONS, REVIEWS
from facedags.commands import command, house_rules
from facedags.endings import announce
from facedags.settings import settings

DOC = """
### Answers become decisions

Every few minutes, and at once when the webhook receiver heard of an answer. Reads what changed on the labelling server;
the webhook only says where to look. Once an hour every task is read: so deletions are found that nobody announced, and
questions are pushed that could not be pushed before.

* **Label Studio away**: the run is skipped (exit code 75) and the next one finds what this one would have found.
* **Cleared, run twice, run at once**: safe. Each version of an answer counts once.
"""
IS_FULL = "params.full or (dag_run.run_after or logical_date).minute < 2"

with DAG(
    "sync_reviews",
    description="Answers of people → decisions",
    doc_md=DOC,
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable(settings().review_cron, timezone="UTC"), assets=REVIEWS
    ),
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=house_rules(),
    params={"full": Param(False, type="boolean", title="Read every task", description="Finds unannounced deletions.")},
    tags=["faceloop", "reviews"],
) as dag:
    full = f"{{{{ '--full' if {IS_FULL} else '' }}}}"
    pull = command("pull", ["review", "pull", "--no-apply", full], is_patient=True, hours=1)
    decisions = announce("decisions", DECISIONS)
    push = command("push_late", ["review", "push"], only_if=f"{{{{ {IS_FULL} }}}}", is_patient=True, gives_way=True)

    pull >> [decisions, push]
