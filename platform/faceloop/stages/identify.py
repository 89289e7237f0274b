"""identify: clusters to identities with stable ids; every face gets a state and a confidence, a lone one is unknown."""

from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import Field

from faceloop.identity.matching import Matching, match_identities
from faceloop.params import StageParams
from faceloop.stage import Context, In, Out, Report
from facestore.records import Assignment, Cluster, Face, Identity
from facestore.tables import TableWriter, read_columns, read_table, write_table

VERSION = 1


class Params(StageParams):
    min_faces_alone: int = Field(ge=1)
    min_confidence: float = Field(ge=0, le=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What identify needs to know of a clustered face."""

    face_id: str
    tracklet_id: str
    footage_id: str
    subset: str
    quality: float
    confidence: float
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Earlier:
    identities: dict[str, Identity]
    identity_of: dict[str, str]


def run(*, faces: In, clusters: In, assignments: Out, params: Params, context: Context) -> Report:
    report = Report()
    sightings = _sightings(faces, clusters)
    members = {
        cluster: people
        for cluster, people in sightings.items()
        if cluster >= 0 and is_identity(people, params.min_faces_alone)
    }
    earlier = _earlier(context.previous["assignments"])
    active = {name for name, identity in earlier.identities.items() if identity.is_active}
    matching = match_identities(
        {cluster: [sighting.face_id for sighting in people] for cluster, people in members.items()},
        {face: name for face, name in earlier.identity_of.items() if name in active},
        active,
        earlier.identities.keys(),
    )
    with TableWriter(assignments / "assignments.parquet", Assignment) as table:
        for cluster, people in sorted(sightings.items()):
            for sighting in people:
                name = matching.identity_of.get(cluster)
                assignment = assign(sighting, name, params.min_confidence)
                table.write(assignment)
                report.items_in += 1
                if assignment.state == "proposed":
                    report.published += 1
                else:
                    report.pending[_why_unknown(sighting, name)] += 1
    identities = _identities(members, matching, earlier.identities)
    write_table(assignments / "identities.parquet", Identity, identities)
    report.figures["identities"] = sum(identity.is_active for identity in identities)
    report.figures["identities_retired"] = sum(not identity.is_active for identity in identities)
    return report


def is_identity(people: list[Sighting], min_faces_alone: int) -> bool:
    """Seen in two tracklets, or long enough in one: a lone glimpse is nobody yet."""
    return len({sighting.tracklet_id for sighting in people}) > 1 or len(people) >= min_faces_alone


def assign(sighting: Sighting, identity: str | None, min_confidence: float) -> Assignment:
    """A face's label: proposed when its cluster is an identity and it is likely right, else unknown."""
    is_proposed = identity is not None and sighting.confidence >= min_confidence
    return Assignment(
        face_id=sighting.face_id,
        identity_id=identity if is_proposed else None,
        state="proposed" if is_proposed else "unknown",
        confidence=sighting.confidence if is_proposed else 0.0,
        source="auto",
        decision_id=None,
        via=None,
    )


def _why_unknown(sighting: Sighting, identity: str | None) -> str:
    if sighting.status == "low_quality":
        return "low_quality"
    return "singleton" if identity is None else "low_confidence"


def _sightings(faces: Path, clusters: Path) -> dict[int, list[Sighting]]:
    columns = ("face_id", "footage_id", "subset", "quality")
    table = read_columns(faces, "faces", Face, columns)
    facts = {row["face_id"]: row for row in table.to_pylist()}
    found: dict[int, list[Sighting]] = defaultdict(list)
    for row in read_table(clusters, "clusters", Cluster):
        fact = facts[row.face_id]
        found[row.cluster_id].append(
            Sighting(
                face_id=row.face_id,
                tracklet_id=row.tracklet_id,
                footage_id=fact["footage_id"],
                subset=fact["subset"],
                quality=fact["quality"],
                confidence=row.confidence,
                status=row.status,
            )
        )
    return {
        cluster: sorted(people, key=lambda sighting: (-sighting.quality, sighting.face_id))
        for cluster, people in found.items()
    }


def _earlier(previous: Path | None) -> _Earlier:
    if previous is None:
        return _Earlier(identities={}, identity_of={})
    return _Earlier(
        identities={identity.identity_id: identity for identity in read_table(previous, "identities", Identity)},
        identity_of={
            row.face_id: row.identity_id
            for row in read_table(previous, "assignments", Assignment)
            if row.identity_id is not None
        },
    )


def _identities(members: dict[int, list[Sighting]], matching: Matching, earlier: dict[str, Identity]) -> list[Identity]:
    found = {}
    for cluster, people in members.items():
        name = matching.identity_of[cluster]
        found[name] = Identity(
            identity_id=name,
            is_active=True,
            seed_face_id=matching.seed_of[name] if name in matching.seed_of else earlier[name].seed_face_id,
            faces=len(people),
            tracklets=len({sighting.tracklet_id for sighting in people}),
            footage=len({sighting.footage_id for sighting in people}),
            subsets=len({sighting.subset for sighting in people}),
            best_face_id=people[0].face_id,
            mean_confidence=sum(sighting.confidence for sighting in people) / len(people),
            confirmed_faces=0,
            name=None,
            successor=None,
        )
    for name, identity in earlier.items():
        if name not in found:
            successor = matching.successor_of.get(name, identity.successor)
            found[name] = replace(identity, is_active=False, successor=successor)
    return [found[name] for name in sorted(found)]
