"""The data loop as Prometheus metrics: read from the catalogue alone, and at most every few seconds."""

import shutil
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from faceloop.stage import Report
from faceloop.watch.metrics import HELP, LIVE, PREFIX
from facestore.activities import Activities, ActivityTotal, Totals, together
from facestore.errors import FaceloopError
from facestore.jobs import JobKind, JobState
from facestore.measurements import Measurements, Measuring
from facestore.vitals import CatalogueVitals, Vitals

Sample = tuple[tuple[str, ...], float]  # label values, value
_IN_THE_LEDGER = {"stage_items", "stage_rejected"}  # told by it already, and sooner
_WAIT_S = 5.0  # for another scrape that reads the catalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class _Catalogue:
    vitals: Vitals
    activities: Activities
    measurements: Measurements

    @classmethod
    def at(cls, url: str) -> "_Catalogue":
        return cls(vitals=Vitals(url), activities=Activities(url), measurements=Measurements(url))

    def close(self) -> None:
        for part in (self.vitals, self.activities, self.measurements):
            part.close()


class LoopCollector(Collector):
    """Never raises: where the catalogue cannot be read it says `faceloop_catalogue_up 0` and no more.

    Sums over activities are kept and only added to, since their rows never change: a scrape reads what is new.
    """

    def __init__(
        self, url: str, root: Path, *, fresh_s: float, monotonic: Callable[[], float], say: Callable[[str], None]
    ) -> None:
        self._url = url
        self._root = root
        self._fresh_s = fresh_s
        self._monotonic = monotonic
        self._say = say
        self._turn = threading.Lock()
        self._open: _Catalogue | None = None
        self._sums = Totals(seq=0, rows=())
        self._found: list[Metric] | None = None
        self._found_at = 0.0
        self._was_away = False

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering asks no database."""
        return []

    def collect(self) -> Iterable[Metric]:
        if not self._turn.acquire(timeout=_WAIT_S):
            return [_gauge("catalogue_up", 0)]
        try:
            if self._found is None or self._monotonic() - self._found_at > self._fresh_s:
                self._found = self._read()
                self._found_at = self._monotonic()
            return list(self._found)
        finally:
            self._turn.release()

    def _read(self) -> list[Metric]:
        began = self._monotonic()
        try:
            found = self._ask()
        except (FaceloopError, OSError) as error:
            if not self._was_away:
                self._say(f"the catalogue cannot be read: {type(error).__name__}; metrics say so until it is back")
            self._was_away = True
            self._close()
            return [_gauge("catalogue_up", 0)]
        self._was_away = False
        return [_gauge("catalogue_up", 1), _gauge("scrape_seconds", self._monotonic() - began), *found]

    def _ask(self) -> list[Metric]:
        _refuse_a_missing_file(self._url)
        catalogue = self._open = self._open or _Catalogue.at(self._url)
        now = catalogue.vitals.read()
        new = catalogue.activities.totals(after=self._sums.seq)
        self._sums = Totals(seq=new.seq, rows=together(self._sums.rows, new.rows))
        measured = [catalogue.measurements.latest("measure"), catalogue.measurements.latest("check")]
        usage = shutil.disk_usage(self._root)
        return [
            _gauge("disk_free_ratio", usage.free / usage.total),
            *_of_stages(now),
            *_of_commands(self._sums.rows),
            *_of_the_rest(now),
            *_measured([one for one in measured if one is not None]),
        ]

    def _close(self) -> None:
        """Another database may answer next time: nothing that was summed from this one is kept."""
        if self._open is not None:
            self._open.close()
        self._open, self._sums = None, Totals(seq=0, rows=())


def _refuse_a_missing_file(url: str) -> None:
    """Opening would make an empty catalogue, which looks like a loop that never ran."""
    file = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:///") and not file.is_file():
        raise FileNotFoundError(file)


def _of_stages(now: CatalogueVitals) -> list[Metric]:
    reports = {
        one.stage: Report.from_counts(one.last_counts) for one in now.stages if isinstance(one.last_counts, dict)
    }
    items: list[Sample] = []
    rejected: list[Sample] = []
    for stage, report in reports.items():
        totals = (report.items_in, report.published, report.rejected.total(), report.pending.total())
        outcomes = zip(("in", "published", "rejected", "pending"), totals, strict=True)
        items += [((stage, outcome), float(number)) for outcome, number in outcomes]
        rejected += [((stage, reason), float(number)) for reason, number in sorted(report.rejected.items())]
    by_stage = [((one.stage,), one) for one in now.stages]
    return [
        _counters("stage_runs_total", ["stage"], [(key, float(one.runs)) for key, one in by_stage]),
        _counters("stage_seconds_total", ["stage"], [(key, one.seconds) for key, one in by_stage]),
        _gauges("stage_last_run_seconds", ["stage"], [(key, one.last_seconds) for key, one in by_stage]),
        _gauges("stage_last_published_timestamp_seconds", ["stage"], [(key, _s(one.last_at)) for key, one in by_stage]),
        _gauges("stage_last_run_items", ["stage", "outcome"], items),
        _gauges("stage_last_run_rejected", ["stage", "reason"], rejected),
    ]


def _of_commands(rows: Sequence[ActivityTotal]) -> list[Metric]:
    ended: dict[tuple[str, ...], float] = {}
    success: dict[tuple[str, ...], float] = {}
    items: dict[tuple[str, ...], float] = {}
    seconds: dict[tuple[str, ...], float] = {}
    for row in rows:
        said = (row.command, row.state or "")
        outcome = (row.command, row.outcome)
        ended[outcome] = ended.get(outcome, 0) + row.activities
        items[said] = items.get(said, 0) + row.items
        seconds[said] = seconds.get(said, 0) + row.seconds
        if row.outcome in ("done", "skipped"):
            success[row.command,] = max(success.get((row.command,), 0.0), _s(row.last_ended_at))
    return [
        _counters("commands_total", ["command", "outcome"], list(ended.items())),
        _counters("command_items_total", ["command", "state"], list(items.items())),
        _counters("command_seconds_total", ["command", "state"], list(seconds.items())),
        _gauges("command_last_success_timestamp_seconds", ["command"], list(success.items())),
    ]


def _of_the_rest(now: CatalogueVitals) -> list[Metric]:
    oldest = [((one.kind,), _s(now.now) - _s(one.oldest_at)) for one in now.questions if one.oldest_at is not None]
    kinds = sorted({*get_args(JobKind), *(one.kind for one in now.jobs)})
    jobs: dict[tuple[str, ...], float] = {(kind, state): 0.0 for kind in kinds for state in get_args(JobState)}
    jobs |= {(one.kind, one.state): float(one.jobs) for one in now.jobs}  # the first failure is a step up from 0
    found = [
        _gauges("leases_held", ["work"], [((one.work,), float(one.held)) for one in now.leases]),
        _counters("lease_losses_total", ["work"], [((one.work,), float(one.losses)) for one in now.leases]),
        _gauges("questions_waiting", ["kind"], [((one.kind,), float(one.waiting)) for one in now.questions]),
        _gauges("question_oldest_seconds", ["kind"], [(key, max(0.0, age)) for key, age in oldest]),
        _counters("answers_total", ["kind"], [((one.kind,), float(one.answers)) for one in now.questions]),
        _gauge("review_hints", now.hints),
        _gauges("jobs", ["kind", "state"], sorted(jobs.items())),
        _counters("promotions_total", [], [((), float(now.promotions))]),
    ]
    return [*found, _gauge("promoted_timestamp_seconds", _s(now.promoted_at))] if now.promoted_at else found


def _measured(found: list[Measuring]) -> list[Metric]:
    by_name: dict[str, list[tuple[dict[str, str], float]]] = {}
    for measuring in found:
        for one in measuring.figures:
            by_name.setdefault(one.name, []).append((dict(one.labels), one.value))
    metrics: list[Metric] = [
        _gauges("last_measured_timestamp_seconds", ["by"], [((one.measured_by,), _s(one.at)) for one in found])
    ]
    for name in sorted((by_name.keys() & HELP.keys()) - _IN_THE_LEDGER):
        metric = GaugeMetricFamily(PREFIX + name, HELP[name])
        for labels, value in by_name[name]:
            metric.add_sample(PREFIX + name, labels, value)
        metrics.append(metric)
    return metrics


def _gauge(name: str, value: float) -> Metric:
    return _gauges(name, [], [((), float(value))])


def _gauges(name: str, labels: list[str], samples: Sequence[Sample]) -> Metric:
    metric = GaugeMetricFamily(PREFIX + name, LIVE[name], labels=labels)
    for values, value in samples:
        metric.add_metric(list(values), value)
    return metric


def _counters(name: str, labels: list[str], samples: Sequence[Sample]) -> Metric:
    metric = CounterMetricFamily(PREFIX + name, LIVE[name], labels=labels)
    for values, value in samples:
        metric.add_metric(list(values), value)
    return metric


def _s(moment: datetime) -> float:
    return moment.timestamp()
