"""Airflow Dag: a person is no longer used, after approval, with a certificate."""

from datetime import UTC, datetime

from airflow.sdk import DAG

from facedags.approval import approval
from facedags.assets import DECISIONS, LABELS
from facedags.commands import command, house_rules
from facedags.endings import announce, report
from facedags.forms import SUBJECT

DOC = """
### Stop using a person

Finds what holds the person, asks somebody to approve, then takes the person out of labels, questions and the releases
to come, and writes a certificate. It restricts processing; it does not yet erase bytes, and the certificate says what
still holds them. Ids and counts only: names stay in the decision log.

* **Rejected or not answered in time**: nothing is changed.
* **Approved**: labels and the packed release are made anew without the person at once. The new release is promoted by
  `release_and_train`, like any other.
* **Run twice**: safe; what stands already is not said again.
"""
SUBJECT_ID = "{{ params.subject }}"

with DAG(
    "erase_subject",
    description="A person is no longer used; with a certificate",
    doc_md=DOC,
    schedule=None,
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=house_rules(),
    params=SUBJECT,
    tags=["faceloop", "privacy"],
) as dag:
    find = command("find", ["restrict", "find", "--", SUBJECT_ID], leave_out=["face_ids", "alike_face_ids"])
    approve = approval("Stop using this person?", figures="find")
    apply = command(
        "apply", ["restrict", "apply", f"--by={approve.who}", "--reason={{ params.reason }}", "--", SUBJECT_ID]
    )
    decisions = command("decisions", ["decisions", "export"])
    cluster = command("cluster", ["run", "cluster", "--wait=600"])
    identify = command("identify", ["run", "identify", "--wait=600"])
    pack = command("pack", ["run", "pack", "--wait=600"])
    certificate = command("certificate", ["restrict", "certificate", "--", SUBJECT_ID])

    find >> approve.task >> apply >> decisions >> cluster >> identify >> pack >> certificate
    apply >> announce("decisions", DECISIONS)
    identify >> announce("labels", LABELS)
    report(after=[find, apply, pack])
