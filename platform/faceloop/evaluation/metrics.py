"""What was measured, as flat numbers for `dvc metrics`. A refused figure has no line: absent is not zero."""

from collections.abc import Mapping, Sequence

from faceloop.evaluation.leakage import Leakage
from faceloop.evaluation.measuring import MeasuredGold, MeasuredModel
from faceloop.evaluation.slices import failed_slices
from facestore.ids import JsonValue, canonical_json


def flat_metrics(sets: Sequence[MeasuredGold], leaks: Mapping[str, Leakage]) -> dict[str, JsonValue]:
    """`GOLD.MODEL.FIGURE` to a number. Counts are whole numbers, rates have six digits."""
    flat: dict[str, JsonValue] = {}
    for measured in sets:
        gold = measured.gold.name
        flat |= {f"{gold}.faces": len(measured.gold), f"{gold}.identities": len(measured.gold.identity_ids)}
        for name, model in (("candidate", measured.candidate), ("current", measured.current)):
            flat |= {f"{gold}.{name}.{key}": _rounded(value) for key, value in _of_model(model).items()}
        for at, gain in zip(measured.candidate.model.verified.figures.at, measured.tar_gains, strict=True):
            if gain.gain is not None and gain.interval is not None:
                key = f"{gold}.gain.tar_at_far_{at.far:g}"
                flat |= {
                    key: _rounded(gain.gain),
                    f"{key}.low": _rounded(gain.interval.low),
                    f"{key}.high": _rounded(gain.interval.high),
                }
        for found in measured.slices:
            if found.tar is not None:
                flat[f"{gold}.slices.{found.name}"] = _rounded(found.tar)
        flat[f"{gold}.slices_failed"] = len(failed_slices(measured.slices))
        flat[f"{gold}.slices_refused"] = sum(found.state == "refused" for found in measured.slices)
        leak = leaks[gold]
        flat[f"{gold}.leaked_identities"] = len(leak.identities)
        flat[f"{gold}.leaked_faces"] = len(leak.faces)
    return flat


def lines_of_json(flat: Mapping[str, JsonValue]) -> str:
    """One metric a line, sorted: easy to read and to diff."""
    lines = [f"{canonical_json(name)}: {canonical_json(value)}" for name, value in sorted(flat.items())]
    return "{\n  " + ",\n  ".join(lines) + "\n}\n"


def _of_model(model: MeasuredModel) -> dict[str, float]:
    figures, searched = model.model.verified.figures, model.search.figures
    found: dict[str, float | None] = {
        "eer": figures.eer,
        "best_accuracy": figures.best_accuracy,
        "separation": figures.separation,
        "rank_one": searched.rank_one,
        "refused_faces": model.embedded.refused,
        "genuine_pairs": figures.genuine_pairs,
        "impostor_pairs": figures.impostor_pairs,
        "fars_refused": sum(at.refused is not None for at in figures.at),
        "fpirs_refused": sum(at.refused is not None for at in searched.at),
    }
    for at in figures.at:
        found |= {f"tar_at_far_{at.far:g}": at.tar, f"threshold_at_far_{at.far:g}": at.threshold}
        if at.interval is not None:
            found |= {f"tar_at_far_{at.far:g}.low": at.interval.low, f"tar_at_far_{at.far:g}.high": at.interval.high}
    for row in searched.at:
        found[f"fnir_at_fpir_{row.fpir:g}"] = row.fnir
    if model.folded is not None:
        found |= {"fold_accuracy": model.folded.accuracy, "fold_standard_error": model.folded.standard_error}
    return {name: value for name, value in found.items() if value is not None}


def _rounded(value: float) -> JsonValue:
    return value if isinstance(value, int) else round(value, 6)
