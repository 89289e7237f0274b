"""gate: which floors a release fails. What passes may be shown to a person; nothing is promoted that does not."""

from collections.abc import Iterator

from faceloop.loop_params import GateParams
from faceloop.promotion.figures import ReleaseFigures
from facestore.errors import StageError


def failed_floors(figures: ReleaseFigures, floors: GateParams) -> list[str]:
    """Each failed floor with value and floor; empty where the release passes."""
    return list(_failed(figures, floors))


def check_gate(figures: ReleaseFigures, floors: GateParams) -> None:
    """Raises StageError, which names every floor that the release fails."""
    if failed := failed_floors(figures, floors):
        raise StageError(
            f"release {figures.release[:12]} fails its gate: {'; '.join(failed)}; mend the labels, or change loop.gate"
        )


def _failed(figures: ReleaseFigures, floors: GateParams) -> Iterator[str]:
    values: dict[str, float] = {
        "identities": figures.identities,
        "samples": figures.samples,
        "purity": figures.purity.share,
    }
    for name, value in values.items():
        if value < (floor := getattr(floors, name)):
            yield f"{name} {value:g}, floor {floor:g}"
    if figures.identity_leaks:
        yield f"identities in two splits {figures.identity_leaks}, floor 0"
