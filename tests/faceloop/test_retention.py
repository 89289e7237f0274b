"""By when what is held under a consent must be gone: the first of all ends."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from tests.facestore.consent_world import LONG_AGO, a_consent

from faceloop.consent.retention import due, retain_until

YEARS = {"default": 3.0, "US": 2.0, "US-IL": 1.0}
moments = st.datetimes(min_value=datetime(2021, 1, 1), max_value=datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def test_the_years_of_a_jurisdiction_fall_back_to_its_country_and_then_to_the_default() -> None:
    found = [
        retain_until(a_consent("c", jurisdiction=place, said_at=LONG_AGO), None, YEARS).year
        for place in ("US-IL", "US-TX", "DE")
    ]
    assert found == [2021, 2022, 2023]


def test_three_years_after_a_leap_day_end_on_the_28th() -> None:
    leap = datetime(2024, 2, 29, tzinfo=UTC)
    assert retain_until(a_consent("c", said_at=leap), None, YEARS) == datetime(2027, 2, 28, tzinfo=UTC)


@given(seen=st.none() | moments, expires=st.none() | moments, stated=st.none() | moments, now=moments)
def test_it_is_never_later_than_any_of_its_ends(
    seen: datetime | None, expires: datetime | None, stated: datetime | None, now: datetime
) -> None:
    consent = a_consent("c", expires_at=expires, retain_until=stated)
    until = retain_until(consent, seen, YEARS)
    assert all(until <= end for end in (expires, stated) if end is not None)
    assert until <= max(seen or LONG_AGO, consent.said_at) + timedelta(days=3 * 366)
    found = due([consent], {"c": seen} if seen else {}, YEARS, now)
    assert [one.consent_id for one in found] == (["c"] if until <= now else [])
