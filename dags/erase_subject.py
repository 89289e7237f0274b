"""Airflow Dag: a person is erased, after approval, with a certificate."""

from datetime import UTC, datetime

from airflow.sdk import DAG

from facedags.approval import approval
from facedags.assets import DECISIONS, LABELS
from facedags.commands import command, house_rules
from facedags.endings import announce, report
from facedags.forms import SUBJECT

DOC = """
### Erase a person

Finds what holds the person, asks somebody to approve, then takes the person out of labels, questions and the releases
to come, removes every byte of them, looks that none is left, and writes a certificate. It cannot be taken back. Ids and
counts only: names stay in the decision log, until they go with the person.

* **Rejected or not answered in time**: nothing is changed.
* **Approved**: labels and the packed release are made anew without the person, then `faceloop erase apply` runs. The
  new release is promoted by `release_and_train`, like any other.
* **Killed, cleared or retried**: the erasure goes on where it was; one that is done gives its certificate again.
"""
SUBJECT_ID = "{{ params.subject }}"
FOUND_ID = "{{ ti.xcom_pull(task_ids='find')['subject'] }}"  # a name no longer leads to somebody who is erased

with DAG(
    "erase_subject",
    description="A person is erased; with a certificate",
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
    approve = approval("Erase this person for good?", figures="find")
    said = [f"--by={approve.who}", "--reason={{ params.reason }}"]
    apply = command("apply", ["restrict", "apply", *said, "--", SUBJECT_ID])
    decisions = command("decisions", ["decisions", "export"])
    cluster = command("cluster", ["run", "cluster", "--wait=600"])
    identify = command("identify", ["run", "identify", "--wait=600"])
    pack = command("pack", ["run", "pack", "--wait=600"])
    erase = command("erase", ["erase", "apply", "--yes", *said, "--", FOUND_ID])

    find >> approve.task >> apply >> decisions >> cluster >> identify >> pack >> erase
    apply >> announce("decisions", DECISIONS)
    identify >> announce("labels", LABELS)
    report(after=[find, apply, pack])
