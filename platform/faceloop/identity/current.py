"""Labels as they are at this moment: the published ones, with the events that came after them.

An edit shows at once, although no stage has run; the next run of `identify` takes it in through the decisions artifact.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from faceloop.identity.earlier import Earlier, read_earlier
from faceloop.identity.edits import Known, LabelledFace
from faceloop.identity.naming import minted
from faceloop.identity.replay import ReplayedLabels, replay
from faceloop.identity.resolve import aliases_of
from facestore.decisions import Decision, IdentityEvent
from facestore.errors import DataError
from facestore.records import Assignment, Face
from facestore.tables import read_columns, read_table

_FEWEST_HEX = 6  # of a prefix that stands for an id


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One face of an identity, for people to look at."""

    face: LabelledFace
    label: Assignment  # as published; an event since then may have moved the face


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """Identities and labels now."""

    labels: dict[str, Assignment]  # as published, by face
    facts: dict[str, tuple[str, str, int, float]]  # face → tracklet, footage, ms, quality
    earlier: Earlier
    replayed: ReplayedLabels
    events: Sequence[IdentityEvent]

    def faces(self) -> Iterator[LabelledFace]:
        """Every labelled face, by id."""
        for face in sorted(self.labels):
            tracklet, footage, pts_ms, quality = self.facts[face]
            yield LabelledFace(
                face_id=face,
                identity_id=self.replayed.identity_of.get(face),
                tracklet_id=tracklet,
                moment=(footage, pts_ms),
                quality=quality,
            )

    def known(self, effective: Sequence[Decision]) -> Known:
        """What edits are planned on."""
        return Known(
            faces=tuple(self.faces()),
            effective=effective,
            aliases=aliases_of(self.events),
            former=self.earlier.former,
            taken=self.ids(),
        )

    def members(self, identity: str) -> list[Member]:
        """Its faces, best first; none for a retired identity."""
        found = [face for face in self.faces() if face.identity_id == identity]
        found.sort(key=lambda face: (-face.quality, face.face_id))
        return [Member(face=face, label=self.labels[face.face_id]) for face in found]

    def ids(self) -> set[str]:
        """Every identity ever minted."""
        return minted(self.earlier, self.events)

    def successor(self, identity: str) -> str | None:
        """Who took over the faces of a retired identity."""
        known = self.earlier.identities.get(identity)
        return self.replayed.successor_of.get(identity, known.successor if known else None)

    def identity(self, prefix: str) -> str:
        """The identity of this id, of a unique beginning of it, or of this name. Raises DataError for none or many."""
        ids = self.ids()
        named = [name for name in ids if self.replayed.names.get(name) == prefix]
        beginning = prefix if prefix.startswith("person-") else f"person-{prefix}"
        return _only("identity", prefix, [prefix] if prefix in ids else named or _starting(ids, beginning, prefix))

    def event(self, prefix: str) -> str:
        """The event of this id or of a unique beginning of it. Raises DataError for none or many."""
        ids = [event.event_id for event in self.events]
        return _only("event", prefix, [prefix] if prefix in ids else _starting(ids, prefix, prefix))


def read_current(*, faces: Path, assignments: Path, events: Sequence[IdentityEvent]) -> Current:
    """Raises DataError when the published tables are not what they should be."""
    earlier = read_earlier(assignments)
    labels = {row.face_id: row for row in read_table(assignments, "assignments", Assignment)}
    columns = ("face_id", "tracklet_id", "footage_id", "pts_ms", "quality")
    table = read_columns(faces, "faces", Face, columns)
    rows = zip(*(table[column].to_pylist() for column in columns), strict=True)
    facts = {face: (tracklet, footage, pts_ms, quality) for face, tracklet, footage, pts_ms, quality in rows}
    if gone := labels.keys() - facts.keys():
        raise DataError(
            f"{len(gone)} labelled faces, {min(gone)} first, are no longer among the faces of {faces}; "
            "run cluster and identify again"
        )
    return Current(
        labels=labels,
        facts=facts,
        earlier=earlier,
        replayed=replay(earlier.identity_of, events, seen=earlier.events_seen, former=earlier.former),
        events=events,
    )


def _starting(ids: Iterable[str], beginning: str, given: str) -> list[str]:
    if len(given.removeprefix("person-")) < _FEWEST_HEX:
        return []
    return sorted(name for name in ids if name.startswith(beginning))


def _only(kind: str, given: str, found: Sequence[str]) -> str:
    if len(found) != 1:
        many = f"{len(found)} have it: {', '.join(sorted(found)[:5])}" if found else "there is none"
        raise DataError(
            f"no single {kind} {given!r} ({many}); give its id, or at least {_FEWEST_HEX} of its first digits"
        )
    return found[0]
