"""failures: what a promotion's gate has against a candidate, from everything that was measured."""

from collections.abc import Mapping, Sequence

from faceloop.evaluation.leakage import Leakage
from faceloop.evaluation.measuring import MeasuredGold
from faceloop.evaluation.slices import failed_slices


def failures(sets: Sequence[MeasuredGold], leaks: Mapping[str, Leakage], further: Sequence[str]) -> tuple[str, ...]:
    """Each reason with its value, the gravest first: leaks, floors of slices, then what else was measured; or none."""
    found = []
    for name, leak in leaks.items():
        if leak.identities:
            found.append(f"gold {name}: identities in training {len(leak.identities)}, at most 0")
        if leak.faces:
            found.append(f"gold {name}: near-duplicates of training {len(leak.faces)}, at most 0")
    for measured in sets:
        found += [f"gold {measured.gold.name}: {line}" for line in failed_slices(measured.slices)]
    return (*found, *further)
