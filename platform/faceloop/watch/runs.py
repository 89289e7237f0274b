"""What one Dag run did, as values: its tasks, its checks, what it changed. Nothing in it names a person or a path."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from facestore.activities import Activities, Activity, ActivityOutcome
from facestore.errors import ConfigError, DataError
from facestore.ids import JsonValue, sha256_hex
from facestore.measurements import Measurement, Measurements, Measuring

FOLDER = "runs"  # of the root
_LONGEST_FOLDER = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskReport:
    """One command of the run."""

    task: str
    attempt: int
    command: str
    outcome: ActivityOutcome
    error: str | None
    started_at: datetime
    offset_s: float  # after the run's first command
    seconds: float
    counts: JsonValue
    is_retry: bool  # an earlier attempt left no word: it was killed, or could not reach the catalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    name: str
    is_passed: bool
    figure: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A figure of this run beside the same one of the run before."""

    name: str
    labels: tuple[tuple[str, str], ...]
    before: float | None
    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    run_id: str
    started_at: datetime
    seconds: float  # from the first command's start to the last one's end
    busy_s: float  # of all commands together
    tasks: tuple[TaskReport, ...]  # by start
    checks: tuple[CheckReport, ...]
    changes: tuple[Change, ...]  # figures that differ from the run before
    unchanged: int
    compared_with: str | None  # run id
    airflow_url: str | None

    def of(self, outcome: ActivityOutcome) -> int:
        return sum(task.outcome == outcome for task in self.tasks)


def run_report(run_id: str, activities: Activities, measurements: Measurements, *, airflow: str | None) -> RunReport:
    """`airflow` is the address of its web server. Raises DataError where no command of this run left a word."""
    done = activities.of_run(run_id)
    if not done:
        raise DataError(
            f"no command of {run_id} is recorded; give a run as DAG_ID/RUN_ID, after one of its tasks ended"
        )
    measured = measurements.of_run("measure", run_id)
    checked = measurements.of_run("check", run_id)
    before = None if measured is None else measurements.before("measure", measured)
    changes = _changes(measured, before)
    first, last = done[0].started_at, max(one.ended_at for one in done)
    return RunReport(
        run_id=run_id,
        started_at=first,
        seconds=(last - first).total_seconds(),
        busy_s=sum(one.seconds for one in done),
        tasks=tuple(_task(one, done, first) for one in done),
        checks=_checks(checked),
        changes=tuple(change for change in changes if change.before != change.now),
        unchanged=sum(change.before == change.now for change in changes),
        compared_with=None if before is None else before.run_id,
        airflow_url=None if airflow is None else airflow_link(airflow, run_id),
    )


def folder_of(run_id: str) -> str:
    """Name of a run's folder below FOLDER: no run id leads out of it, and no two share one."""
    name = quote(run_id, safe="").replace("%", "=").replace(".", "=2E")
    if not name or len(name) > _LONGEST_FOLDER:
        return f"{name[:120]}={sha256_hex(run_id.encode())}"
    return name


def airflow_link(base: str, run_id: str) -> str:
    """The run's page in Airflow's own screens. Raises ConfigError for a base that is no web address."""
    if not base.startswith(("http://", "https://")):
        raise ConfigError(f"Airflow's address {base!r}: must begin with http:// or https://")
    dag, _, run = run_id.partition("/")
    return f"{base.rstrip('/')}/dags/{quote(dag, safe='')}/runs/{quote(run, safe='')}"


def _task(one: Activity, done: Sequence[Activity], first: datetime) -> TaskReport:
    tries = {other.attempt for other in done if other.task == one.task}
    return TaskReport(
        task=one.task or one.command,
        attempt=one.attempt,
        command=one.command,
        outcome=one.outcome,
        error=one.error,
        started_at=one.started_at,
        offset_s=(one.started_at - first).total_seconds(),
        seconds=one.seconds,
        counts=one.counts,
        is_retry=any(earlier not in tries for earlier in range(1, one.attempt)),
    )


def _checks(checked: Measuring | None) -> tuple[CheckReport, ...]:
    if checked is None:
        return ()
    figures = {dict(one.labels)["check"]: one.value for one in checked.figures if one.name == "check_figure"}
    found = {dict(one.labels)["check"]: one.value == 1 for one in checked.figures if one.name == "check_passed"}
    return tuple(CheckReport(name=name, is_passed=found[name], figure=figures.get(name)) for name in sorted(found))


def _changes(measured: Measuring | None, before: Measuring | None) -> list[Change]:
    then: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {
        _key(one): one.value for one in (before.figures if before else ())
    }
    now = measured.figures if measured else ()
    return [Change(name=one.name, labels=one.labels, before=then.get(_key(one)), now=one.value) for one in now]


def _key(one: Measurement) -> tuple[str, tuple[tuple[str, str], ...]]:
    return one.name, one.labels
