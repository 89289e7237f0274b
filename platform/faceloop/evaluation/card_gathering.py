"""card_of: the facts of a model card, from the pack, its training record, its release and what was measured."""

import json
from collections.abc import Sequence
from pathlib import Path

from faceloop.evaluation.card import Card, model_card
from faceloop.evaluation.card_facts import CardFigure, ModelCardFacts, release_facts, told_facts
from faceloop.evaluation.chapters import hole_lines, unfamiliar_lines
from faceloop.evaluation.coverage_holes import Hole
from faceloop.evaluation.labelling_figures import LabellingFigures
from faceloop.evaluation.measuring import MeasuredGold
from faceloop.evaluation.unfamiliar_figures import UnfamiliarFigures

_INTENDED = (
    "Proposing who is on a picture to people who confirm it, among people who consented to the footage, under the "
    "thresholds measured below."
)


def card_of(
    release_folder: Path,
    candidate: Path,
    measured: MeasuredGold,
    found: Sequence[Hole],
    labelled: LabellingFigures,
    seen: UnfamiliarFigures | None,
) -> Card:
    """The card of the candidate pack in a folder, measured on a gold set."""
    manifest = json.loads((candidate / "manifest.json").read_text(encoding="utf-8"))
    record = candidate / "training.json"
    told = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    gold, people = measured.gold, len(measured.gold.identity_ids)
    by_people = measured.labelled_by_people
    limits = []
    release = release_facts(release_folder)
    if "release" in told and told["release"] != release.version:
        limits.append(
            f"It was trained on release {told['release']}, and measured on gold of {release.version}: the counts "
            "of training data above are those of the latter."
        )
    if by_people is not None and by_people < 1:
        limits.append(f"{1 - by_people:.0%} of the gold labels are the machine's own, confirmed by nobody.")
    if seen is None:
        limits.append("Unfamiliar pictures were not shown: the gold has too few people for a threshold.")
    return model_card(
        ModelCardFacts(
            model_id=str(manifest["pack_id"]),
            contract_id=measured.candidate.embedded.contract_id,
            current_id=measured.current.embedded.contract_id,
            intended_use=_INTENDED,
            licences=(("this model, and what it started from", str(manifest["licence"])),),
            procedure=told_facts(told),
            release=release,
            evaluation_data=f"Gold set {gold.name}: {len(gold):,} faces of {people:,} people, none of them trained on.",
            figures=_figures(measured),
            slices=_slices(measured),
            holes=tuple(hole_lines(found)),
            unfamiliar=unfamiliar_lines(seen) if seen is not None else (),
            labelling=labelled.said,
            limits=tuple(limits),
        )
    )


def _figures(measured: MeasuredGold) -> tuple[CardFigure, ...]:
    counted = f"{len(measured.gold):,} faces of {len(measured.gold.identity_ids):,} people"
    return tuple(
        CardFigure(
            name=f"TAR at FAR {at.far:g}",
            value=at.tar,
            low=at.interval.low if at.interval is not None else None,
            high=at.interval.high if at.interval is not None else None,
            counted=counted,
            refused=at.refused,
        )
        for at in measured.candidate.model.verified.figures.at
    )


def _slices(measured: MeasuredGold) -> tuple[CardFigure, ...]:
    ordered = sorted(measured.slices, key=lambda one: (one.tar is None, one.tar or 0.0, one.kind, one.band))
    return tuple(
        CardFigure(
            name=f"{found.kind} {found.band}",
            value=found.tar,
            low=found.interval.low if found.interval is not None else None,
            high=found.interval.high if found.interval is not None else None,
            counted=f"{found.faces:,} faces of {found.people:,} people",
            refused=found.refused,
        )
        for found in ordered
    )
