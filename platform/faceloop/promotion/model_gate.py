"""model_gate: what speaks against a model. It is judged by its evaluation; what passes may be shown to a person."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow.parquet as pq

from faceloop.evaluation.tables import SliceRow, VerificationRow
from faceloop.loop_params import ModelGateParams
from faceloop.promotion.latency import Latency
from facestore.errors import StageError

Row = TypeVar("Row", VerificationRow, SliceRow)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the gate reads of an evaluation. `rates`: of the candidate, with its gain over the current model.

    `failed`: what the evaluation itself has against it: leaks, floors of slices and of coverage, worse labels.
    `latency` is None where it was not measured, and then it is not judged.
    """

    rates: tuple[VerificationRow, ...]
    slices: tuple[SliceRow, ...]
    failed: tuple[str, ...]
    latency: Latency | None = None


def judged_of(evaluation: Path) -> Judged:
    """Read a published evaluation."""
    tables = evaluation / "tables"
    rates = _rows(tables / "verification.parquet", VerificationRow)
    return Judged(
        rates=tuple(row for row in rates if row.model == "candidate"),
        slices=_rows(tables / "slices.parquet", SliceRow),
        failed=tuple(json.loads((evaluation / "gate.json").read_text(encoding="utf-8"))["failed"]),
    )


def _rows(path: Path, record: type[Row]) -> tuple[Row, ...]:
    return tuple(record(**row) for row in pq.read_table(path, page_checksum_verification=True).to_pylist())


def failed_model_floors(judged: Judged, floors: ModelGateParams) -> list[str]:
    """Each objection with its figures, the evaluation's own first; empty where the model passes."""
    return [*judged.failed, *_lost(judged, floors), *_slower(judged, floors), *_unproven(judged.rates, floors)]


def check_model_gate(model_id: str, judged: Judged, floors: ModelGateParams) -> None:
    """Raises StageError, which names everything that speaks against the model."""
    if failed := failed_model_floors(judged, floors):
        raise StageError(
            f"model {model_id[:12]} fails its gate: {'; '.join(failed)}; train it on more of what it lacks, or change "
            "loop.model_gate, or the floors of evaluate"
        )


def _lost(judged: Judged, floors: ModelGateParams) -> Iterator[str]:
    """Where the model is shown to be worse than the current one, by more than is allowed."""
    for row in judged.rates:
        if row.gain_high is not None and row.gain_high < -floors.allowed_loss:
            yield f"gold {row.gold}: TAR at FAR {row.far:g} {_range(row.gain, row.gain_low, row.gain_high)}"
    for part in judged.slices:
        if part.gain_high is not None and part.gain_high < -floors.allowed_slice_loss:
            name = f"{part.kind}:{part.band}"
            yield f"gold {part.gold}: slice {name} {_range(part.gain, part.gain_low, part.gain_high)}"


def _slower(judged: Judged, floors: ModelGateParams) -> Iterator[str]:
    took, most = judged.latency, floors.max_latency_ratio
    if took is not None and most is not None and took.ratio > most:
        yield (
            f"a batch of {took.batch} takes {took.ratio:g} times as long as the current model's "
            f"({took.candidate_ms:g} ms), at most {most:g}"
        )


def _unproven(rates: Sequence[VerificationRow], floors: ModelGateParams) -> Iterator[str]:
    is_shown = any(row.gain_low is not None and row.gain_low > 0 for row in rates)
    if floors.needs_gain and not is_shown:
        yield "no gain over the current model is shown at any FAR that the gold supports"


def _range(gain: float | None, low: float | None, high: float | None) -> str:
    return f"{gain or 0.0:+.4f} [{low or 0.0:+.4f}, {high or 0.0:+.4f}] against the current model"
