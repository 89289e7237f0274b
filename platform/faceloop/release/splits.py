"""Identity-disjoint splits that hold over releases: an identity's split depends on its id and the seed alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from facestore.ids import sha256_hex
from facestore.records import Split

_SCALE = 1 << 64


def split_of(identity_id: str, *, seed: int, val_share: float, test_share: float) -> Split:
    """`test`, `val` or `train`, by hash: a new identity never moves another one, so nothing leaks between releases."""
    place = int(sha256_hex(f"split\x1f{seed}\x1f{identity_id}".encode())[:16], 16) / _SCALE
    if place < test_share:
        return "test"
    return "val" if place < test_share + val_share else "train"


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """How evenly a split's samples spread over its identities."""

    identities: int
    samples: int
    smallest: int
    median: float
    largest: int
    ratio: float  # largest over median class
    is_balanced: bool  # ratio within the rule
    over: tuple[str, ...]  # identities above rule × median


def balance(samples_of: Mapping[str, int], ratio_rule: float) -> Balance:
    """The balance report of one split. `samples_of` maps identity → samples; `ratio_rule` is the 3× rule's number."""
    sizes = sorted(samples_of.values())
    if not sizes:
        return Balance(identities=0, samples=0, smallest=0, median=0.0, largest=0, ratio=0.0, is_balanced=True, over=())
    middle = len(sizes) // 2
    median = float(sizes[middle]) if len(sizes) % 2 else (sizes[middle - 1] + sizes[middle]) / 2
    over = tuple(sorted(name for name, size in samples_of.items() if size > ratio_rule * median))
    return Balance(
        identities=len(sizes),
        samples=sum(sizes),
        smallest=sizes[0],
        median=median,
        largest=sizes[-1],
        ratio=round(sizes[-1] / median, 4),
        is_balanced=not over,
        over=over,
    )


def shuffled(face_ids: Sequence[str], seed: int) -> list[str]:
    """A fixed random-looking order that does not depend on the order given."""
    return sorted(face_ids, key=lambda face_id: sha256_hex(f"shuffle\x1f{seed}\x1f{face_id}".encode()))


def counts_of(names: Sequence[str]) -> dict[str, int]:
    return dict(Counter(names))
