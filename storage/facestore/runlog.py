"""Trainings and evaluations with all that they ran with, so that two can be compared and one forked. It only grows."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import JSON, Boolean, Float, String, select
from sqlalchemy.orm import Mapped, mapped_column

from facestore.catalogue import Moment, Tables, database_now, make_append_only, open_catalogue, reading, writing
from facestore.current_rows import SERIAL, newest_first, next_seq
from facestore.ids import JsonValue


class _ModelRunRow(Tables):
    __tablename__ = "model_run"

    seq: Mapped[int] = mapped_column(SERIAL, primary_key=True, autoincrement=False)
    run_key: Mapped[str] = mapped_column(String(64), unique=True)
    stage: Mapped[str] = mapped_column(String(32), index=True)
    release: Mapped[str] = mapped_column(String(64))
    candidate: Mapped[str] = mapped_column(String(64), index=True)
    output: Mapped[str] = mapped_column(String(64))
    params: Mapped[JsonValue] = mapped_column(JSON)
    revision: Mapped[str | None] = mapped_column(String(64))
    is_dirty: Mapped[bool | None] = mapped_column(Boolean)
    lock: Mapped[str] = mapped_column(String(64))
    machine: Mapped[JsonValue] = mapped_column(JSON)
    figures: Mapped[JsonValue] = mapped_column(JSON)
    curve: Mapped[JsonValue] = mapped_column(JSON)
    forked_from: Mapped[str | None] = mapped_column(String(64))
    wall_s: Mapped[float] = mapped_column(Float)
    at: Mapped[datetime] = mapped_column(Moment())


make_append_only(_ModelRunRow, "run_key")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRun:
    """One published run of `train` or `evaluate`.

    `release`, `candidate`, `output`: content digests (`candidate` and `output` of a training are the same). `params`:
    every section but places. `lock`: sha256 of the requirements lock, or `unknown`. `curve`: points of a training.
    """

    run_key: str
    stage: str
    release: str
    candidate: str
    output: str
    params: JsonValue
    revision: str | None
    is_dirty: bool | None  # whether the checkout had changes that no commit holds; None where no checkout says
    lock: str
    machine: JsonValue
    figures: JsonValue
    curve: JsonValue
    forked_from: str | None  # run_key
    wall_s: float


class RunLog:
    """The runs of one catalogue. Every method raises StoreError when the database cannot be used."""

    def __init__(self, url: str) -> None:
        self._engine = open_catalogue(url, "runs")

    def record(self, run: ModelRun) -> None:
        """Remember a run; one whose key is known stays as it is."""
        with writing(self._engine, f"record what {run.stage} ran with") as session:
            if session.scalars(select(_ModelRunRow).where(_ModelRunRow.run_key == run.run_key)).first() is None:
                values = {name: getattr(run, name) for name in ModelRun.__slots__}
                session.add(_ModelRunRow(**values, seq=next_seq(session, _ModelRunRow), at=database_now(session)))

    def all(self, stage: str) -> list[tuple[ModelRun, datetime]]:
        """Every run of a stage and when it was recorded, newest first."""
        rows = newest_first(_ModelRunRow).where(_ModelRunRow.stage == stage)
        with reading(self._engine, "read the runs") as session:
            return [
                (ModelRun(**{name: getattr(row, name) for name in ModelRun.__slots__}), row.at)
                for row in session.scalars(rows)
            ]

    def close(self) -> None:
        self._engine.dispose()
