"""Airflow Dag: faces and decisions become labels, and new questions."""

from datetime import UTC, datetime

from airflow.sdk import DAG

from facedags.assets import DECISIONS, FACES, LABELS
from facedags.commands import command, house_rules
from facedags.endings import announce, report

DOC = """
### Faces and decisions become labels and questions

Runs when faces or decisions changed. Replays every decision, clusters what is new, names it, plans the next questions
and puts them before people.

* **New faces while it runs**: what no longer fits together is skipped; the run that these faces set off does it all.
* **Nothing changed**: each stage sees it by its run key and does nothing; `labels_changed` is skipped.
* **Label Studio away**: `push` is retried, then fails and is seen; labels are announced all the same. The next run, or
  the full look of `sync_reviews` once an hour, pushes what is missing. A question is never asked twice.
* **Cleared, run twice, run at once, killed**: safe, by run keys and leases.
"""

with DAG(
    "label_identities",
    description="Faces and decisions → labels, and new questions",
    doc_md=DOC,
    schedule=(FACES | DECISIONS),
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=house_rules(),
    tags=["faceloop", "labels"],
) as dag:
    decisions = command("decisions", ["decisions", "export"])
    cluster = command("cluster", ["run", "cluster", "--wait=600"], gives_way=True)
    identify = command("identify", ["run", "identify", "--wait=600"], gives_way=True)
    select = command("select", ["run", "select", "--wait=600"], gives_way=True)
    push = command("push", ["review", "push"])
    labels = announce("labels", LABELS)
    measure = command("measure", ["watch", "measure"])

    decisions >> cluster >> identify >> select >> push
    identify >> labels
    select >> measure
    report(after=[select, measure])
