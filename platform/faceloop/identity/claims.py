"""Clusters in which people name a face, and the cluster that was that identity before, its *home*.

A named cluster that was nobody else joins the home: one name spreads over all of it. Only the named face itself (and
its tracklet) joins where the cluster is another identity's, or where one picture shows both. Where a decision keeps the
two apart, the named cluster has the identity.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from faceloop.identity.labels import Sighting
from faceloop.identity.standing import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """Clusters as identities see them."""

    faces_of: dict[int, list[str]]  # clusters of one identity are one here, by the smallest number
    part_of: dict[int, int]  # given cluster → the one here
    claims: dict[int, str]  # cluster here → the identity that people name


def join_claimed(
    faces_of: Mapping[int, Sequence[str]],
    standing: Standing,
    earlier: Mapping[str, str],
    former: Mapping[str, str],
    everyone: Mapping[int, Sequence[Sighting]],
) -> Claimed:
    """`faces_of` maps cluster → its faces that will have a label, `everyone` → all of its faces; `earlier` maps a face
    to its identity in the run before, `former` to the one before that, but for faces that people name."""
    named = {face: tie.identity_id for face, tie in standing.tie_of.items() if tie.identity_id is not None}
    wanted = {
        cluster: name
        for cluster, faces in faces_of.items()
        if (name := _most(Counter(named[face] for face in faces if face in named))) is not None
    }
    parts: dict[str, list[int]] = defaultdict(list)
    for cluster, name in sorted(wanted.items()):
        parts[name].append(cluster)
    apart = _apart(everyone, standing)
    pictures = {cluster: {(one.footage_id, one.pts_ms) for one in people} for cluster, people in everyone.items()}
    was = {cluster: _was(faces, earlier, former) for cluster, faces in faces_of.items()}
    for name, home in sorted(_homes(faces_of, wanted, was).items()):
        if not any(frozenset((cluster, home)) in apart for cluster in parts[name]):
            joining = (
                cluster
                for cluster in parts[name]
                if _most(was[cluster]) in {name, None} and not pictures[cluster] & pictures[home]
            )
            parts[name] = [home, *joining]
    part_of = {cluster: cluster for cluster in faces_of}
    for clusters in parts.values():
        part_of |= dict.fromkeys(clusters, min(clusters, default=0))
    joined: dict[int, list[str]] = defaultdict(list)
    for cluster, faces in sorted(faces_of.items()):
        joined[part_of[cluster]] += faces
    return Claimed(
        faces_of=dict(joined),
        part_of=part_of,
        claims={min(clusters): name for name, clusters in parts.items() if clusters},
    )


def _was(faces: Sequence[str], earlier: Mapping[str, str], former: Mapping[str, str]) -> Counter[str]:
    """Identities that these faces were in, now or before."""
    return Counter(names[face] for names in (earlier, former) for face in faces if face in names)


def _homes(
    faces_of: Mapping[int, Sequence[str]], wanted: Mapping[int, str], was: Mapping[int, Counter[str]]
) -> dict[str, int]:
    """Named identity → the cluster without a name that was it most."""
    held: dict[str, list[tuple[int, str, int]]] = defaultdict(list)
    names = set(wanted.values())
    for cluster, faces in faces_of.items():
        if cluster not in wanted and (name := _most(was[cluster])) in names and name is not None:
            held[name].append((-was[cluster][name], min(faces), cluster))
    return {name: min(found)[2] for name, found in held.items()}


def _apart(everyone: Mapping[int, Sequence[Sighting]], standing: Standing) -> set[frozenset[int]]:
    """Pairs of clusters with faces that people say differ."""
    cluster_of = {one.face_id: cluster for cluster, people in everyone.items() for one in people}
    ties = {tie.tie_id: tie for tie in standing.ties()}
    pairs = set()
    for first, second in standing.apart:
        for one in {cluster_of[face] for face in ties[first].face_ids if face in cluster_of}:
            pairs |= {frozenset((one, cluster_of[f])) for f in ties[second].face_ids if f in cluster_of}
    return pairs


def _most(votes: Counter[str]) -> str | None:
    return min(votes, key=lambda name: (-votes[name], name), default=None)
