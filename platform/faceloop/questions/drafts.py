"""Questions about who is who, before they are spelled out: cheap values that compete with one another."""

from dataclasses import dataclass
from typing import Literal

QuestionReason = Literal[
    "bridge_between_identities",  # two identities that resemble each other
    "unknown_near_identity",  # a face without identity that resembles one
    "unknown_pair",  # two faces without identity that resemble each other
    "weak_member",  # a tracklet that hardly resembles the rest of its cluster
    "two_halves",  # two parts of one cluster that hardly resemble each other
    "committee_differs",  # recognisers differ about a label
    "key_says_same",  # two clusters share a key, such as a badge, that says who they are
    "proposed_identity",  # a cluster without doubts, before people confirm it
    "not_described_yet",  # a face of a confirmed identity without attributes
    "random_sample",  # to check what is thought to be right
]
DraftKind = Literal["same_person", "odd_ones_out", "who_is_this"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One thing that the first side is compared with."""

    rows: tuple[int, ...]  # nodes that show it, best first, at least one
    label: int  # its cluster
    similarity: float  # mean cosine less hubness, [-1, 1]
    chance: float  # that it is the person of the first side, [0, 1]
    margin: float  # cosine above (same) or below the threshold
    pairs: float  # of faces that hang on the answer, > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A question: one side, and what it is compared with. Rows are nodes.

    same_person: two sides. odd_ones_out: the reference, and a member an option. who_is_this: the probe, and
    candidates, most likely first.
    """

    kind: DraftKind
    reason: QuestionReason
    detail: str  # a few words with numbers
    rows: tuple[int, ...]  # nodes that show the first side, best first
    label: int  # its cluster
    options: tuple[Option, ...]  # at least one
    is_inside: bool  # about one cluster: may part it; else may join clusters
    gain: float  # expected pairs of faces put right
    seconds: float  # of a person
    margin: float  # cosine that the machine is away from its threshold at the closest

    @property
    def rate(self) -> float:
        """Pairs of faces put right for a second of a person: what all kinds compete in."""
        return self.gain / self.seconds

    @property
    def labels(self) -> frozenset[int]:
        """Every cluster that it touches."""
        return frozenset((self.label, *(option.label for option in self.options)))
