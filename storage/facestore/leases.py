"""Leases: who may do a piece of work now, until when, under which fencing token.

Airflow may run a task twice at once, and a process that was stopped may wake up after another took its work over. So
the right to publish is a row in our own database: it runs out by the database's clock, and each taking gives a higher
token. Whoever publishes does so inside `Leases.fenced`, where the token is proved and nobody can take the lease
(Kleppmann, "How to do distributed locking", 2016).
"""

import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Integer, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from facestore.catalogue import Moment, Tables, database_now, open_catalogue, reading, writing
from facestore.errors import LeaseHeld, LeaseLost

Fence = AbstractContextManager[Session]  # entered: a turn to write, in which a lease is proved


class _LeaseRow(Tables):
    __tablename__ = "lease"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    token: Mapped[int] = mapped_column(Integer)  # grows by one at every taking, never back
    holder: Mapped[str | None] = mapped_column(String(200))  # None: free
    expires_at: Mapped[datetime] = mapped_column(Moment())
    losses: Mapped[int] = mapped_column(Integer)  # times that it was taken from a holder who had not given it back


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A right to do `name`, good while its row still has this token."""

    name: str
    token: int
    holder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseState:
    """How a lease stands, for people and metrics."""

    name: str
    token: int
    holder: str | None
    expires_at: datetime
    losses: int


class Leases:
    """The leases of one catalogue. Every method raises StoreError when the database cannot be used.

    Names form a tree by `/`: `detect` is free only while none of `detect/…` is held, and the other way round.
    `held` in heartbeat.py keeps one alive while work lasts.
    """

    def __init__(self, url: str, holder: str | None = None) -> None:
        self._engine = open_catalogue(url, "leases")
        self._holder = holder or this_process()

    def take(self, name: str, seconds: float) -> Lease:
        """Take a lease that is free, has run out, or whose holder is a process of this machine that has ended.

        Raises LeaseHeld, which says who holds it and until when.
        """
        with writing(self._engine, f"take the lease of {name}") as session:
            now = database_now(session)
            for row in session.scalars(select(_LeaseRow).where(_LeaseRow.holder.is_not(None))):
                if not are_related(row.name, name):
                    continue
                if row.expires_at > now and not has_ended(row.holder or ""):
                    raise LeaseHeld(
                        f"{row.name} is already running (by {row.holder}); wait for it to end, or until "
                        f"{row.expires_at:%H:%M:%S} UTC if it is dead"
                    )
                row.holder, row.losses = None, row.losses + 1
            mine = session.get(_LeaseRow, name)
            if mine is None:
                mine = _LeaseRow(name=name, token=0, holder=None, expires_at=now, losses=0)
                session.add(mine)
            mine.token += 1
            mine.holder = self._holder
            mine.expires_at = now + timedelta(seconds=seconds)
            return Lease(name=name, token=mine.token, holder=self._holder)

    def renew(self, lease: Lease, seconds: float) -> None:
        """Hold it for so long from now. Raises LeaseLost when another took it."""
        with writing(self._engine, f"renew the lease of {lease.name}") as session:
            row = _proved(session, lease)
            row.expires_at = database_now(session) + timedelta(seconds=seconds)

    def give_back(self, lease: Lease) -> None:
        """Free it at once; does nothing when it is lost already."""
        with writing(self._engine, f"give back the lease of {lease.name}") as session:
            row = session.get(_LeaseRow, lease.name)
            if row is not None and row.token == lease.token:
                row.holder = None

    @contextmanager
    def fenced(self, lease: Lease, *others: Lease) -> Iterator[Session]:
        """A turn to write, in which leases are proved ours and stay ours: publish in here, and keep it short.

        Proof is the token alone: a lease that ran out and that nobody took is still ours. Raises LeaseLost.

        A process that is stopped in here keeps its turn, so nobody can take the lease, nor write anything else, until
        it goes on or is killed. Only a PostgreSQL server that ends the session takes the turn away unnoticed: renames
        could then come late, which `publish.put_in_place` guards against.
        """
        with writing(self._engine, f"publish {lease.name}") as session:
            for each in (lease, *others):
                _proved(session, each)
            yield session

    def states(self) -> list[LeaseState]:
        """Every lease there ever was, by name."""
        with reading(self._engine, "read the leases") as session:
            return [
                LeaseState(**{field: getattr(row, field) for field in LeaseState.__slots__})
                for row in session.scalars(select(_LeaseRow).order_by(_LeaseRow.name))
            ]

    def close(self) -> None:
        self._engine.dispose()


def _proved(session: Session, lease: Lease) -> _LeaseRow:
    row = session.get(_LeaseRow, lease.name)
    if row is None or row.token != lease.token or row.holder != lease.holder:
        raise LeaseLost(
            f"{lease.name}: another run took over (token {row.token if row else 0}, ours {lease.token}) while this one "
            "showed no sign of life; nothing of this run was published"
        )
    return row


def are_related(one: str, other: str) -> bool:
    """Whether holding one excludes holding the other: equal, or one above the other in the tree of names."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def this_process() -> str:
    """Names this process so that another on the same machine can tell whether it still lives."""
    pid = os.getpid()
    return f"{_machine()}:{pid}:{_started(pid)}"


def has_ended(holder: str) -> bool:
    """Whether a holder was a process of this machine (and its process namespace) that is gone. False when unsure."""
    machine, pid, started = ["", "", *holder.rsplit(":", 2)][-3:]
    if machine != _machine() or not pid.isdigit():
        return False
    now = _started(int(pid))
    return now != started if now else _is_gone(int(pid))


def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    namespace = Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    return f"{socket.gethostname()}:{boot}:{namespace}"


def _started(pid: int) -> str:
    """Start of a process in clock ticks since boot; empty when there is none to be seen. A zombie has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "ended" if fields[0] in "ZX" else fields[19]


def _is_gone(pid: int) -> bool:
    """Not seen is not gone: a machine may hide the processes of other users."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
