"""What identify said the last time: ids that exist, the labels that ids are matched by, and the events it knew."""

from dataclasses import dataclass, fields
from pathlib import Path

from facestore.decisions import IdentityEvent
from facestore.records import Assignment, Identity
from facestore.tables import read_columns, read_older, read_table, table_files

_NEW_COLUMNS = {"confirmed_faces", "name"}  # of identities, since the second layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """A published `assignments` artifact, or nothing before the first."""

    identities: dict[str, Identity]
    identity_of: dict[str, str]  # face → identity
    former: dict[str, str]  # face → the identity that it was in before that one
    events_seen: frozenset[str]


def read_earlier(assignments: Path | None) -> Earlier:
    """Raises DataError when the tables are not what they should be."""
    if assignments is None:
        return Earlier(identities={}, identity_of={}, former={}, events_seen=frozenset())
    if not table_files(assignments, "events"):
        return _first_layout(assignments)
    labels = read_columns(assignments, "assignments", Assignment, ("face_id", "identity_id"))
    names = zip(labels["face_id"].to_pylist(), labels["identity_id"].to_pylist(), strict=True)
    seen = read_columns(assignments, "events", IdentityEvent, ("event_id",))
    return Earlier(
        identities={row.identity_id: row for row in read_table(assignments, "identities", Identity)},
        identity_of={face: name for face, name in names if name is not None},
        former={row.face_id: str(row.identity_id) for row in read_table(assignments, "former", Assignment)},
        events_seen=frozenset(seen["event_id"].to_pylist()),
    )


def _first_layout(assignments: Path) -> Earlier:
    """What identify wrote before it knew decisions: ids must outlive an upgrade too."""
    known = [field.name for field in fields(Identity) if field.name not in _NEW_COLUMNS]
    rows = read_older(assignments, "identities", known).to_pylist()
    labels = read_older(assignments, "assignments", ("face_id", "identity_id"))
    names = zip(labels["face_id"].to_pylist(), labels["identity_id"].to_pylist(), strict=True)
    return Earlier(
        identities={row["identity_id"]: Identity(**row, confirmed_faces=0, name=None) for row in rows},
        identity_of={face: name for face, name in names if name is not None},
        former={},
        events_seen=frozenset(),
    )
