"""Retention: by when what is held under a consent must be gone, whichever comes first.

That is when its purpose ends, or so many years after the last interaction as its jurisdiction allows; BIPA 14/15 says
three.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from facestore.consenting import ConsentEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A consent under which nothing may be held any more."""

    consent_id: str
    subject_ref: str
    retain_until: datetime
    is_given: bool  # it still allows something: the sweep takes it back


def retain_until(
    consent: ConsentEvent, last_seen: datetime | None, years_by_jurisdiction: Mapping[str, float]
) -> datetime:
    """UTC. `last_seen`: when the newest footage under it was taken; with none, its giving is the last interaction.

    What was taken back is due at once. A jurisdiction such as US-IL falls back to its country, then to `default`.
    """
    if consent.kind == "withdrawn":
        return consent.said_at
    place = consent.jurisdiction or ""
    years = next(
        years_by_jurisdiction[name]
        for name in (place, place.partition("-")[0], "default")
        if name in years_by_jurisdiction
    )
    last = max(consent.said_at, last_seen) if last_seen is not None else consent.said_at
    ends = [end for end in (consent.expires_at, consent.retain_until) if end is not None]
    return min([_years_later(last, years), *ends])


def due(
    consents: Iterable[ConsentEvent],
    last_seen: Mapping[str, datetime],
    years_by_jurisdiction: Mapping[str, float],
    now: datetime,
) -> list[Due]:
    """Those whose time has come, by id."""
    found = []
    for consent in consents:
        until = retain_until(consent, last_seen.get(consent.consent_id), years_by_jurisdiction)
        if until <= now:
            found.append(
                Due(
                    consent_id=consent.consent_id,
                    subject_ref=consent.subject_ref,
                    retain_until=until,
                    is_given=consent.kind == "given",
                )
            )
    return sorted(found, key=lambda one: one.consent_id)


def _years_later(moment: datetime, years: float) -> datetime:
    """Whole years by the calendar (29 February: the 28th), the rest in days."""
    whole = int(years)
    try:
        later = moment.replace(year=moment.year + whole)
    except ValueError:
        later = moment.replace(year=moment.year + whole, day=28)
    return later + (years - whole) * (later.replace(year=later.year + 1, day=min(later.day, 28)) - later)
