"""Stable identities: a cluster keeps the id of the earlier identity whose faces it holds.

What people name comes first, then one to one by overlap, largest first. An identity that no cluster continues is
retired, never given away, and says which identity took over most of its faces. Faces remember the identity that they
were in before: what comes together again, or apart again, has its old ids, so that what people take back leaves no
trace.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from facestore.ids import identity_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """`identity_of` maps cluster → identity; `successor_of` maps a retired identity → who holds most of its faces."""

    identity_of: dict[int, str]
    seed_of: dict[str, str]  # identity → the face it was first minted from, for new ones
    successor_of: dict[str, str | None]


def match_identities(
    faces_of: Mapping[int, Sequence[str]],
    earlier: Mapping[str, str],
    active: Set[str],
    taken: Set[str],
    *,
    claims: Mapping[int, str] | None = None,
    former: Mapping[str, str] | None = None,
    gone: Set[str | None] = frozenset(),
) -> Matching:
    """Give each cluster an identity.

    `faces_of` maps cluster → its faces; `earlier` face → active identity of the run before; `active` and `taken` are
    the identities that live, and all that were ever minted. `claims` maps a cluster to the identity that people name,
    which no other cluster may then take; `former` maps a face to the identity that it was in before; those in
    `gone`, which people merged into others, do not return.
    """
    previous = former or {}
    shared = _shared(faces_of, earlier)
    given = _Given(claims or {})
    holding = set(earlier.values())
    votes, waiting = _votes(faces_of, earlier, previous, holding)
    by_votes = _largest_first(votes, faces_of)
    # A cluster whose largest claim waits is not given a smaller one meanwhile.
    largest = {cluster: max((votes[cluster][name] for name in names), default=0) for cluster, names in waiting.items()}
    given.give(
        (count, cluster, name)
        for count, cluster, name in by_votes
        if name not in waiting[cluster] and count >= largest[cluster]
    )
    size_of = Counter(previous.values())
    given.give(
        (count, cluster, name)
        for count, cluster, name in _largest_first(_shared(faces_of, previous), faces_of)
        if name not in holding | gone and 2 * count > len(faces_of[cluster]) and 2 * count > size_of[name]
    )
    given.give(by_votes)
    continued = set(given.name_of.values())
    seed_of: dict[str, str] = {}
    minted = set(taken) | continued
    for cluster in sorted(faces_of, key=lambda cluster: min(faces_of[cluster])):
        if cluster not in given.name_of:
            seed = min(faces_of[cluster])
            name = new_identity(seed, minted)
            given.name_of[cluster], seed_of[name] = name, seed
            minted.add(name)
    found = given.name_of
    return Matching(identity_of=found, seed_of=seed_of, successor_of=_successors(active - continued, shared, found))


def new_identity(seed_face_id: str, minted: Set[str]) -> str:
    """An id that was never issued, from the smallest face id of its cluster."""
    count = 0
    while (name := identity_id(seed_face_id, count)) in minted:
        count += 1
    return name


class _Given:
    """Names given so far, each to one cluster."""

    def __init__(self, claims: Mapping[int, str]) -> None:
        self.name_of = dict(claims)
        self._names = set(claims.values())

    def give(self, candidates: Iterable[tuple[int, int, str]]) -> None:
        """In the order of the (count, cluster, name) entries, where both are still free."""
        for _, cluster, name in candidates:
            if cluster not in self.name_of and name not in self._names:
                self.name_of[cluster] = name
                self._names.add(name)


def _votes(
    faces_of: Mapping[int, Sequence[str]], earlier: Mapping[str, str], former: Mapping[str, str], holding: Set[str]
) -> tuple[dict[int, Counter[str]], dict[int, set[str]]]:
    """Cluster → identity → faces that are in it or were before; and the identities for which the cluster has to wait.

    Who was in an identity before outweighs what broke off from it, when the two are one again. A cluster of faces that
    all came by the end of another identity waits for a cluster of those who were there: the other may return.
    """
    votes: dict[int, Counter[str]] = {}
    only_newcomers: dict[int, set[str]] = {}
    has_residents: set[str] = set()
    for cluster, faces in faces_of.items():
        now = Counter(earlier[face] for face in faces if face in earlier)
        before = Counter(former[face] for face in faces if face in former)
        new = Counter(
            earlier[face] for face in faces if face in earlier and former.get(face, earlier[face]) not in holding
        )
        votes[cluster] = Counter({name: count + before[name] for name, count in now.items()})
        only_newcomers[cluster] = {name for name, count in votes[cluster].items() if new[name] == count}
        has_residents |= votes[cluster].keys() - only_newcomers[cluster]
    return votes, {cluster: names & has_residents for cluster, names in only_newcomers.items()}


def _shared(faces_of: Mapping[int, Iterable[str]], names: Mapping[str, str]) -> dict[int, Counter[str]]:
    return {cluster: Counter(names[face] for face in faces if face in names) for cluster, faces in faces_of.items()}


def _largest_first(
    shared: Mapping[int, Counter[str]], faces_of: Mapping[int, Sequence[str]]
) -> list[tuple[int, int, str]]:
    """(faces shared, cluster, identity), ties by the smallest face of the cluster, then by the identity."""
    smallest = {cluster: min(faces_of[cluster]) for cluster, counts in shared.items() if counts}
    return sorted(
        ((count, cluster, name) for cluster, counts in shared.items() for name, count in counts.items()),
        key=lambda entry: (-entry[0], smallest[entry[1]], entry[2]),
    )


def _successors(
    retired: Set[str], shared: Mapping[int, Counter[str]], identity_of: Mapping[int, str]
) -> dict[str, str | None]:
    holders: dict[str, list[tuple[int, str]]] = {name: [] for name in retired}
    for cluster, counts in shared.items():
        for name, count in counts.items():
            if name in retired:
                holders[name].append((count, identity_of[cluster]))
    return {
        name: min(found, key=lambda holder: (-holder[0], holder[1]))[1] if found else None
        for name, found in sorted(holders.items())
    }
