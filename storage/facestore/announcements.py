"""Announcements: which run last said that something changed, and to what. Airflow's assets only carry the news."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Integer, String, Text, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from facestore.catalogue import Moment, Tables, database_now, open_catalogue, reading, writing


class _AnnouncementRow(Tables):
    __tablename__ = "announcement"

    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    what: Mapped[str] = mapped_column(String(32), index=True)
    digest: Mapped[str] = mapped_column(String(64))
    run_id: Mapped[str] = mapped_column(Text)
    announced_at: Mapped[datetime] = mapped_column(Moment())


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """`run_id` said at this time, by the database's clock, that the content of `what` has become `digest`."""

    what: str
    digest: str
    run_id: str
    announced_at: datetime


class Announcements:
    """The announcements of one catalogue. Every method raises StoreError when the database cannot be used."""

    def __init__(self, url: str) -> None:
        self._engine = open_catalogue(url, "announcements")

    def announce(self, what: str, digest: str, *, run_id: str) -> bool:
        """Whether run `run_id` has to tell the others: the content differs from what was announced last.

        It is recorded first. The run that announced a content last hears True again, so that a task which was killed
        after recording tells them when it is tried again; every other run hears False.
        """
        with writing(self._engine, f"announce {what}") as session:
            last = _last(session, what)
            if last is not None and last.digest == digest:
                return last.run_id == run_id
            now = database_now(session)
            session.add(_AnnouncementRow(what=what, digest=digest, run_id=run_id, announced_at=now))
            return True

    def last(self, what: str) -> Announcement | None:
        with reading(self._engine, "read the announcements") as session:
            row = _last(session, what)
            if row is None:
                return None
            return Announcement(**{name: getattr(row, name) for name in Announcement.__slots__})

    def close(self) -> None:
        self._engine.dispose()


def _last(session: Session, what: str) -> _AnnouncementRow | None:
    newest = select(_AnnouncementRow).where(_AnnouncementRow.what == what).order_by(_AnnouncementRow.seq.desc())
    return session.scalars(newest.limit(1)).first()
