"""model_card: what a model is for, what it was made from, what was measured, what was refused and what it cannot do.

Headings are those of Mitchell et al., "Model Cards for Model Reporting" (2019). Every number comes from the facts
given; a figure that was refused is listed with its reason, never left out.
"""

from dataclasses import dataclass

from faceloop.evaluation.blocks import Block, Bullets, Grid, Heading, Paragraph, as_html, as_markdown
from faceloop.evaluation.card_facts import CardFigure, ModelCardFacts, ReleaseFacts

_NO_USE = (
    "Not for watching people who did not consent, and not for ranking, sorting or scoring people.",
    "Not as the only ground of a decision about a person: below the operating threshold it errs, above it too.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One text in two forms."""

    markdown: str
    html: str  # a fragment


def model_card(facts: ModelCardFacts) -> Card:
    """The card of a candidate. Equal facts give equal bytes."""
    blocks = [
        Heading(text=f"Model card: {facts.model_id}", level=1),
        *_details(facts),
        *_use(facts),
        *_factors(facts),
        *_metrics(facts),
        *_data(facts.release, facts),
        *_further(facts),
        *_limits(facts),
    ]
    html = [block for block in blocks if not (isinstance(block, Heading) and block.level == 1)]
    return Card(markdown=as_markdown(blocks), html=as_html(html))


def shown(figure: CardFigure) -> str:
    """`0.9770 [0.9701, 0.9832]`, or `refused`."""
    if figure.value is None:
        return "refused"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.4g}"
    return f"{figure.value:.4f} [{figure.low:.4f}, {figure.high:.4f}]"


def _details(facts: ModelCardFacts) -> list[Block]:
    rows = [("embedding contract", facts.contract_id), ("compared with", facts.current_id), *facts.procedure]
    licences = tuple(f"{what}: {licence}" for what, licence in facts.licences)
    return [
        Heading(text="Model details", level=2),
        Paragraph(text="A face recogniser: an aligned 112 × 112 RGB crop to a unit vector; a cosine says how alike."),
        Grid(head=("what", "value"), rows=tuple(rows)),
        Heading(text="Licences", level=3),
        Bullets(items=licences or ("Not stated by any part of it: find out before it leaves the house.",)),
    ]


def _use(facts: ModelCardFacts) -> list[Block]:
    return [
        Heading(text="Intended use", level=2),
        Paragraph(text=facts.intended_use),
        Bullets(items=_NO_USE),
    ]


def _factors(facts: ModelCardFacts) -> list[Block]:
    found: list[Block] = [Heading(text="Factors", level=2)]
    measured = tuple(slice_ for slice_ in facts.slices if slice_.value is not None)
    if measured:
        found += [
            Paragraph(text="Slices of the gold faces, the worst first."),
            Grid(head=("slice", "figure", "counted"), rows=tuple(_row(slice_)[:3] for slice_ in measured)),
        ]
    else:
        found.append(Paragraph(text="No slice has a figure."))
    if refused := _refused(facts.slices):
        found += [Paragraph(text="Refused, which is not passed:"), Bullets(items=refused)]
    found += [
        Heading(text="Coverage holes", level=3),
        Bullets(items=facts.holes or ("None of the floors that are set is missed.",)),
    ]
    return found


def _refused(figures: tuple[CardFigure, ...]) -> tuple[str, ...]:
    """A line for each reason, with everything that was refused for it."""
    names: dict[str, list[str]] = {}
    for figure in figures:
        if figure.value is None:
            names.setdefault(figure.refused or "no reason given", []).append(figure.name)
    return tuple(f"{', '.join(refused)}: {reason}" for reason, refused in names.items())


def _metrics(facts: ModelCardFacts) -> list[Block]:
    refused = sum(figure.value is None for figure in facts.figures)
    return [
        Heading(text="Metrics", level=2),
        Paragraph(
            text=f"{len(facts.figures) - refused} figures with their intervals, {refused} refused. A refused figure is "
            "one that the number of pairs or of people cannot carry."
        ),
        Grid(head=("figure", "value", "counted", "refused because"), rows=tuple(map(_row, facts.figures))),
        Heading(text="Labelling quality", level=3),
        Paragraph(text=facts.labelling),
    ]


def _row(figure: CardFigure) -> tuple[str, ...]:
    return figure.name, shown(figure), figure.counted, figure.refused or ""


def _data(release: ReleaseFacts, facts: ModelCardFacts) -> list[Block]:
    without = release.footage - release.footage_with_consent
    return [
        Heading(text="Evaluation data", level=2),
        Paragraph(text=facts.evaluation_data),
        Heading(text="Training data", level=2),
        Paragraph(
            text=f"Release {release.version}: {release.footage} footage files; {release.footage_with_consent} with a "
            f"consent id ({release.consents} consents), {without} without."
        ),
        Grid(
            head=("split", "identities", "samples"),
            rows=tuple((name, f"{people:,}", f"{samples:,}") for name, people, samples in release.splits),
        ),
    ]


def _further(facts: ModelCardFacts) -> list[Block]:
    if not facts.unfamiliar:
        return [
            Heading(text="Unfamiliar pictures", level=2),
            Paragraph(text="Drawings, statues, prints, masks and things were not shown to this model."),
        ]
    return [
        Heading(text="Unfamiliar pictures", level=2),
        Paragraph(text="Shares taken for a person that they do not show, with the upper bound in brackets."),
        Grid(head=("kind", "share", "counted", "refused because"), rows=tuple(map(_row, facts.unfamiliar))),
    ]


def _limits(facts: ModelCardFacts) -> list[Block]:
    erased = facts.release.tombstones
    erasure = (
        f"Erasure: the release names {erased} erased {'item' if erased == 1 else 'items'}. Weights cannot forget: who "
        "is erased after training is out of the data at once, and out of the model with the next one that is trained "
        "without them."
    )
    return [
        Heading(text="Ethical considerations", level=2),
        Bullets(
            items=(
                "Crops and vectors of faces are biometric data; so are class centres, one a person, in the candidate.",
                erasure,
            )
        ),
        Heading(text="Caveats and recommendations", level=2),
        Bullets(items=facts.limits or ("None was noted; that is not the same as none.",)),
    ]
