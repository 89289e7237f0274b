"""How a Dag ends: it says what changed, and writes down what it did."""

from collections.abc import Sequence

from airflow.sdk import Asset, BaseOperator

from facedags.commands import command

THIS_RUN = "{{ ti.dag_id }}/{{ ti.run_id }}"


def announce(what: str, asset: Asset, trigger_rule: str = "all_success") -> BaseOperator:
    """Updates the asset if its content is not what was announced last; else skipped. A retry says the same."""
    argv = ["loop", "changed", what, f"--by={THIS_RUN}"]
    return command(f"{what}_changed", argv, outlets=[asset], trigger_rule=trigger_rule)


def report(after: Sequence[BaseOperator], *, also_skipped: bool = False) -> BaseOperator:
    """The run report, written once all these have ended, well or not; skipped where one was.

    `also_skipped`: some of them may be skipped; the report then hangs on whether the first one was not.
    Nothing may come after it and it must not be the only last task: else a run with a failure looks well.
    """
    rule, only_if = "all_done_min_one_success", "yes"
    if also_skipped:
        rule, only_if = "all_done", f"{{{{ ti.xcom_pull(task_ids='{after[0].task_id}') is not none }}}}"
    last = command("report", ["watch", "report", f"--run={THIS_RUN}"], trigger_rule=rule, only_if=only_if)
    list(after) >> last
    return last
