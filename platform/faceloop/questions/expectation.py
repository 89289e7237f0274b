"""How right a clustering is expected to be, from its own doubts: pairs wrongly together, pairs missed.

No truth is needed; what it says is only as good as the chances that it is made from.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from faceloop.questions.drafting import Doubts
from faceloop.questions.situation import Situation


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """Pairs of faces, as expected values >= 0."""

    right: float  # together, and rightly
    wrong: float  # together, and not one person
    missed: float  # one person, and not together

    @property
    def precision(self) -> float:
        """Pairwise; 1 without pairs."""
        together = self.right + self.wrong
        return self.right / together if together else 1.0

    @property
    def recall(self) -> float:
        """Pairwise; 1 without pairs."""
        belong = self.right + self.missed
        return self.right / belong if belong else 1.0

    @property
    def pairwise_f(self) -> float:
        """Harmonic mean of precision and recall."""
        total = 2 * self.right + self.wrong + self.missed
        return 2 * self.right / total if total else 1.0

    def after(self, parted: float, joined: float) -> "Expectation":
        """Once so many wrong pairs are parted and so many missed ones joined; never more than there are."""
        return Expectation(
            right=self.right + min(joined, self.missed),
            wrong=max(self.wrong - parted, 0.0),
            missed=max(self.missed - joined, 0.0),
        )


def expect(situation: Situation, doubts: Doubts) -> Expectation:
    """The clustering as it stands. Wrong pairs of a cluster: those of its doubtful members or, if more, of its halves.

    Chances of one small cluster to belong to each of several others add up to at most 1.
    """
    given = situation.given
    is_in = given.labels >= 0
    faces = np.bincount(given.labels[is_in], given.faces[is_in], given.count).astype(np.float64)
    together = float((faces * (faces - 1) / 2).sum())
    of_members: dict[int, float] = defaultdict(float)
    for member in doubts.members:
        of_members[member.label] += (1 - member.chance) * member.pairs
    wrong = dict(of_members)
    for _, half in doubts.splits:
        wrong[half.label] = max(wrong.get(half.label, 0.0), (1 - half.chance) * half.pairs)
    pairs_of = {label: float(faces[label] * (faces[label] - 1) / 2) for label in wrong}
    expected_wrong = sum(min(lost, pairs_of[label]) for label, lost in sorted(wrong.items()))
    chances: dict[int, float] = defaultdict(float)
    smaller = [min((faces[side.label], side.label) for side in sides)[1] for sides in doubts.merges]
    for label, (first, _) in zip(smaller, doubts.merges, strict=True):
        chances[label] += first.chance
    missed = sum(
        first.chance / max(1.0, chances[label]) * first.pairs
        for label, (first, _) in zip(smaller, doubts.merges, strict=True)
    )
    return Expectation(right=together - expected_wrong, wrong=expected_wrong, missed=missed)
