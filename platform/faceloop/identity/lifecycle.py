"""One run of identify, as a function: clusters, people's word and the run before to labels and identities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from faceloop.identity.earlier import Earlier
from faceloop.identity.labels import Labelling, Sighting, label_faces
from faceloop.identity.naming import Named, former_labels, identity_rows, minted, name_clusters
from faceloop.identity.replay import recall, replay
from faceloop.identity.resolve import aliases_of
from faceloop.identity.standing import Standing, standing_of
from facestore.decisions import Decision, IdentityEvent
from facestore.records import Assignment, Identity

if TYPE_CHECKING:
    from faceloop.identity.confidence_scale import ConfidenceScale


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What makes an identity, and when a machine label counts."""

    min_faces_alone: int  # accepted faces that make one lone tracklet an identity
    min_confidence: float  # below, a machine label is none
    accept_threshold: float | None  # from it on, a machine label is confirmed; None: never
    scale: "ConfidenceScale | None" = None  # what the machine's confidence means as a probability, if that is known


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """Everything that identify publishes, and what it did on the way."""

    labelling: Labelling
    identities: list[Identity]  # every one ever minted, by id
    former: list[Assignment]  # face → the identity that it was in before
    standing: Standing
    named: Named


def identify_faces(
    sightings: Sequence[Sighting],
    *,
    effective: Sequence[Decision],
    events: Sequence[IdentityEvent],
    earlier: Earlier,
    group_of_face: Mapping[str, int],
    rules: Rules,
) -> Identified:
    """Labels and identities after the run before (`earlier`). Any order of the inputs gives the same.

    `effective` decisions can all hold together; `events` is the whole identity log. Raises DataError for an undo of an
    unknown event.
    """
    replayed = replay(earlier.identity_of, events, seen=earlier.events_seen, former=earlier.former)
    former = recall(earlier.former, events, seen=earlier.events_seen)
    former |= {face: name for face, name in earlier.identity_of.items() if replayed.identity_of[face] != name}
    faces = {sighting.face_id for sighting in sightings}
    standing = standing_of(effective, aliases=aliases_of(events), faces=faces)
    named = name_clusters(
        sightings,
        standing,
        replayed,
        earlier,
        former,
        taken=minted(earlier, events),
        min_faces_alone=rules.min_faces_alone,
        min_confidence=rules.min_confidence,
    )
    labelling = label_faces(
        sightings,
        named.identity_of,
        standing,
        group_of_face=group_of_face,
        min_confidence=rules.min_confidence,
        accept_threshold=rules.accept_threshold,
    )
    labelling = _as_probability(labelling, rules.scale)
    identities = identity_rows(sightings, labelling.assignments, named, replayed, earlier, events)
    return Identified(
        labelling=labelling,
        identities=identities,
        former=former_labels(former, replayed, labelling.assignments),
        standing=standing,
        named=named,
    )


def _as_probability(labelling: Labelling, scale: "ConfidenceScale | None") -> Labelling:
    """The same labels; those that rest on the machine's confidence carry what it means."""
    rows = [row for row in labelling.assignments if row.identity_id is not None and row.via in {None, "cluster"}]
    if scale is None or not rows:
        return labelling
    meant = scale.probability(np.array([row.confidence for row in rows], np.float64)).tolist()
    changed = {row.face_id: replace(row, confidence=value) for row, value in zip(rows, meant, strict=True)}
    return replace(labelling, assignments=tuple(changed.get(row.face_id, row) for row in labelling.assignments))
