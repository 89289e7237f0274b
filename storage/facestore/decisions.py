"""What people decided, as values. Decisions attach to faces and pairs of faces, never to clusters.

A decision is never edited: a later one overrides it, a `retract` takes it back. How they are kept is in
`decisionlog.py`; which of them stand together is for the platform to say.
"""

from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Literal, get_args

from facestore.errors import DataError
from facestore.ids import ID_HEX, JsonValue, digest_of

Verb = Literal["same", "different", "is", "not_a_face", "ignore", "attribute", "retract"]
ConflictKind = Literal["pair", "chain", "identity", "face", "geometry"]
EventKind = Literal["merge", "split", "rename", "undo"]
VERBS: tuple[Verb, ...] = get_args(Verb)
_NEEDS: dict[Verb, set[str]] = {
    "same": {"face_id", "other_face_id"},
    "different": {"face_id", "other_face_id"},
    "is": {"face_id", "identity_id"},
    "not_a_face": {"face_id"},
    "ignore": {"face_id"},
    "attribute": {"face_id", "name", "value"},
    "retract": {"retracts"},
}
_SUBJECTS = ("face_id", "other_face_id", "identity_id", "name", "value", "retracts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One thing one person said at one time. Build it with `decide`, which orders pairs and gives the id."""

    decision_id: str  # ID_HEX hex digits, of all the rest: said again it is the same decision
    verb: Verb
    face_id: str | None  # every verb but retract; of a pair the smaller one
    other_face_id: str | None  # same, different
    identity_id: str | None  # is
    name: str | None  # attribute
    value: str | None  # attribute
    retracts: str | None  # retract: the decision that is taken back
    annotator: str
    decided_at: datetime  # UTC
    question_id: str | None
    annotation_id: str | None  # in the tool that people used
    annotation_version: int | None
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """Decisions that cannot all be right, and the faces that prove it."""

    contradiction_id: str
    kind: ConflictKind
    decision_ids: tuple[str, ...]  # a minimal set: without any one of them the rest agree
    face_ids: tuple[str, ...]  # the chain of faces that proves it, ends first and last
    set_aside: tuple[str, ...]  # of decision_ids: those not applied under the policy
    policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityEvent:
    """A merge, split, new name or undo of identities. Faces that moved are listed: an undo moves exactly them back."""

    event_id: str
    kind: EventKind
    identity_id: str  # merge: who remains; split: who was split; rename: who is named
    other_identity_id: str | None  # merge: who was absorbed; split: the new identity
    face_ids: tuple[str, ...]  # that moved, sorted
    decision_ids: tuple[str, ...]  # that the event appended to the decision log
    name: str | None
    undoes: str | None
    annotator: str
    happened_at: datetime  # UTC
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A person's check of one machine label that was drawn at random: what precision claims rest on."""

    face_id: str
    identity_id: str  # the label that was checked
    confidence: float  # that the machine had given it, before the answer
    run_id: str  # the identify run whose label it was
    is_right: bool
    annotator: str
    reviewed_at: datetime  # UTC


def decide(
    verb: Verb,
    *,
    annotator: str,
    decided_at: datetime,
    face_id: str | None = None,
    other_face_id: str | None = None,
    identity_id: str | None = None,
    name: str | None = None,
    value: str | None = None,
    retracts: str | None = None,
    question_id: str | None = None,
    annotation_id: str | None = None,
    annotation_version: int | None = None,
    note: str | None = None,
) -> Decision:
    """A checked decision. Raises DataError for a missing or superfluous subject, a pair of one face, a naive time."""
    if other_face_id is not None and face_id is not None and other_face_id < face_id:
        face_id, other_face_id = other_face_id, face_id
    draft = Decision(
        decision_id="",
        verb=verb,
        face_id=face_id,
        other_face_id=other_face_id,
        identity_id=identity_id,
        name=name,
        value=value,
        retracts=retracts,
        annotator=annotator,
        decided_at=decided_at,
        question_id=question_id,
        annotation_id=annotation_id,
        annotation_version=annotation_version,
        note=note,
    )
    _check(draft)
    draft = replace(draft, decided_at=decided_at.astimezone(UTC))
    return replace(draft, decision_id=_id_of(draft))


def identity_event(
    kind: EventKind,
    *,
    identity_id: str,
    annotator: str,
    happened_at: datetime,
    other_identity_id: str | None = None,
    face_ids: tuple[str, ...] = (),
    decision_ids: tuple[str, ...] = (),
    name: str | None = None,
    undoes: str | None = None,
    note: str | None = None,
) -> IdentityEvent:
    """An event with its id. Raises DataError for a naive time."""
    if happened_at.tzinfo is None:
        raise DataError("an event's time has no time zone; give UTC")
    draft = IdentityEvent(
        event_id="",
        kind=kind,
        identity_id=identity_id,
        other_identity_id=other_identity_id,
        face_ids=tuple(sorted(face_ids)),
        decision_ids=decision_ids,
        name=name,
        undoes=undoes,
        annotator=annotator,
        happened_at=happened_at.astimezone(UTC),
        note=note,
    )
    return replace(draft, event_id=_id_of(draft))


def _id_of(record: Decision | IdentityEvent) -> str:
    spelled: dict[str, JsonValue] = {"record": type(record).__name__}
    for field in fields(record):
        value = getattr(record, field.name)
        spelled[field.name] = value.isoformat() if isinstance(value, datetime) else value
        if isinstance(value, tuple):
            spelled[field.name] = list(value)
    return digest_of(spelled)[:ID_HEX]


def _check(draft: Decision) -> None:
    if draft.verb not in VERBS:
        raise DataError(f"no such decision as {draft.verb!r}; verbs are {', '.join(VERBS)}")
    given = {field for field in _SUBJECTS if getattr(draft, field) is not None}
    if given != _NEEDS[draft.verb] or not all(getattr(draft, field) for field in given):
        raise DataError(
            f"`{draft.verb}` needs {', '.join(sorted(_NEEDS[draft.verb]))}; "
            f"found {', '.join(sorted(given)) or 'nothing'}"
        )
    if draft.face_id is not None and draft.face_id == draft.other_face_id:
        raise DataError(f"face {draft.face_id} was paired with itself; name two faces")
    if not draft.annotator:
        raise DataError("a decision needs its annotator; say who decided")
    if draft.decided_at.tzinfo is None:
        raise DataError("a decision's time has no time zone; give UTC")
