"""Look at everything in scope, though stages may publish meanwhile."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from faceloop.runner import Workspace
from faceloop.upkeep.scope import Scope, checks_of
from facestore.checks import Check, Damage, FileCheck, ObjectCheck, identity_of, journal_of, look, run_checks

JOURNAL = "verify.journal"  # of the root; gone after a check that ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a check came to. `known`: found good before a check that was cut short, and not read again."""

    files: int
    objects: int
    known: int
    damages: tuple[Damage, ...]

    @property
    def summary(self) -> str:
        known = f", {self.known} of them before this run" if self.known else ""
        return f"{self.files} files and {self.objects} objects checked{known}: {len(self.damages)} damaged"


def verify(work: Workspace, scope: Scope, *, jobs: int, now_s: float, is_anew: bool) -> Verified:
    """Raises StageError when there is nothing to check, StoreError when a bucket does not answer: run it again then,
    and it goes on where it was."""
    checks = checks_of(work, scope)

    def track(todo: Sequence[Check]) -> Iterator[Check]:
        return work.progress.track(todo, "verify")

    with journal_of(work.root / JOURNAL, now_s=now_s, is_anew=is_anew) as journal:
        known = sum(identity_of(check) in journal.passed for check in checks)
        damages = run_checks(checks, journal, jobs=jobs, track=track)
    if damages:
        damages = _still_damaged(work, scope, damages)
    return Verified(
        files=sum(isinstance(check, FileCheck) for check in checks),
        objects=sum(isinstance(check, ObjectCheck) for check in checks),
        known=known,
        damages=tuple(damages),
    )


def _still_damaged(work: Workspace, scope: Scope, damages: Sequence[Damage]) -> list[Damage]:
    """Without those that only looked so, because a stage published the folder anew while it was read."""
    now = {identity_of(check) for check in checks_of(work, scope)}
    again = [look(damage.check) for damage in damages if identity_of(damage.check) in now]
    return [damage for damage in again if damage is not None]
