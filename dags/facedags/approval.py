"""A person says yes or no, seeing the figures."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Context

from facedags.commanded import UNWANTED
from facedags.settings import settings

NOBODY = "airflow"  # who promotes where a run was told to ask nobody


class Approval(ApprovalOperator):
    """Waits for a person, unless the run was told to ask nobody. After a no, nothing behind it runs."""

    template_fields: Collection[str] = ("subject", "body", "is_wanted")

    def __init__(self, *, is_wanted: str = "yes", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.is_wanted = is_wanted

    def execute(self, context: Context) -> Any:
        if str(self.is_wanted).strip().lower() in UNWANTED:
            self.log.info("this run was told to ask nobody")
            return {"chosen_options": [self.APPROVE], "responded_by_user": None}
        return super().execute(context)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    task: Approval
    who: str  # a template: who said yes


def approval(subject: str, *, figures: str, is_wanted: str = "yes") -> Approved:
    """Asks before what comes next; `figures` names the task whose result the person sees.

    Fails after FACELOOP_APPROVAL_HOURS without an answer, so that silence is no consent.
    """
    rows = (
        f"{{% for name, value in (ti.xcom_pull(task_ids='{figures}') or {{}}).items() %}}"
        "| {{ name }} | {{ value if value is string or value is number else value | tojson }} |\n"
        "{% endfor %}"
    )
    task = Approval(
        task_id="approve",
        subject=subject,
        body="| figure | value |\n|---|---|\n" + rows,
        response_timeout=settings().approval_timeout,
        ignore_downstream_trigger_rules=True,
        is_wanted=is_wanted,
        retries=0,
    )
    said = "((ti.xcom_pull(task_ids='approve') or {}).get('responded_by_user') or {})"
    return Approved(task=task, who=f"{{{{ {said}.get('name') or '{NOBODY}' }}}}")
