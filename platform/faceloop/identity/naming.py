"""From clusters, decisions and events to identities that last: which cluster is one, which id it has, what became of
the others. Labels of single faces are in `labels.py`."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from faceloop.identity.claims import join_claimed
from faceloop.identity.earlier import Earlier
from faceloop.identity.labels import NOT_CLUSTERED, Sighting
from faceloop.identity.matching import Matching, match_identities
from faceloop.identity.replay import ReplayedLabels
from faceloop.identity.standing import Standing
from facestore.decisions import IdentityEvent
from facestore.records import Assignment, Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Clusters that are identities, and the matching that gave them their ids."""

    identity_of: dict[int, str]
    seen_enough: frozenset[int]  # clusters that are more than a glimpse, sure or not
    matching: Matching


def name_clusters(
    sightings: Sequence[Sighting],
    standing: Standing,
    replayed: ReplayedLabels,
    earlier: Earlier,
    former: Mapping[str, str],
    *,
    taken: set[str],
    min_faces_alone: int,
    min_confidence: float,
) -> Named:
    """An id for each cluster that is an identity: seen twice, long enough in one tracklet, or vouched for by people.

    `former` maps faces to the identity that they were in before, after the events.
    """
    out = standing.rejected.keys() | standing.ignored.keys()
    members: dict[int, list[Sighting]] = defaultdict(list)
    for sighting in sightings:
        if sighting.cluster_id != NOT_CLUSTERED and sighting.face_id not in out:
            members[sighting.cluster_id].append(sighting)
    made = {name for event in replayed.standing for name in (event.identity_id, event.other_identity_id) if name}
    tied = {face for face, tie in standing.tie_of.items() if len(tie.face_ids) > 1}
    # Faces that have their name from people say nothing about the rest of their cluster, nor does a face that nobody is
    # sure of: an id must not pass to strangers by way of them.
    spoken = named_by_people(members, standing)
    rest = {cluster: [one for one in people if one.face_id not in spoken] for cluster, people in members.items()}
    is_sure = {
        cluster: is_identity(people, min_faces_alone) or any(one.face_id in tied for one in people)
        for cluster, people in rest.items()
    }
    now = {face: name for face, name in replayed.identity_of.items() if face not in spoken}
    before = {face: name for face, name in former.items() if face not in spoken}
    # A cluster too small by itself may still continue an identity that people made, by a split or a name.
    faces_of = {}
    for cluster, people in members.items():
        faces = [one.face_id for one in people if one.confidence >= min_confidence or one.face_id in tied | spoken]
        if faces and (is_sure[cluster] or spoken & set(faces) or any(now.get(face) in made for face in faces)):
            faces_of[cluster] = faces
    merged = {event.other_identity_id for event in replayed.standing if event.kind == "merge"}
    living = {name for name, identity in earlier.identities.items() if identity.is_active}
    claimed = join_claimed(faces_of, standing, now, before, members)
    matching = match_identities(
        claimed.faces_of,
        now,
        (living | set(replayed.identity_of.values())) - replayed.successor_of.keys(),
        taken,
        claims=claimed.claims,
        former=before,
        gone=merged,
    )
    names = {cluster: matching.identity_of[part] for cluster, part in claimed.part_of.items()}
    kept = {
        cluster: name
        for cluster, name in names.items()
        if is_sure[cluster] or name in made or claimed.part_of[cluster] in claimed.claims
    }
    seen_enough = frozenset(cluster for cluster, is_one in is_sure.items() if is_one)
    return Named(identity_of=kept, seen_enough=seen_enough, matching=matching)


def named_by_people(members: Mapping[int, Sequence[Sighting]], standing: Standing) -> set[str]:
    """Faces that people named, and those of no decision in the same tracklet where it is one node and has one name."""
    named = {face: tie.identity_id for face, tie in standing.tie_of.items() if tie.identity_id is not None}
    names: dict[str, set[str]] = defaultdict(set)
    clusters: dict[str, set[int]] = defaultdict(set)
    for cluster, people in members.items():
        for one in people:
            clusters[one.tracklet_id].add(cluster)
            if one.face_id in named:
                names[one.tracklet_id].add(named[one.face_id])
    whole = {tracklet for tracklet, found in names.items() if len(found) == len(clusters[tracklet]) == 1}
    mates = {one.face_id for people in members.values() for one in people if one.tracklet_id in whole}
    return named.keys() | (mates - standing.tie_of.keys())


def is_identity(people: Sequence[Sighting], min_faces_alone: int) -> bool:
    """Seen in two tracklets, or long enough in one: a lone glimpse is nobody yet."""
    return len({sighting.tracklet_id for sighting in people}) > 1 or len(people) >= min_faces_alone


def minted(earlier: Earlier, events: Iterable[IdentityEvent]) -> set[str]:
    """Every identity that was ever made, by a run or by an event."""
    of_events = (name for event in events for name in (event.identity_id, event.other_identity_id))
    return set(earlier.identities) | {name for name in of_events if name is not None}


def identity_rows(
    sightings: Iterable[Sighting],
    assignments: Iterable[Assignment],
    named: Named,
    replayed: ReplayedLabels,
    earlier: Earlier,
    events: Iterable[IdentityEvent],
) -> list[Identity]:
    """A row for each identity ever minted, by id: what it holds, or who took over."""
    seen = {sighting.face_id: sighting for sighting in sightings}
    people: dict[str, list[Assignment]] = defaultdict(list)
    for row in assignments:
        if row.identity_id is not None:
            people[row.identity_id].append(row)
    seeds = {
        event.other_identity_id: min(event.face_ids) for event in events if event.kind == "split" and event.face_ids
    }
    found: dict[str, Identity] = {}
    for name, rows in people.items():
        best = min((seen[row.face_id] for row in rows), key=lambda one: (-one.quality, one.face_id))
        known = earlier.identities.get(name)
        fresh = named.matching.seed_of.get(name) or seeds.get(name) or min(row.face_id for row in rows)
        found[name] = Identity(
            identity_id=name,
            is_active=True,
            seed_face_id=known.seed_face_id if known else fresh,
            faces=len(rows),
            tracklets=len({seen[row.face_id].tracklet_id for row in rows}),
            footage=len({seen[row.face_id].footage_id for row in rows}),
            subsets=len({seen[row.face_id].subset for row in rows}),
            best_face_id=best.face_id,
            mean_confidence=sum(row.confidence for row in rows) / len(rows),
            confirmed_faces=sum(row.state == "confirmed" for row in rows),
            name=replayed.names.get(name),
            successor=None,
        )
    successors: dict[str, str | None] = {**named.matching.successor_of, **replayed.successor_of}
    for name, identity in earlier.identities.items():
        if name not in found:
            successor = successors.get(name, identity.successor)
            found[name] = replace(identity, is_active=False, name=replayed.names.get(name), successor=successor)
    for made, seed in seeds.items():
        if made is not None and made not in found:
            found[made] = _tombstone(made, seed, replayed.names.get(made), successors.get(made))
    return [found[name] for name in sorted(found)]


def former_labels(
    former: Mapping[str, str], replayed: ReplayedLabels, assignments: Iterable[Assignment]
) -> list[Assignment]:
    """The identity that each face was in before the one that it is in now, by face; the other columns say nothing."""
    now = {row.face_id: row.identity_id for row in assignments}
    last = {face: name for face, name in former.items() if name != now.get(face)}
    last |= {face: name for face, name in replayed.identity_of.items() if name != now.get(face)}
    return [
        Assignment(
            face_id=face, identity_id=name, state="unknown", confidence=0.0, source="auto", decision_id=None, via=None
        )
        for face, name in sorted(last.items())
    ]


def _tombstone(name: str, seed: str, given: str | None, successor: str | None) -> Identity:
    return Identity(
        identity_id=name,
        is_active=False,
        seed_face_id=seed,
        faces=0,
        tracklets=0,
        footage=0,
        subsets=0,
        best_face_id=seed,
        mean_confidence=0.0,
        confirmed_faces=0,
        name=given,
        successor=successor,
    )
