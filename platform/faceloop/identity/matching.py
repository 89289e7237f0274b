"""Stable identities: a cluster keeps the id of the earlier identity whose faces it holds.

One to one, largest overlap first. An identity that no cluster continues is retired, never reused, and says which
identity took over most of its faces.
"""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from facestore.ids import identity_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """`identity_of` maps cluster → identity; `successor_of` maps a retired identity → who holds most of its faces."""

    identity_of: dict[int, str]
    seed_of: dict[str, str]  # identity → the face it was first minted from, for new ones
    successor_of: dict[str, str | None]


def match_identities(
    faces_of: Mapping[int, Sequence[str]], earlier: Mapping[str, str], active: Set[str], taken: Set[str]
) -> Matching:
    """Give each cluster an identity.

    `faces_of` maps cluster → its faces, best first; `earlier` face → active identity of the run before; `active` and
    `taken` are the identities that live, and all that were ever minted.
    """
    shared = {
        cluster: Counter(earlier[face] for face in faces if face in earlier) for cluster, faces in faces_of.items()
    }
    by_overlap = sorted(
        ((count, cluster, name) for cluster, counts in shared.items() for name, count in counts.items()),
        key=lambda entry: (-entry[0], min(faces_of[entry[1]]), entry[2]),
    )
    identity_of: dict[int, str] = {}
    continued: set[str] = set()
    for _, cluster, name in by_overlap:
        if cluster not in identity_of and name not in continued:
            identity_of[cluster] = name
            continued.add(name)
    seed_of: dict[str, str] = {}
    minted = set(taken)
    for cluster in sorted(faces_of, key=lambda cluster: min(faces_of[cluster])):
        if cluster not in identity_of:
            seed = min(faces_of[cluster])
            name = new_identity(seed, minted)
            identity_of[cluster], seed_of[name] = name, seed
            minted.add(name)
    return Matching(
        identity_of=identity_of, seed_of=seed_of, successor_of=_successors(active - continued, shared, identity_of)
    )


def new_identity(seed_face_id: str, minted: Set[str]) -> str:
    """An id that was never issued, from the smallest face id of its cluster."""
    count = 0
    while (name := identity_id(seed_face_id, count)) in minted:
        count += 1
    return name


def _successors(
    retired: Set[str], shared: Mapping[int, Counter[str]], identity_of: Mapping[int, str]
) -> dict[str, str | None]:
    heirs: dict[str, str | None] = {}
    for name in sorted(retired):
        holders = [(counts[name], identity_of[cluster]) for cluster, counts in shared.items() if counts[name]]
        heirs[name] = min(holders, key=lambda holder: (-holder[0], holder[1]))[1] if holders else None
    return heirs
