"""A sweep: Optuna proposes, real trainings answer, the best is published. A killed one goes on where it was.

The proposal for a trial follows from the seed and the trials before it alone (a sampler seeded anew for each), so a
sweep that was killed ends as an unbroken one. Tree-structured Parzen estimator: Bergstra et al. 2011.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from faceloop.experiments.sweep_spec import Range, SweepSpec
from faceloop.experiments.trial import InvalidMetric, run_trial
from faceloop.params import Tree, read_params
from faceloop.runner import Workspace, hold
from facestore.errors import ConfigError, DataError, InputsNotReady, LeaseHeld, LeaseLost, StageError
from facestore.ids import JsonValue, digest_of
from facestore.publish import read_manifest

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

_RANDOM_FIRST = 5  # trials, before the sampler learns from them and the pruner compares with them
_NOT_THE_PARAMS_FAULT = (InputsNotReady, LeaseHeld, LeaseLost, InvalidMetric)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """`value` of a finished trial; None where it was pruned, or `refused`, by what."""

    number: int
    value: float | None
    overrides: tuple[str, ...]
    refused: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    rows: tuple[TrialRow, ...]
    best: TrialRow
    folder: Path


def run_sweep(work: Workspace, spec: SweepSpec) -> Swept:
    """Try until `spec.trials` are done, those of earlier calls counted.

    Raises StageError where another sweep lies under the name or no trial finished, and what stops every trial alike.
    """
    folder = work.root / "sweeps" / spec.name
    with hold(work, f"sweep/{spec.name}"):
        folder.mkdir(parents=True, exist_ok=True)
        study = _study(work, spec, folder)
        while len(rows := rows_of(study, spec)) < spec.trials:
            _try_next(work, spec, study, folder, rows)
        best = best_of(rows, spec)
        if best is None:
            raise StageError(f"sweep {spec.name}: no trial finished; {rows[-1].refused or 'all were pruned'}")
        return Swept(rows=rows, best=best, folder=folder)


def best_of(rows: Sequence[TrialRow], spec: SweepSpec) -> TrialRow | None:
    """Of equals the first."""
    sign = 1 if spec.direction == "minimize" else -1
    finished = [(sign * row.value, row.number, row) for row in rows if row.value is not None]
    return min(finished)[2] if finished else None


def trial_folder(folder: Path, number: int) -> Path:
    return folder / f"trial-{number:04d}"


def changed_tree(work: Workspace, best: TrialRow, folder: Path) -> Tree:
    """The root's params with those of the best trial, kept as `best.yaml`."""
    from faceloop.experiments.forking import write_params

    return read_params(write_params(folder / "best.yaml", work.tree, best.overrides))


def rows_of(study: "Study", spec: SweepSpec) -> tuple[TrialRow, ...]:
    """Trials that came to an end, in order; their numbers count those alone."""
    from optuna.trial import TrialState

    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return tuple(
        TrialRow(
            number=number,
            value=trial.value if trial.state == TrialState.COMPLETE else None,
            overrides=tuple(trial.user_attrs["overrides"]),
            refused=trial.user_attrs.get("refused"),
        )
        for number, trial in enumerate(ended)
    )


def _study(work: Workspace, spec: SweepSpec, folder: Path) -> "Study":
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(folder / "trials.log")))
    pruner = (
        optuna.pruners.MedianPruner(n_startup_trials=_RANDOM_FIRST) if spec.is_pruned else optuna.pruners.NopPruner()
    )
    study = optuna.create_study(
        study_name=spec.name, storage=storage, direction=spec.direction, pruner=pruner, load_if_exists=True
    )
    made_from = _made_from(work, spec)
    if study.user_attrs.setdefault("made_from", made_from) != made_from:
        raise StageError(
            f"sweep {spec.name} was begun with another space, release or other params; give this one a name of its own"
        )
    study.set_user_attr("made_from", made_from)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)  # a kill left it; the same params are proposed again
    return study


def _made_from(work: Workspace, spec: SweepSpec) -> str:
    release = read_manifest(work.path("release"))
    if release is None:
        raise InputsNotReady("sweep: no release is published to train on; run pack, or `faceloop release pull`")
    told: dict[str, JsonValue] = json.loads(spec.model_dump_json(exclude={"trials"}))
    return digest_of([told, work.tree["train"], work.tree["evaluate"], release.digest])


def _try_next(work: Workspace, spec: SweepSpec, study: "Study", folder: Path, rows: Sequence[TrialRow]) -> None:
    from optuna import TrialPruned
    from optuna.samplers import TPESampler
    from optuna.trial import TrialState

    number = len(rows)
    study.sampler = TPESampler(seed=(spec.seed + 7919 * number) % 2**31, n_startup_trials=_RANDOM_FIRST)
    trial = study.ask(_distributions(spec))
    chosen = [f"{key}={json.dumps(trial.params[key])}" for key in sorted(spec.space)]
    overrides = (*spec.fixed, *chosen)
    trial.set_user_attr("overrides", list(overrides))
    place = trial_folder(folder, number)

    def look(step: int, tar: float) -> None:
        trial.report(tar if spec.direction == "maximize" else -tar, step)
        if spec.is_pruned and trial.should_prune():
            raise TrialPruned

    try:
        value = run_trial(work, spec, overrides, place, look)
    except TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
        work.progress.say(f"sweep {spec.name}: trial {number} pruned")
    except _NOT_THE_PARAMS_FAULT:
        study.tell(trial, state=TrialState.FAIL)
        raise
    except (ConfigError, DataError, StageError) as error:
        trial.set_user_attr("refused", str(error))
        study.tell(trial, state=TrialState.PRUNED)
        work.progress.say(f"sweep {spec.name}: trial {number} refused")
    else:
        study.tell(trial, value)
        work.progress.say(f"sweep {spec.name}: trial {number}: {spec.metric} {value:.6g}")
    _keep_best(folder, rows_of(study, spec), spec)


def _keep_best(folder: Path, rows: Sequence[TrialRow], spec: SweepSpec) -> None:
    """Candidates are large: of the trials that ended only the best so far keeps its folder."""
    best = best_of(rows, spec)
    for row in rows:
        if best is None or row.number != best.number:
            shutil.rmtree(trial_folder(folder, row.number), ignore_errors=True)


def _distributions(spec: SweepSpec) -> "dict[str, BaseDistribution]":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, BaseDistribution] = {}
    for key, space in sorted(spec.space.items()):
        match space:
            case Range(low=int() as low, high=int() as high):
                found[key] = IntDistribution(low, high, log=space.log)
            case Range():
                found[key] = FloatDistribution(float(space.low), float(space.high), log=space.log)
            case _:
                found[key] = CategoricalDistribution(space.choices)
    return found
