"""What is said of consents, as values: given, with all that proves it, and taken back. No name stands in them.

The fields are those that GDPR Art. 7 and BIPA 14/15 ask a controller to be able to show; a subject is a keyed hash.
"""

import re
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Literal, get_args

from facestore.errors import DataError
from facestore.ids import ID_HEX, JsonValue, digest_of

Purpose = Literal["detect_only", "recognition", "annotation", "training", "evaluation", "publication"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
DataCategory = Literal["footage", "face_picture", "face_template", "attributes"]
DATA_CATEGORIES: tuple[DataCategory, ...] = get_args(DataCategory)
EventKind = Literal["given", "withdrawn"]
_CONSENT_ID = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_JURISDICTION = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentEvent:
    """One thing said of one consent. Build it with `given` or `withdrawn`, which check it and give the id."""

    event_id: str  # ID_HEX hex digits, of all the rest: said again it is the same event
    kind: EventKind
    consent_id: str  # what footage carries
    subject_ref: str  # keyed hash of whoever consented, 64 hex digits
    said_at: datetime  # UTC: given at, or withdrawn at
    expires_at: datetime | None  # given: from then on it allows nothing
    retain_until: datetime | None  # given: what is held under it is to be gone by then
    jurisdiction: str | None  # given: ISO 3166, such as DE or US-IL
    controller: str | None
    purposes: tuple[str, ...]  # sorted; none of a withdrawal
    data_categories: tuple[str, ...]
    notice_version: str | None
    notice_sha256: str | None  # of the text that the subject was shown
    evidence_sha256: str | None  # of the signed form, the recording, the log line
    method: str | None  # a code, such as signed_form
    guardian_ref: str | None  # who consented for a child, as subject_ref
    reason: str | None  # withdrawn: a code
    said_by: str


def given(
    *,
    consent_id: str,
    subject_ref: str,
    controller: str,
    jurisdiction: str,
    purposes: tuple[str, ...],
    data_categories: tuple[str, ...],
    notice_version: str,
    notice_sha256: str,
    evidence_sha256: str,
    method: str,
    said_at: datetime,
    said_by: str,
    expires_at: datetime | None = None,
    retain_until: datetime | None = None,
    guardian_ref: str | None = None,
) -> ConsentEvent:
    """A checked consent. Raises DataError, which names the field and what it may be."""
    draft = ConsentEvent(
        event_id="",
        kind="given",
        consent_id=consent_id,
        subject_ref=subject_ref,
        said_at=said_at,
        expires_at=expires_at,
        retain_until=retain_until,
        jurisdiction=jurisdiction,
        controller=controller,
        purposes=tuple(sorted(set(purposes))),
        data_categories=tuple(sorted(set(data_categories))),
        notice_version=notice_version,
        notice_sha256=notice_sha256,
        evidence_sha256=evidence_sha256,
        method=method,
        guardian_ref=guardian_ref,
        reason=None,
        said_by=said_by,
    )
    _check_given(draft)
    return _finished(draft)


def withdrawn(consent: ConsentEvent, *, said_at: datetime, reason: str, said_by: str) -> ConsentEvent:
    """A consent taken back: withdrawing needs less than giving. Raises DataError for a reason that is no code."""
    draft = ConsentEvent(
        event_id="",
        kind="withdrawn",
        consent_id=consent.consent_id,
        subject_ref=consent.subject_ref,
        said_at=said_at,
        expires_at=None,
        retain_until=consent.retain_until,
        jurisdiction=consent.jurisdiction,
        controller=consent.controller,
        purposes=(),
        data_categories=(),
        notice_version=None,
        notice_sha256=None,
        evidence_sha256=None,
        method=None,
        guardian_ref=None,
        reason=reason,
        said_by=said_by,
    )
    _must(_CODE.fullmatch(reason) is not None, "reason", "a code of small letters, digits and _, such as person_asked")
    _check_times(draft)
    return _finished(draft)


def consents_named(text: str | None) -> tuple[str, ...]:
    """The consents that a footage's `consent_id` names: several, of several people, stand separated by `;`."""
    return tuple(sorted({part.strip() for part in (text or "").split(";") if part.strip()}))


def check_id(event: ConsentEvent) -> None:
    """Raises DataError for an event that says something else than its id."""
    if _finished(replace(event, event_id="")).event_id != event.event_id:
        raise DataError(f"consent event {event.event_id} does not match its id; build events with `given`, `withdrawn`")


def as_row(event: ConsentEvent) -> dict[str, object]:
    """Columns and their values."""
    values = {field.name: getattr(event, field.name) for field in fields(event)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def as_json(event: ConsentEvent) -> dict[str, JsonValue]:
    """The event as JSON holds it, times in ISO 8601."""
    found: dict[str, JsonValue] = {}
    for name, value in as_row(event).items():
        found[name] = value.isoformat() if isinstance(value, datetime) else value  # type: ignore[assignment]
    return found


def _finished(draft: ConsentEvent) -> ConsentEvent:
    utc = {
        name: moment.astimezone(UTC)
        for name in ("said_at", "expires_at", "retain_until")
        if (moment := getattr(draft, name)) is not None
    }
    draft = replace(draft, **utc)
    return replace(draft, event_id=digest_of({"record": "ConsentEvent", **as_json(draft)})[:ID_HEX])


def _check_given(draft: ConsentEvent) -> None:
    _must(_CONSENT_ID.fullmatch(draft.consent_id) is not None, "consent_id", "1 to 128 letters, digits and _ . : / -")
    _must(_SHA256.fullmatch(draft.subject_ref) is not None, "subject_ref", "64 hex digits, a keyed hash")
    guardian = draft.guardian_ref
    _must(guardian is None or _SHA256.fullmatch(guardian) is not None, "guardian_ref", "64 hex digits, a keyed hash")
    _must(bool(draft.purposes) and set(draft.purposes) <= set(PURPOSES), "purposes", f"some of {', '.join(PURPOSES)}")
    categories = set(draft.data_categories)
    _must(
        bool(categories) and categories <= set(DATA_CATEGORIES),
        "data_categories",
        f"some of {', '.join(DATA_CATEGORIES)}",
    )
    for name in ("notice_sha256", "evidence_sha256"):
        _must(_SHA256.fullmatch(getattr(draft, name) or "") is not None, name, "64 hex digits")
    _must(_CODE.fullmatch(draft.method or "") is not None, "method", "a code, such as signed_form")
    _must(
        _JURISDICTION.fullmatch(draft.jurisdiction or "") is not None, "jurisdiction", "ISO 3166, such as DE or US-IL"
    )
    for name, most in (("controller", 200), ("notice_version", 64), ("said_by", 200)):
        _must(0 < len(getattr(draft, name) or "") <= most, name, f"1 to {most} characters")
    _check_times(draft)
    ends = draft.expires_at is None or draft.expires_at > draft.said_at
    _must(ends, "expires_at", "later than given_at")


def _check_times(draft: ConsentEvent) -> None:
    for name in ("said_at", "expires_at", "retain_until"):
        moment = getattr(draft, name)
        _must(moment is None or moment.tzinfo is not None, name, "a time with its zone")


def _must(holds: bool, name: str, rule: str) -> None:
    """The value is not named: it may be personal."""
    if not holds:
        raise DataError(f"{name} of a consent must be {rule}; nothing was written")
