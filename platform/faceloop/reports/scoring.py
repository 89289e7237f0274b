"""How good clusters and identities are where truth is known: one value that says it all."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from faceloop.clustering.metrics import PartitionScores, score_partition
from faceloop.reports.material import Material, Shot
from faceloop.reports.truth import Box, Detection, Known, TruthSpec, know
from facestore.ids import JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonScore:
    """What became of one true person."""

    person: str
    shots: int  # best-shot faces that show them
    unknown_shots: int  # of these, without an identity
    identities: tuple[str, ...]  # that hold their faces; more than one: split
    shared_identities: tuple[str, ...]  # of these, ones that hold someone else too: mixed

    @property
    def is_found_as_one(self) -> bool:
        """One identity holds all of this person's identified faces, and nobody else's."""
        return len(self.identities) == 1 and not self.shared_identities

    @property
    def is_whole(self) -> bool:
        """Found as one, with no face left unknown."""
        return self.is_found_as_one and self.unknown_shots == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelScores:
    """One partition against truth, counted over best-shot faces and over tracklets."""

    faces: PartitionScores
    tracklets: PartitionScores


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Agreement with truth. The partitions are None where no face has truth."""

    detection: Detection
    faces_with_truth: int  # best shots
    tracklets_with_truth: int
    clusters: LevelScores | None  # as clustering left them
    identities: LevelScores | None  # a face without identity counts as one of its own
    people: tuple[PersonScore, ...]  # everyone truth knows, by name
    person_of_tracklet: dict[str, str]
    identities_mixed: int

    @property
    def detection_rate(self) -> float:
        """Share of the sights that are not hard with an accepted face of the right person; 1 where there are none."""
        return self.detection.sights_found / self.detection.sights if self.detection.sights else 1.0

    def to_json(self) -> dict[str, JsonValue]:
        """Flat: dotted names to numbers."""
        found = [person for person in self.people if person.shots]
        flat: dict[str, JsonValue] = {
            "detection_rate": round(self.detection_rate, 5),
            **asdict(self.detection),
            "faces_with_truth": self.faces_with_truth,
            "tracklets_with_truth": self.tracklets_with_truth,
            "people": len(self.people),
            "people_with_faces": len(found),
            "people_as_one_identity": sum(person.is_found_as_one for person in self.people),
            "people_as_one_whole_identity": sum(person.is_whole for person in self.people),
            "people_split": sum(len(person.identities) > 1 for person in self.people),
            "people_without_identity": sum(not person.identities for person in self.people),
            "identities_mixed": self.identities_mixed,
        }
        for partition, levels in (("clusters", self.clusters), ("identities", self.identities)):
            for level in ("faces", "tracklets") if levels else ():
                for name, value in asdict(getattr(levels, level)).items():
                    flat[f"{partition}.{level}.{name}"] = round(value, 5)
        return flat


def score(material: Material, boxes: Sequence[Box], spec: TruthSpec) -> Scores:
    """Score a root. `boxes` are all its accepted faces, in any order.

    Raises DataError when the truth cannot be read.
    """
    known = know(spec, material.footage, boxes, material.readings, material.rejections)
    shots = [shot for shot in material.shots if shot.face_id in known.person_of_face]
    tracklet_person = _tracklet_people(boxes, known.person_of_face)
    firsts = list({shot.tracklet_id: shot for shot in reversed(shots)}.values())
    people = _people(known, shots)
    held: dict[str, set[str]] = defaultdict(set)
    for person in people:
        for identity in person.identities:
            held[identity].add(person.person)

    def levels(key: Callable[[Shot], str | None]) -> LevelScores | None:
        if not shots:
            return None
        return LevelScores(
            faces=_partition(shots, key, lambda shot: known.person_of_face[shot.face_id]),
            tracklets=_partition(firsts, key, lambda shot: tracklet_person[shot.tracklet_id]),
        )

    return Scores(
        detection=known.detection,
        faces_with_truth=len(shots),
        tracklets_with_truth=len(firsts),
        clusters=levels(lambda shot: str(shot.cluster_id) if shot.cluster_id >= 0 else None),
        identities=levels(lambda shot: shot.identity_id),
        people=people,
        person_of_tracklet=tracklet_person,
        identities_mixed=sum(len(names) > 1 for names in held.values()),
    )


def _tracklet_people(boxes: Sequence[Box], person_of_face: Mapping[str, str]) -> dict[str, str]:
    """The person most faces of a tracklet show; ties go to the first name."""
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for box in boxes:
        if (person := person_of_face.get(box.face_id)) is not None:
            votes[box.tracklet_id][person] += 1
    return {
        tracklet: min(count, key=lambda person: (-count[person], person))
        for tracklet, count in votes.items()
    }  # fmt: skip


def _partition(
    shots: Sequence[Shot], key: Callable[[Shot], str | None], person: Callable[[Shot], str]
) -> PartitionScores:
    numbers: dict[str, int] = {}
    predicted = [-1 if (name := key(shot)) is None else numbers.setdefault(name, len(numbers)) for shot in shots]
    _, truth = np.unique([person(shot) for shot in shots], return_inverse=True)
    return score_partition(np.array(predicted, dtype=np.int64), truth.astype(np.int64))


def _people(known: Known, shots: Sequence[Shot]) -> tuple[PersonScore, ...]:
    of_person: dict[str, list[Shot]] = defaultdict(list)
    holders: dict[str, set[str]] = defaultdict(set)
    for shot in shots:
        person = known.person_of_face[shot.face_id]
        of_person[person].append(shot)
        if shot.identity_id is not None:
            holders[shot.identity_id].add(person)
    found = []
    for person in known.people:
        theirs = of_person[person]
        identities = sorted({shot.identity_id for shot in theirs if shot.identity_id is not None})
        found.append(
            PersonScore(
                person=person,
                shots=len(theirs),
                unknown_shots=sum(shot.identity_id is None for shot in theirs),
                identities=tuple(identities),
                shared_identities=tuple(name for name in identities if len(holders[name]) > 1),
            )
        )
    return tuple(found)
