"""The findings in plain words: what a reader should take away before any table."""

from collections.abc import Mapping, Sequence

from faceloop.evaluation.comparison import Difference
from faceloop.evaluation.leakage import Leakage
from faceloop.evaluation.measuring import MeasuredGold


def one_in(rate: float) -> str:
    """0.001 as `1 in 1,000`."""
    return f"1 in {round(1 / rate):,}"


def headline(sets: Sequence[MeasuredGold]) -> str:
    """One sentence: is the candidate better, as far as the first gold set can tell?"""
    if not sets or not len(sets[0].gold):
        return "There is no gold to measure on: the release has no faces in these splits, and params name no gold set."
    measured = sets[0]
    at = measured.candidate.model.verified.figures.at
    told = [(row, gain) for row, gain in zip(at, measured.tar_gains, strict=True) if row.tar is not None]
    if not told:
        people, faces = len(measured.gold.identity_ids), len(measured.gold)
        return (
            f"Nothing can be said of this model yet: {faces:,} gold faces of {people:,} people are too few for any "
            "false-accept rate asked for. That is no fault of the model; more people in the gold settle it."
        )
    row, gain = min(told, key=lambda pair: pair[0].far)
    bounds = "" if row.interval is None else f" (between {row.interval.low:.3f} and {row.interval.high:.3f})"
    return (
        f"At a false-accept rate of {one_in(row.far)}, the lowest that this gold can show, the candidate accepts "
        f"{row.tar or 0.0:.3f} of the genuine pairs{bounds}. {verdict_sentence(gain)}"
    )


def verdict_sentence(gain: Difference) -> str:
    """What the paired comparison allows to say."""
    if gain.gain is None or gain.interval is None:
        return "It could not be compared with the current model."
    bounds = f"{gain.gain:+.3f}, between {gain.interval.low:+.3f} and {gain.interval.high:+.3f}"
    match gain.verdict:
        case "better":
            return f"It is better than the current model: {bounds}."
        case "worse":
            return f"It is worse than the current model: {bounds}."
        case _:
            return f"No difference to the current model is shown: {bounds}."


def notices(sets: Sequence[MeasuredGold], leaks: Mapping[str, Leakage]) -> tuple[str, ...]:
    """What a reader must know before believing a figure, the gravest first."""
    said = []
    for measured in sets:
        leak, name = leaks[measured.gold.name], measured.gold.name
        if not leak.is_clean:
            said.append(
                f"Gold {name} leaks: {len(leak.identities):,} people and {len(leak.faces):,} near-duplicate faces are "
                "in training, too. Its figures flatter the candidate."
            )
    for measured in sets:
        share = measured.labelled_by_people
        if share is not None and share < 1:
            said.append(
                f"Gold {measured.gold.name}: people confirmed {share:.0%} of its labels; the machine proposed the "
                "rest with the current model, which therefore looks better here than it is."
            )
    for measured in sets:
        for name, model in (("candidate", measured.candidate), ("current model", measured.current)):
            if model.embedded.refused:
                said.append(
                    f"Gold {measured.gold.name}: {model.embedded.refused:,} faces gave the {name} no vector; they "
                    "count as like nobody."
                )
    return tuple(said)
