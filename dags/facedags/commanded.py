"""What every task that runs a command of the platform does alike, wherever the command runs."""

from collections.abc import Callable, Collection, Sequence
from typing import Any
from urllib.parse import quote

from airflow.sdk import BaseOperator, BaseOperatorLink, Context
from airflow.sdk.exceptions import AirflowSkipException

from facedags.results import Result, arguments, shown
from facedags.settings import settings

UNWANTED = {"", "0", "false", "none", "no"}


class RunReport(BaseOperatorLink):
    """Leads from a task to the report of its run, which `faceloop serve-metrics` shows."""

    name = "Run report"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        base = settings().reports_url
        return f"{base}/runs/{quote(f'{ti_key.dag_id}/{ti_key.run_id}', safe='')}/" if base else ""


def run_environment() -> dict[str, str]:
    """The variables that tell a command which root it works on, and for which run and task: templates."""
    chosen = settings()
    told = {"FACELOOP_ROOT": chosen.root, "FACELOOP_PARAMS": chosen.params}
    return {name: value for name, value in told.items() if value} | {
        "FACELOOP_RUN_ID": "{{ ti.dag_id }}/{{ ti.run_id }}",
        "FACELOOP_TASK": "{{ ti.task_id }}{{ '[%d]' % ti.map_index if ti.map_index >= 0 else '' }}",
        "FACELOOP_TRY": "{{ ti.try_number }}",
        "FACELOOP_LOG": "json",
    }


class Commanded:
    """Mixed into an operator that has `said`, which runs `argv` and returns its result.

    `argv` is a list of templates; what a person typed into a form stays one argument, whatever is in it.
    `pick`: this list of the result is what later tasks are mapped over. `only_if`: a template; the task is skipped
    where it renders to nothing, false or 0. `resumes`: the command's word that nothing is to do is believed only when
    the run before ended well; else the tasks behind it run, and do what that run left.
    `leave_out`: keys of the result that may be long and nobody needs.
    """

    operator_extra_links: Collection[BaseOperatorLink] = (RunReport(),)

    def __init__(
        self,
        *,
        argv: Sequence[str | Sequence[str]],
        pick: str | None = None,
        only_if: str = "yes",
        resumes: bool = False,
        leave_out: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.argv = argv
        self.pick = pick
        self.only_if = only_if
        self.resumes = resumes
        self.leave_out = leave_out

    @property
    def words(self) -> list[str]:
        """The arguments as they are given to `faceloop`."""
        return arguments(list(self.argv))

    @property
    def share(self) -> str:
        """What this one of several mapped tasks works on, for the grid."""
        return shown(self.words)

    def said(self, context: Context) -> Result:
        raise NotImplementedError

    def execute(self, context: Context) -> Any:
        if str(self.only_if).strip().lower() in UNWANTED:
            raise AirflowSkipException("this run was not asked to do this")
        return self.concluded(context, lambda: self.said(context))

    def concluded(self, context: Context, said: Callable[[], Result]) -> Any:
        """What goes into XCom of what the command said; asset events carry the digest of what they announce."""
        try:
            result = said()
        except AirflowSkipException:
            if not self.resumes or _ended_well(context):
                raise
            result = {}
        for outlet in getattr(self, "outlets", ()):
            context["outlet_events"][outlet].extra = {"digest": result.get("digest", "")}
        if self.pick is None:
            return result
        context["ti"].xcom_push(key="result", value=result)
        return result.get(self.pick, [])


def _ended_well(context: Context) -> bool:
    """Whether the run before this one is known and succeeded."""
    before = context["ti"].get_previous_dagrun()
    return before is not None and before.state == "success"
