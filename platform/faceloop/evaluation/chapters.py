"""Coverage, the unfamiliar and labelling quality as chapters of the page, flat metrics and lines of the card."""

from collections.abc import Sequence
from pathlib import Path

from faceloop.evaluation.blocks import Block, Bullets, Grid, Paragraph, as_html
from faceloop.evaluation.card_facts import CardFigure
from faceloop.evaluation.coverage import CoverageMatrix, spell
from faceloop.evaluation.coverage_holes import Hole
from faceloop.evaluation.labelling_figures import Difference, LabellingFigures, SideFigures
from faceloop.evaluation.page import Chapter
from faceloop.evaluation.unfamiliar_figures import GENUINE, KindFigures, Share, UnfamiliarFigures
from facestore.ids import JsonValue

_DIGITS = 6


def coverage_chapter(matrix: CoverageMatrix, holes: Sequence[Hole], failed: Sequence[str], picture: Path) -> Chapter:
    """What the release holds of each kind of picture, and what it lacks."""
    total = matrix.total
    blocks: list[Block] = [
        Paragraph(text=f"{total.samples:,} samples of {total.identities:,} people; unknown is a band of its own.")
    ]
    if matrix.unmeasured:
        blocks.append(Paragraph(text=f"{matrix.unmeasured:,} samples are not in the faces table any more: unknown."))
    blocks.append(Bullets(items=tuple(hole_lines(holes)) or ("Every floor holds.",)))
    if failed:
        blocks.append(Paragraph(text=f"{len(failed)} floors fail; they block a release and a promotion."))
    return Chapter(
        title="Coverage", fragment=as_html(blocks), pictures=((picture, "Samples and people of each kind of picture"),)
    )


def hole_lines(holes: Sequence[Hole]) -> list[str]:
    """Each hole as a sentence, and whether mining can look for it."""
    return [
        f"{spell(hole.where)}: {hole.need}"
        + (f"; request {hole.request['name']}" if hole.request is not None else "; to be recorded or annotated")
        for hole in holes
    ]


def coverage_metrics(matrix: CoverageMatrix, holes: Sequence[Hole], failed: Sequence[str]) -> dict[str, JsonValue]:
    """Flat numbers."""
    total = matrix.total
    return {
        "coverage.samples": total.samples,
        "coverage.identities": total.identities,
        "coverage.holes": len(holes),
        "coverage.floors_failed": len(failed),
    }


def unfamiliar_chapter(figures: UnfamiliarFigures, picture: Path) -> Chapter:
    """What became of pictures that are no live, bare face."""
    head = ("kind", "pictures", "seen", "passed", "false at the door", "false if let in", "AUROC similarity", "quality")
    blocks: list[Block] = [
        Paragraph(
            text=f"Nearest of {figures.people:,} people at the cosine {figures.threshold:.4f}. Seen: by the detector. "
            "Passed: seen, and of sufficient quality. False: taken for somebody it does not show; ≤ is the upper bound."
        ),
        Grid(head=head, rows=tuple(_kind_row(kind) for kind in figures.kinds)),
    ]
    shown = (picture, "Those taken for somebody else first")
    return Chapter(title="Unfamiliar pictures", fragment=as_html(blocks), pictures=(shown,))


def unfamiliar_metrics(figures: UnfamiliarFigures) -> dict[str, JsonValue]:
    """Flat numbers, by kind."""
    flat: dict[str, JsonValue] = {}
    for kind in figures.kinds:
        shares = {
            "seen": kind.detected,
            "passed": kind.passed,
            "false_at_door": kind.false_at_door,
            "false_let_in": kind.false_let_in,
        }
        flat |= {f"unfamiliar.{kind.kind}.{key}": round(s.share, _DIGITS) for key, s in shares.items() if s is not None}
        if kind.auroc_similarity is not None:
            flat[f"unfamiliar.{kind.kind}.auroc_similarity"] = round(kind.auroc_similarity, _DIGITS)
    return flat


def unfamiliar_lines(figures: UnfamiliarFigures) -> tuple[CardFigure, ...]:
    """For the card: the share that is taken for somebody else, at the door where one was asked."""
    return tuple(
        CardFigure(
            name=kind.kind.replace("_", " "),
            value=share.share,
            low=0.0,
            high=share.upper,
            counted=f"{share.hits} of {share.pictures}, {'at the door' if kind.false_at_door else 'let in'}",
            refused=None,
        )
        for kind in figures.kinds
        if kind.kind != GENUINE and (share := kind.false_at_door or kind.false_let_in)
    )


def labelling_chapter(figures: LabellingFigures) -> Chapter:
    """Candidate against current, as labellers."""
    blocks: list[Block] = [Paragraph(text=figures.said)]
    if figures.current is not None and figures.candidate is not None:
        before, after = _side_rows(figures.current, figures), _side_rows(figures.candidate, figures)
        rows = tuple((name, old, new) for (name, old), (_, new) in zip(before, after, strict=True))
        blocks.append(Grid(head=("figure", "current", "candidate"), rows=rows))
    if figures.left_out:
        blocks.append(
            Paragraph(text=f"{figures.left_out} faces without a vector by one of the models count for neither.")
        )
    return Chapter(title="Labelling quality", fragment=as_html(blocks), pictures=())


def labelling_metrics(figures: LabellingFigures) -> dict[str, JsonValue]:
    """Flat numbers; what was not measured has no line."""
    flat: dict[str, JsonValue] = {}
    for name, side in (("current", figures.current), ("candidate", figures.candidate)):
        if side is not None:
            flat |= {
                f"labelling.{name}.pairwise_f": round(side.pairwise_f, _DIGITS),
                f"labelling.{name}.bcubed_f": round(side.bcubed_f, _DIGITS),
                f"labelling.{name}.labelled_share": round(side.labelled_share, _DIGITS),
                f"labelling.{name}.labelled_right": round(side.labelled_right, _DIGITS),
            }
            if side.questions is not None:
                flat[f"labelling.{name}.questions"] = side.questions
    for name, found in (("pairwise_f", figures.pairwise_f), ("bcubed_f", figures.bcubed_f)):
        flat |= _difference(f"labelling.gain.{name}", found)
    return flat


def _difference(key: str, found: Difference | None) -> dict[str, JsonValue]:
    if found is None:
        return {}
    return {
        key: round(found.value, _DIGITS),
        f"{key}.low": round(found.interval.low, _DIGITS),
        f"{key}.high": round(found.interval.high, _DIGITS),
    }


def _kind_row(kind: KindFigures) -> tuple[str, ...]:
    return (
        kind.kind.replace("_", " "),
        str(kind.pictures),
        *(_of(share) for share in (kind.detected, kind.passed, kind.false_at_door, kind.false_let_in)),
        *(f"{value:.3f}" if value is not None else "–" for value in (kind.auroc_similarity, kind.auroc_quality)),
    )


def _of(share: Share | None) -> str:
    return "not asked" if share is None else f"{share.hits} (≤ {share.upper:.1%})"


def _side_rows(side: SideFigures, figures: LabellingFigures) -> list[tuple[str, str]]:
    asked = f"more than {figures.questions_most}" if side.questions is None else str(side.questions)
    pairwise, bcubed = side.pairwise_f_interval, side.bcubed_f_interval
    return [
        ("embedding contract", side.contract_id),
        ("strangers measured on", side.calibration),
        ("pairwise F", f"{side.pairwise_f:.4f} [{pairwise.low:.4f}, {pairwise.high:.4f}]"),
        ("BCubed F", f"{side.bcubed_f:.4f} [{bcubed.low:.4f}, {bcubed.high:.4f}]"),
        ("clusters", str(side.clusters)),
        ("people in several clusters", str(side.identities_split)),
        ("clusters of several people", str(side.clusters_mixed)),
        ("faces labelled by the machine", f"{side.labelled_share:.1%}"),
        ("of them rightly", f"{side.labelled_right:.2%}"),
        (f"questions to pairwise F {figures.target_f:g}", asked if figures.questions_most else "not asked"),
    ]
