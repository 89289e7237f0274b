"""Pairs that may go into a hard set, and the choice among them under the caps of the request."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from faceloop.mining.request import MiningRequest, Source
from faceloop.questions.audits import lot

PairKind = Literal["hard_positive", "hard_negative"]
# people: they said so. track: one tracklet. witness: a third face resembles both, or they do each other.
# picture: both are in one picture. apart: each resembles its own identity far more, and the identities differ.
Ground = Literal["people", "track", "witness", "picture", "apart"]
Doubt = Literal["maybe_wrong_label", "maybe_one_person"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two faces; the smaller id stands first. `ground` says why it is what it claims, `doubt` why it may be not."""

    kind: PairKind
    first_face_id: str
    second_face_id: str
    first_identity_id: str
    second_identity_id: str
    similarity: float  # cosine
    sigmas: float  # the same above strangers
    support_sigmas: float  # witness of a positive; of a negative how much more each resembles its own identity
    ground: Ground | None  # exactly one of the two is given
    doubt: Doubt | None
    source: Source = "look_alikes"

    @property
    def identities(self) -> tuple[str, ...]:
        """Without repetition."""
        return tuple(dict.fromkeys((self.first_identity_id, self.second_identity_id)))

    @property
    def faces(self) -> tuple[str, str]:
        return self.first_face_id, self.second_face_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Order among pairs: hardest first, or by lot. Smaller comes first."""

    order: Literal["hardest", "random"]
    seed: int

    def of(self, pair: Pair) -> tuple[float | str, str, str]:
        if self.order == "random":
            return lot(self.seed, pair.kind, *pair.faces), *pair.faces
        return pair.similarity if pair.kind == "hard_positive" else -pair.similarity, *pair.faces


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Pairs in their order, and how many of the others the caps kept out or nobody wanted."""

    pairs: tuple[Pair, ...]
    over_caps: int
    beyond_count: int


def place_of(request: MiningRequest) -> Place:
    """What `hard` means for a request."""
    return Place(order=request.order, seed=request.seed)


def choose(pairs: Iterable[Pair], *, count: int, per_identity: int, per_face: int, place: Place) -> Chosen:
    """Up to `count` pairs of one kind, each once, in order, so that no identity and no face is in more than its cap."""
    unique = {pair.faces: pair for pair in pairs}
    return choose_in_order(
        sorted(unique.values(), key=place.of), count=count, per_identity=per_identity, per_face=per_face
    )


def in_turn(found: Sequence[Iterable[Pair]], place: Place) -> list[Pair]:
    """The pairs of several sources, each once: in turn each source gives its next that no other gave. A source that
    lists the easier pairs would otherwise never get its share."""
    waiting = [deque(sorted({pair.faces: pair for pair in pairs}.values(), key=place.of)) for pairs in found]
    merged: dict[tuple[str, str], Pair] = {}
    while any(waiting):
        for pairs in waiting:
            while pairs and pairs[0].faces in merged:
                pairs.popleft()
            if pairs:
                pair = pairs.popleft()
                merged[pair.faces] = pair
    return list(merged.values())


def choose_in_order(ranked: Sequence[Pair], *, count: int, per_identity: int, per_face: int) -> Chosen:
    """Up to `count` of these pairs as they stand, under the caps of `choose`."""
    of_identity, of_face = Counter[str](), Counter[str]()
    chosen: list[Pair] = []
    over = beyond = 0
    for pair in ranked:
        if any(of_face[face] >= per_face for face in pair.faces) or any(
            of_identity[name] >= per_identity for name in pair.identities
        ):
            over += 1
        elif len(chosen) >= count:
            beyond += 1
        else:
            chosen.append(pair)
            of_face.update(pair.faces)
            of_identity.update(pair.identities)
    return Chosen(pairs=tuple(chosen), over_caps=over, beyond_count=beyond)
