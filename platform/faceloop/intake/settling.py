"""Waiting until a source is quiet: a file that is still being copied must not be taken for what it will be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from facestore.sources import Location


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds that a source must stay as it is, and at most are waited for that; and how time passes here."""

    quiet_s: float
    at_most_s: float
    sleep: Callable[[float], None]
    clock: Callable[[], float]  # seconds that only grow


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Locations that stayed as they were, and how many others are still arriving."""

    locations: Sequence[Location]
    arriving: int


def settle(first: Sequence[Location], listing: Callable[[], Sequence[Location]], pace: Pace) -> Settled:
    """List again until two listings in a row are equal, or the time is over; then what differs is still arriving.

    Listings are compared, not the clock of the machine that writes the files.
    """
    if pace.quiet_s <= 0:
        return Settled(locations=first, arriving=0)
    until = pace.clock() + pace.at_most_s
    before = first
    while True:
        pace.sleep(pace.quiet_s)
        now = listing()
        if now == before or pace.clock() >= until:
            seen = set(before)
            quiet = [location for location in now if location in seen]
            return Settled(locations=quiet, arriving=len(now) - len(quiet))
        before = now
