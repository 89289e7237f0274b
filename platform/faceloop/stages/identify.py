"""identify: clusters and people's word to identities with stable ids. Every face gets a state, a confidence, and where
its label comes from; labels are derived anew from all decisions each time."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from faceloop.identity.accept import Acceptance, choose_threshold
from faceloop.identity.attributes import AttributeParams, spread_attributes
from faceloop.identity.earlier import read_earlier
from faceloop.identity.labels import LEFT_OUT, NOT_CLUSTERED, Sighting
from faceloop.identity.lifecycle import Identified, Rules, identify_faces
from faceloop.identity.naming import Named
from faceloop.params import StageParams
from faceloop.stage import Context, In, Out, Report
from facestore.decisions import Decision, IdentityEvent, Review
from facestore.records import Assignment, AttributeLabel, Cluster, Face, Identity
from facestore.tables import read_columns, read_table, write_table

if TYPE_CHECKING:
    from faceloop.identity.confidence_scale import ConfidenceScale

VERSION = 2


class AutoAccept(StageParams):
    """Machine labels count as confirmed where reviews prove this precision at this confidence; else none does."""

    precision: float = Field(gt=0, lt=1)
    confidence_level: float = Field(gt=0, lt=1)
    fewest_reviews: int = Field(ge=10)  # that make a probability of the machine's confidence
    reviews_since: str | None  # ISO 8601 with a zone: older reviews, say of another recogniser, are not counted

    @field_validator("reviews_since")
    @classmethod
    def _has_zone(cls, text: str | None) -> str | None:
        if text is not None and datetime.fromisoformat(text).tzinfo is None:
            raise ValueError("a time without a zone; write it as 2026-01-31T00:00:00+00:00")
        return text

    def since(self) -> datetime | None:
        return datetime.fromisoformat(self.reviews_since) if self.reviews_since is not None else None


class Params(StageParams):
    min_faces_alone: int = Field(ge=1)
    min_confidence: float = Field(ge=0, le=1)
    auto_accept: AutoAccept
    attributes: AttributeParams


def run(*, faces: In, clusters: In, decisions: In, assignments: Out, params: Params, context: Context) -> Report:
    report = Report()
    effective = list(read_table(decisions, "effective", Decision))
    events = list(read_table(decisions, "events", IdentityEvent))
    reviewed = _reviewed(list(read_table(decisions, "reviews", Review)), params.auto_accept)
    acceptance = choose_threshold(
        reviewed.confidence,
        reviewed.is_right,
        precision=params.auto_accept.precision,
        confidence_level=params.auto_accept.confidence_level,
    )
    clustered = {row.face_id: row for row in read_table(clusters, "clusters", Cluster)}
    sightings = _sightings(faces, clustered, effective)
    group_of_face = {face: row.key_group for face, row in clustered.items() if row.key_group >= 0}
    found = identify_faces(
        sightings,
        effective=effective,
        events=events,
        earlier=read_earlier(context.previous["assignments"]),
        group_of_face=group_of_face,
        rules=Rules(
            min_faces_alone=params.min_faces_alone,
            min_confidence=params.min_confidence,
            accept_threshold=acceptance.threshold,
            scale=_scale(reviewed, params.auto_accept.fewest_reviews),
        ),
    )
    write_table(assignments / "assignments.parquet", Assignment, found.labelling.assignments)
    write_table(assignments / "identities.parquet", Identity, found.identities)
    write_table(assignments / "former.parquet", Assignment, found.former)
    write_table(assignments / "events.parquet", IdentityEvent, events)
    spread = spread_attributes(
        effective,
        tracklet_of_face={sighting.face_id: sighting.tracklet_id for sighting in sightings},
        group_of_face=group_of_face,
        assignments=found.labelling.assignments,
        params=params.attributes,
    )
    write_table(assignments / "attributes.parquet", AttributeLabel, spread.labels)
    report.figures["attribute_labels"] = len(spread.labels)
    report.figures["attribute_disagreements"] = len(spread.disagreements)
    _count(report, sightings, found)
    _count_words(report, found, acceptance)
    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reviewed:
    """Machine labels that people checked."""

    confidence: NDArray[np.float64]  # (n,) the machine's
    is_right: NDArray[np.bool_]  # (n,)


def _sightings(faces: In, clustered: Mapping[str, Cluster], effective: list[Decision]) -> list[Sighting]:
    """Clustered faces, and those without a cluster of which people spoke."""
    spoken_of = {name for said in effective for name in (said.face_id, said.other_face_id) if name is not None}
    columns = ("face_id", "tracklet_id", "footage_id", "pts_ms", "subset", "quality", "rejected")
    found = []
    for face in read_columns(faces, "faces", Face, columns).to_pylist():
        row = clustered.get(face["face_id"])
        if face["rejected"] is not None or (row is None and face["face_id"] not in spoken_of):
            continue
        found.append(
            Sighting(
                face_id=face["face_id"],
                tracklet_id=face["tracklet_id"],
                footage_id=face["footage_id"],
                pts_ms=face["pts_ms"],
                subset=face["subset"],
                quality=face["quality"],
                cluster_id=row.cluster_id if row else NOT_CLUSTERED,
                confidence=row.confidence if row else 0.0,
                status=row.status if row else LEFT_OUT,
            )
        )
    return found


def _reviewed(reviews: list[Review], params: AutoAccept) -> _Reviewed:
    since = params.since()
    counted = [review for review in reviews if since is None or review.reviewed_at >= since]
    return _Reviewed(
        confidence=np.array([review.confidence for review in counted], np.float64),
        is_right=np.array([review.is_right for review in counted], np.bool_),
    )


def _scale(reviewed: _Reviewed, fewest: int) -> "ConfidenceScale | None":
    """What a confidence means as a probability; None where reviews are too few to say."""
    if len(reviewed.confidence) < fewest:
        return None
    from faceloop.identity.confidence_scale import fit_scale  # loads scikit-learn: a second that most runs can save

    return fit_scale(reviewed.confidence, reviewed.is_right, min_samples=fewest)


def _count(report: Report, sightings: list[Sighting], found: Identified) -> None:
    seen = {sighting.face_id: sighting for sighting in sightings}
    report.items_in = len(seen)
    for row in found.labelling.assignments:
        match row.state:
            case "rejected":
                report.rejected["not_a_face"] += 1
            case "ignored":
                report.rejected["ignored"] += 1
            case "unknown":
                report.pending[_why_unknown(seen[row.face_id], found.named)] += 1
            case _:
                report.published += 1


def _why_unknown(sighting: Sighting, named: Named) -> str:
    if sighting.status == LEFT_OUT:
        return "no_embedding"
    if sighting.cluster_id == NOT_CLUSTERED:
        return "incoherent" if sighting.status == "incoherent" else "low_quality"
    return "low_confidence" if sighting.cluster_id in named.seen_enough else "singleton"


def _count_words(report: Report, found: Identified, acceptance: Acceptance) -> None:
    """What people's word and their reviews came to."""
    states = Counter((row.state, row.source) for row in found.labelling.assignments)
    report.figures["identities"] = sum(identity.is_active for identity in found.identities)
    report.figures["identities_retired"] = sum(not identity.is_active for identity in found.identities)
    report.figures["confirmed"] = states["confirmed", "human"] + states["confirmed", "propagated"]
    report.figures["accepted"] = states["confirmed", "auto"]
    report.figures["reviews"] = acceptance.samples
    report.figures["reviews_missing"] = acceptance.more_samples_needed
    report.figures["decisions_without_face"] = found.standing.without_face
    report.figures["ties_kept_apart"] = found.labelling.kept_apart
