"""Airflow Dag: a mining request becomes a versioned hard set."""

from datetime import UTC, datetime

from airflow.sdk import DAG

from facedags.commands import command, house_rules
from facedags.forms import MINING

DOC = """
### Hard examples on request

The form is the request; the same request on the same data is the same version and is not mined again. Pairs that are
rather label errors than hard are left out and, with `ask`, become questions to people.
"""

with DAG(
    "mine_hard_examples",
    description="A mining request → a versioned hard set",
    doc_md=DOC,
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=house_rules(),
    params=MINING,
    tags=["faceloop", "mining"],
) as dag:
    mine = command("mine", ["mine", "--request={{ params | tojson }}"])
    push = command("push", ["review", "push"], only_if="{{ params.ask }}")

    mine >> push
