"""How a Dag ends: it says what changed, and writes down what it did."""

from collections.abc import Sequence

from airflow.sdk import Asset, BaseOperator

from facedags.commands import command

THIS_RUN = "{{ ti.dag_id }}/{{ ti.run_id }}"


def announce(what: str, asset: Asset, trigger_rule: str = "all_success") -> BaseOperator:
    """Updates the asset if its content is not what was announced last; else skipped. A retry says the same."""
    argv = ["loop", "changed", what, f"--by={THIS_RUN}"]
    return command(f"{what}_changed", argv, outlets=[asset], trigger_rule=trigger_rule)


def report(after: Sequence[BaseOperator]) -> BaseOperator:
    """The run report, written once all these have ended, well or not; skipped where all were.

    Nothing may come after it and it must not be the only last task: else a run with a failure looks well.
    """
    last = command("report", ["watch", "report", f"--run={THIS_RUN}"], trigger_rule="all_done_min_one_success")
    list(after) >> last
    return last
