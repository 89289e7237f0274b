"""Figures to an artifact: metrics.json, gate.json, tables, pictures, report.html. Equal figures, equal bytes."""

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path

from faceloop.evaluation.leakage import Leakage
from faceloop.evaluation.measuring import MeasuredGold
from faceloop.evaluation.metrics import flat_metrics, lines_of_json
from faceloop.evaluation.page import GoldSection, Page, render
from faceloop.evaluation.pictures.curves import save_det, save_roc, save_scores
from faceloop.evaluation.pictures.sheets import save_sheet, sheet_pairs
from faceloop.evaluation.pictures.slices import save_slices
from faceloop.evaluation.tables import (
    IdentificationRow,
    LeakRow,
    SliceRow,
    VerificationRow,
    WorstPair,
    identification_rows,
    leak_rows,
    save_rows,
    slice_rows,
    verification_rows,
    worst_pairs,
)
from facestore.ids import JsonValue, canonical_json
from facestore.keymarker import is_without_pictures

_WORST_LISTED = 200
_WORST_SHOWN = 16
PAGE, METRICS, GATE, TABLES, PICTURES = "report.html", "metrics.json", "gate.json", "tables", "pictures"


def save_figures(
    evaluation: Path,
    sets: Sequence[MeasuredGold],
    leaks: Mapping[str, Leakage],
    further: Mapping[str, JsonValue],
    failed: Sequence[str],
) -> None:
    """`metrics.json`: flat numbers. `gate.json`: what a promotion's gate has against the candidate, as sentences."""
    flat = flat_metrics(sets, leaks) | dict(further) | {"floors_failed": len(failed)}
    (evaluation / METRICS).write_text(lines_of_json(flat), encoding="utf-8")
    (evaluation / GATE).write_text(canonical_json({"failed": list(failed)}) + "\n", encoding="utf-8")


def save_tables(evaluation: Path, sets: Sequence[MeasuredGold], leaks: Mapping[str, Leakage]) -> None:
    """One Parquet table a kind of figure, over all gold sets."""
    folder = evaluation / TABLES
    folder.mkdir(parents=True, exist_ok=True)
    save_rows(folder / "verification.parquet", VerificationRow, chain.from_iterable(map(verification_rows, sets)))
    save_rows(folder / "identification.parquet", IdentificationRow, chain.from_iterable(map(identification_rows, sets)))
    save_rows(folder / "slices.parquet", SliceRow, chain.from_iterable(map(slice_rows, sets)))
    save_rows(folder / "leaks.parquet", LeakRow, (row for name in leaks for row in leak_rows(name, leaks[name])))
    save_rows(
        folder / "worst_pairs.parquet",
        WorstPair,
        (row for measured in sets for row in worst_pairs(measured, _WORST_LISTED)),
    )


def gold_section(
    evaluation: Path, measured: MeasuredGold, leak: Leakage, *, far: float, hidden: Collection[str] = ()
) -> GoldSection:
    """The pictures of one gold set, written, and where they are. `hidden`: faces that no sheet may show."""
    folder = evaluation / PICTURES / measured.gold.name
    curves = (
        (folder / "roc.png", "ROC: TAR against FAR with intervals"),
        (folder / "det.png", "DET: false rejects against false accepts"),
        (folder / "scores.png", "Similarities of pairs of one and of two people"),
    )
    save_roc(measured, curves[0][0])
    save_det(measured, curves[1][0])
    save_scores(measured, curves[2][0])
    sheets = []
    scores = measured.candidate.model.scores
    for name, pairs, is_lowest, title in (
        ("unlike", scores.genuine, True, "One person, by the labels; least alike for the candidate"),
        ("alike", scores.impostors, False, "Two people, by the labels; most alike for the candidate"),
    ):
        chosen = sheet_pairs(measured.gold, pairs, lowest=is_lowest, limit=_WORST_SHOWN, hidden=hidden)
        if chosen and not is_without_pictures(folder):
            save_sheet(chosen, folder / f"{name}.png", title=title)
            sheets.append((folder / f"{name}.png", title))
    picture = None
    if any(row.tar is not None for row in measured.slices):
        picture = folder / "slices.png"
        save_slices(measured.slices, picture, far=far)
    return GoldSection(measured=measured, leak=leak, curves=curves, slices_picture=picture, sheets=tuple(sheets))


def save_page(evaluation: Path, page: Page) -> None:
    """`report.html`; the pictures that the page names must be there."""
    (evaluation / PAGE).write_text(render(page), encoding="utf-8")
