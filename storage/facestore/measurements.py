"""Measurements: figures of the data loop over time, and the profiles that drift is measured against."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import JSON, BigInteger, Float, Integer, Select, String, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from facestore.catalogue import Moment, Tables, database_now, make_append_only, open_catalogue, reading, writing
from facestore.ids import JsonValue, canonical_json, digest_of

MeasuredBy = Literal["measure", "check"]
_SERIAL = BigInteger().with_variant(Integer, "sqlite")


class _MeasurementRow(Tables):
    """All rows of one measuring carry the same `taken`, a number that grows."""

    __tablename__ = "measurement"
    __table_args__ = ({"sqlite_autoincrement": True},)

    seq: Mapped[int] = mapped_column(_SERIAL, primary_key=True)
    measurement_id: Mapped[str] = mapped_column(String(64), unique=True)
    taken: Mapped[int] = mapped_column(_SERIAL, index=True)
    measured_by: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(64))
    labels: Mapped[JsonValue] = mapped_column(JSON)
    value: Mapped[float] = mapped_column(Float(53))
    at: Mapped[datetime] = mapped_column(Moment(), index=True)
    run_id: Mapped[str | None] = mapped_column(String(600), index=True)


class _ProfileRow(Tables):
    __tablename__ = "profile"
    __table_args__ = ({"sqlite_autoincrement": True},)

    seq: Mapped[int] = mapped_column(_SERIAL, primary_key=True)
    profile_id: Mapped[str] = mapped_column(String(64), unique=True)
    contract_id: Mapped[str] = mapped_column(String(64), index=True)
    faces: Mapped[int] = mapped_column(BigInteger)
    shape: Mapped[JsonValue] = mapped_column(JSON)


make_append_only(_MeasurementRow, "measurement_id")
make_append_only(_ProfileRow, "profile_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One figure. `labels` are (name, value), sorted; they never name a person, a path or a file."""

    name: str  # its unit ends it: _ratio, _seconds; else a number of things
    labels: tuple[tuple[str, str], ...]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """Figures that were taken together."""

    measured_by: MeasuredBy
    at: datetime  # UTC, by the database's clock
    run_id: str | None
    figures: tuple[Measurement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How the faces of one version of the embeddings are spread, in little space."""

    profile_id: str  # digest of faces and embeddings
    contract_id: str
    faces: int
    quality_shares: tuple[float, ...]  # of accepted faces, in equal bins over [0, 1]
    mean: tuple[float, ...]  # of the unit vectors, not renormalised
    distance_99: float  # cosine distance to the mean's direction within which 99 % of the vectors lie


class Measurements:
    """The measurements of one catalogue. Every method raises StoreError when the database cannot be used."""

    def __init__(self, url: str) -> None:
        self._engine = open_catalogue(url, "measurements")

    def close(self) -> None:
        self._engine.dispose()

    def record(self, measured_by: MeasuredBy, figures: Sequence[Measurement], *, run_id: str | None) -> Measuring:
        """Append figures as one measuring, all or none, under the database's time."""
        with writing(self._engine, "record measurements") as session:
            at = database_now(session)
            taken = (session.scalar(select(func.max(_MeasurementRow.taken))) or 0) + 1
            session.add_all(_row(taken, measured_by, figure, at, run_id) for figure in figures)
        return Measuring(measured_by=measured_by, at=at, run_id=run_id, figures=tuple(figures))

    def latest(self, measured_by: MeasuredBy) -> Measuring | None:
        """The newest measuring. A figure that it lacks could not be taken."""
        return self._measuring(_newest(measured_by))

    def of_run(self, measured_by: MeasuredBy, run_id: str) -> Measuring | None:
        """The newest measuring of one Dag run."""
        return self._measuring(_newest(measured_by).where(_MeasurementRow.run_id == run_id))

    def before(self, measured_by: MeasuredBy, measuring: Measuring) -> Measuring | None:
        """The newest one of another run that is older than `measuring`."""
        older = _newest(measured_by).where(_MeasurementRow.at < measuring.at)
        if measuring.run_id is not None:
            older = older.where(_MeasurementRow.run_id.is_distinct_from(measuring.run_id))
        return self._measuring(older)

    def keep(self, profile: Profile) -> None:
        """Write a profile, or leave it as it is when it is known."""
        with writing(self._engine, "keep a profile") as session:
            if _profile(session, profile.profile_id) is None:
                shape = {name: list(getattr(profile, name)) for name in ("quality_shares", "mean")}
                session.add(
                    _ProfileRow(
                        profile_id=profile.profile_id,
                        contract_id=profile.contract_id,
                        faces=profile.faces,
                        shape={**shape, "distance_99": profile.distance_99},
                    )
                )

    def profile(self, profile_id: str) -> Profile | None:
        with reading(self._engine, "read a profile") as session:
            return _profile(session, profile_id)

    def first_profile(self, contract_id: str) -> Profile | None:
        """The oldest one with faces under an embedding contract."""
        oldest = select(_ProfileRow).where(_ProfileRow.contract_id == contract_id, _ProfileRow.faces > 0)
        with reading(self._engine, "read a profile") as session:
            row = session.scalars(oldest.order_by(_ProfileRow.seq).limit(1)).first()
            return None if row is None else _as_profile(row)

    def _measuring(self, newest: Select[Any]) -> Measuring | None:
        rows = select(_MeasurementRow).where(_MeasurementRow.taken == newest.scalar_subquery())
        with reading(self._engine, "read the measurements") as session:
            found = list(session.scalars(rows.order_by(_MeasurementRow.seq)))
        if not found:
            return None
        return Measuring(
            measured_by="check" if found[0].measured_by == "check" else "measure",
            at=found[0].at,
            run_id=found[0].run_id,
            figures=tuple(_figure(row) for row in found),
        )


def _newest(measured_by: MeasuredBy) -> Select[Any]:
    return select(func.max(_MeasurementRow.taken)).where(_MeasurementRow.measured_by == measured_by)


def _row(taken: int, measured_by: MeasuredBy, figure: Measurement, at: datetime, run_id: str | None) -> _MeasurementRow:
    labels: JsonValue = dict(figure.labels)
    return _MeasurementRow(
        measurement_id=digest_of([taken, figure.name, canonical_json(labels)]),
        taken=taken,
        measured_by=measured_by,
        name=figure.name,
        labels=labels,
        value=figure.value,
        at=at,
        run_id=run_id,
    )


def _figure(row: _MeasurementRow) -> Measurement:
    labels = row.labels if isinstance(row.labels, dict) else {}
    return Measurement(name=row.name, labels=tuple(sorted((k, str(v)) for k, v in labels.items())), value=row.value)


def _profile(session: Session, profile_id: str) -> Profile | None:
    row = session.scalars(select(_ProfileRow).where(_ProfileRow.profile_id == profile_id)).first()
    return None if row is None else _as_profile(row)


def _as_profile(row: _ProfileRow) -> Profile:
    shape: Any = row.shape
    return Profile(
        profile_id=row.profile_id,
        contract_id=row.contract_id,
        faces=row.faces,
        quality_shares=tuple(shape["quality_shares"]),
        mean=tuple(shape["mean"]),
        distance_99=shape["distance_99"],
    )
