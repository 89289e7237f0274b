"""Contact sheets: which pictures of an identity to show, and which unknown faces."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from faceloop.reports.material import Material, Shot


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetLimits:
    identities: int  # contact sheets on the page; further identities are counted
    shots_per_identity: int
    least_sure_per_identity: int  # of these, places kept for the least sure ones
    unknown: int  # unknown faces on the page
    low_confidence: float  # below: marked


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One identity. `shown` is best quality first, the least sure ones at the end."""

    identity_id: str
    faces: int  # accepted faces, with a crop or without
    shots: int
    tracklets: int
    footage: int
    subsets: tuple[str, ...]
    low_confidence_shots: int
    mean_confidence: float  # over shots
    first: Shot
    last: Shot
    shown: tuple[Shot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    sheets: tuple[Sheet, ...]  # most faces first
    identities: int  # all of them
    unknown_shown: tuple[Shot, ...]  # one a tracklet, best quality first
    unknown_tracklets: int


def gather_people(material: Material, limits: SheetLimits) -> People:
    """Contact sheets of a root, most faces first. `material.shots` must be in the order of their footage and time."""
    of_identity: dict[str, list[Shot]] = defaultdict(list)
    unknown: dict[str, Shot] = {}
    known_tracklets = {shot.tracklet_id for shot in material.shots if shot.identity_id is not None}
    for shot in material.shots:
        if shot.identity_id is not None:
            of_identity[shot.identity_id].append(shot)
        elif shot.tracklet_id not in known_tracklets:
            best = unknown.get(shot.tracklet_id)
            unknown[shot.tracklet_id] = shot if best is None else min(best, shot, key=_by_quality)
    captured = {
        record.footage_id: (record.captured_at is None, record.captured_at.timestamp() if record.captured_at else 0.0)
        for record in material.footage
    }
    order = sorted(of_identity, key=lambda name: (-material.faces_of_identity.get(name, 0), name))
    return People(
        sheets=tuple(
            _sheet(name, of_identity[name], material.faces_of_identity.get(name, 0), captured, limits)
            for name in order[: limits.identities]
        ),
        identities=len(of_identity),
        unknown_shown=tuple(sorted(unknown.values(), key=_by_quality)[: limits.unknown]),
        unknown_tracklets=len(unknown),
    )


def _by_quality(shot: Shot) -> tuple[float, str]:
    return -shot.quality, shot.face_id


def _sheet(
    name: str, shots: Sequence[Shot], faces: int, captured: Mapping[str, tuple[bool, float]], limits: SheetLimits
) -> Sheet:
    # Python's sort is stable: shots of one capture time, or of none, stay in the order of footage and time.
    in_time = sorted(shots, key=lambda shot: captured.get(shot.footage_id, (True, 0.0)))
    return Sheet(
        identity_id=name,
        faces=faces,
        shots=len(shots),
        tracklets=len({shot.tracklet_id for shot in shots}),
        footage=len({shot.footage_id for shot in shots}),
        subsets=tuple(sorted({shot.subset for shot in shots})),
        low_confidence_shots=sum(shot.confidence < limits.low_confidence for shot in shots),
        mean_confidence=sum(shot.confidence for shot in shots) / len(shots),
        first=in_time[0],
        last=in_time[-1],
        shown=tuple(pictured(shots, limits)),
    )


def pictured(shots: Sequence[Shot], limits: SheetLimits) -> list[Shot]:
    """The best shots, and at the end the least sure of the others: a sheet must not hide its own mistakes."""
    best = sorted(shots, key=_by_quality)
    if len(best) <= limits.shots_per_identity:
        return best
    head = best[: limits.shots_per_identity - limits.least_sure_per_identity]
    rest = best[len(head) :]
    tail = sorted(rest, key=lambda shot: (shot.confidence, shot.face_id))[: limits.least_sure_per_identity]
    return head + sorted(tail, key=_by_quality)
