"""Candidate against current, on the same faces and the same draws of people: what is left is the model."""

from dataclasses import dataclass
from typing import Literal

from faceloop.evaluation.resampling import Float64Array, Interval, difference_interval

Verdict = Literal["better", "worse", "no_difference_shown", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Candidate minus current of one rate. Better or worse only where the interval leaves out zero."""

    gain: float | None
    interval: Interval | None
    verdict: Verdict


def difference(
    candidate: float | None, current: float | None, drawn: tuple[Float64Array, Float64Array], confidence: float
) -> Difference:
    """Compare two rates by their replicates (candidate's, current's), drawn alike; a refused rate is not compared."""
    interval = difference_interval(drawn[0] - drawn[1], confidence)
    if candidate is None or current is None or interval is None:
        return Difference(gain=None, interval=None, verdict="refused")
    gain = candidate - current
    verdict: Verdict = "no_difference_shown"
    if interval.is_above_zero and gain > 0:
        verdict = "better"
    elif interval.is_below_zero and gain < 0:
        verdict = "worse"
    return Difference(gain=gain, interval=interval, verdict=verdict)
