"""The dataset card of a release: what is in it, where it came from, what it must not be used for."""

from collections.abc import Mapping
from dataclasses import dataclass

from faceloop.release.splits import Balance


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    version: str
    contract_ids: tuple[str, ...]
    balances: Mapping[str, Balance]
    subsets: Mapping[str, int]  # samples
    footage: int
    footage_without_consent: int
    left_out: Mapping[str, int]  # reason → crops
    balance_ratio: float


def dataset_card(facts: CardFacts) -> str:
    """Markdown with the front matter that dataset hubs read."""
    lines = [
        "---",
        "task_categories: [face-recognition]",
        f"version: {facts.version}",
        "---",
        "",
        f"# Face release {facts.version}",
        "",
        "Aligned 112 × 112 RGB face crops (ArcFace five-point template), labelled with machine-proposed identities.",
        "Labels are proposals until people confirm them; each record carries its confidence.",
        "",
        "## Splits",
        "",
        "Identity-disjoint: no identity is in two splits, and none ever changes its split.",
        "",
        "| split | identities | samples | smallest | median | largest | largest ÷ median |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {name} | {found.identities} | {found.samples} | {found.smallest} | {found.median:g} | {found.largest} "
        f"| {found.ratio:g} |"
        for name, found in facts.balances.items()
    ]
    over = [name for found in facts.balances.values() for name in found.over]
    lines += [
        "",
        f"Balance rule: no identity above {facts.balance_ratio:g} × the median. "
        + (f"Above it: {', '.join(over)}." if over else "It holds."),
        "",
        "## Sources",
        "",
        f"{facts.footage} footage files, {facts.footage_without_consent} of them without a consent id.",
        "",
        "| subset | samples |",
        "|---|--:|",
        *(f"| {_cell(name)} | {count} |" for name, count in facts.subsets.items()),
        "",
        "## Left out",
        "",
        "| reason | crops |",
        "|---|--:|",
        *(f"| {reason} | {count} |" for reason, count in facts.left_out.items()),
        "",
        "## Use",
        "",
        f"Embedding contract of the labels: {', '.join(facts.contract_ids)}. Face crops are biometric data: use them",
        "for the purpose that the people consented to, and for nothing else.",
        "",
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
