"""How long a candidate takes beside the current model: measured when the gate judges, on the machine that judges.

Times are no part of an evaluation, which is the same bytes wherever it runs. Both models run in turns, so that whatever
else the machine does meets both, and only their ratio is judged: a latency class, not milliseconds.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from faceloop.loop_params import LoopParams
from faceloop.params import section
from faceloop.runner import Workspace, stage_params
from faceloop.stages.evaluate import Params as EvaluateParams
from faceloop.vision.align import CROP_SIDE_PX
from faceloop.vision.models import open_recogniser
from faceloop.vision.packs import load_pack
from faceloop.vision.recogniser import Recogniser
from facestore.errors import ConfigError

_ROUNDS = 9
_SEED = 7
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Medians over rounds, of one batch. `ratio`: median of the candidate's time over the current model's, by round."""

    batch: int
    candidate_ms: float
    current_ms: float
    ratio: float


def latency_to_judge(work: Workspace) -> Latency | None:
    """Measure the published candidate on the engine of `evaluate.current`; None where the gate asks for no class.

    CPU seconds of one thread where the engine is a CPU, so that other programs do not count; else by the clock.
    """
    if section(work.tree, "loop", LoopParams).model_gate.max_latency_ratio is None:
        return None
    params = stage_params(work, "evaluate")
    if not isinstance(params, EvaluateParams):
        raise ConfigError("the section evaluate is not that of the stage evaluate; take faceloop's own stages")
    wanted = params.current
    packs = (load_pack(str(work.path("candidate")), accept_licence=wanted.accept_licence, insightface_root=None),
             wanted.load())  # fmt: skip
    candidate, current = (
        open_recogniser(
            pack,
            engine=wanted.engine,
            precision=wanted.precision,
            threads=1,
            batch_size=params.batch_size,
            provider=wanted.provider,
        )
        for pack in packs
    )
    clock = time.process_time if wanted.provider == "cpu" else time.perf_counter
    return measure_latency(candidate, current, batch=params.batch_size, clock=clock)


def measure_latency(candidate: Recogniser, current: Recogniser, *, batch: int, clock: Clock) -> Latency:
    """Embed one batch of made-up crops with both, in alternating order. `clock` gives seconds."""
    crops = np.random.default_rng(_SEED).integers(0, 256, (batch, CROP_SIDE_PX, CROP_SIDE_PX, 3), np.uint8)
    models = (candidate, current)
    for model in models:
        model.embed(crops)  # the first is never like the others
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(_ROUNDS):
        for place in (0, 1) if turn % 2 == 0 else (1, 0):
            started = clock()
            models[place].embed(crops)
            seconds[place].append(clock() - started)
    return Latency(
        batch=batch,
        candidate_ms=_median_ms(seconds[0]),
        current_ms=_median_ms(seconds[1]),
        ratio=round(statistics.median(a / max(b, 1e-9) for a, b in zip(*seconds, strict=True)), 3),
    )


def _median_ms(seconds: Sequence[float]) -> float:
    return round(1000 * statistics.median(seconds), 3)
