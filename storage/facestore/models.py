"""Models of our own: what was registered, which one is promoted, who said so and why. All three only grow.

A model is named by the content digest of its pack. A roll-back is a row too: the promoted model is the newest that was
not taken back.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import JSON, String, Text, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from facestore.catalogue import Moment, Tables, database_now, make_append_only, open_catalogue, reading, writing
from facestore.current_rows import SERIAL, Turn, newest_first, next_seq, standing
from facestore.errors import StageError
from facestore.ids import ID_HEX, JsonValue, digest_of

MODELS_FOLDER = "models"  # of the root; each model in a folder named by its digest


class _ModelRow(Tables):
    __tablename__ = "model"

    seq: Mapped[int] = mapped_column(SERIAL, primary_key=True, autoincrement=False)
    model_id: Mapped[str] = mapped_column(String(64), unique=True)
    release: Mapped[str] = mapped_column(String(64), index=True)
    contract_id: Mapped[str] = mapped_column(String(64))
    folder: Mapped[str] = mapped_column(String(300))
    revision: Mapped[str | None] = mapped_column(String(64))
    params: Mapped[JsonValue] = mapped_column(JSON)
    registered_at: Mapped[datetime] = mapped_column(Moment())


class _ModelTurnRow(Tables):
    __tablename__ = "model_turn"

    seq: Mapped[int] = mapped_column(SERIAL, primary_key=True, autoincrement=False)
    turn_id: Mapped[str] = mapped_column(String(ID_HEX), unique=True)
    turn: Mapped[str] = mapped_column(String(16))
    model_id: Mapped[str] = mapped_column(String(64), index=True)
    taken_back: Mapped[str | None] = mapped_column(String(ID_HEX))  # turn_id that a roll-back takes back
    by: Mapped[str] = mapped_column(String(200))
    why: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(Moment())
    evaluation: Mapped[str] = mapped_column(String(64))
    figures: Mapped[JsonValue] = mapped_column(JSON)


make_append_only(_ModelRow, "model_id")
make_append_only(_ModelTurnRow, "turn_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A registered model. `folder`: of its pack, below the root; `params`: of the training, as they were."""

    model_id: str
    release: str
    contract_id: str
    folder: str
    revision: str | None
    params: JsonValue


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTurn:
    """A model was promoted, or taken back. `evaluation`: the digest of what it was judged by."""

    turn_id: str
    turn: Turn
    model_id: str
    taken_back: str | None
    by: str
    why: str | None
    at: datetime
    evaluation: str
    figures: JsonValue


class Models:
    """The models of one catalogue. Every method raises StoreError when the database cannot be used."""

    def __init__(self, url: str) -> None:
        self._engine = open_catalogue(url, "models")

    def register(self, model: Model) -> None:
        """Remember a model; the same one again is nothing new."""
        with writing(self._engine, f"register model {model.model_id[:12]}") as session:
            if _row(session, model.model_id) is None:
                values = {name: getattr(model, name) for name in Model.__slots__}
                session.add(_ModelRow(**values, seq=next_seq(session, _ModelRow), registered_at=database_now(session)))

    def find(self, model_id: str) -> Model:
        """Raises StageError for one that was never registered."""
        with reading(self._engine, "read a model") as session:
            row = _row(session, model_id)
            if row is None:
                raise StageError(f"model {model_id[:12]} was never registered; `faceloop models register` does it")
            return _model(row)

    def all(self) -> list[tuple[Model, datetime]]:
        """Every model and when it was registered, newest first."""
        with reading(self._engine, "read the models") as session:
            return [(_model(row), row.registered_at) for row in session.scalars(newest_first(_ModelRow))]

    def promote(self, model_id: str, *, by: str, evaluation: str, figures: JsonValue) -> ModelTurn:
        """Make a registered model the one that is used; where it is already, nothing is written."""
        with writing(self._engine, f"promote model {model_id[:12]}") as session:
            if _row(session, model_id) is None:
                raise StageError(f"model {model_id[:12]} was never registered; `faceloop models register` does it")
            current = _current(session)
            if current is not None and current.model_id == model_id:
                return _turn(current)
            return _added(
                session,
                model_id,
                turn="promoted",
                taken_back=None,
                by=by,
                why=None,
                evaluation=evaluation,
                figures=figures,
            )

    def roll_back(self, *, by: str, why: str, model_id: str | None) -> ModelTurn:
        """Take the promoted model back: the one before is used again, or none of ours.

        `model_id` names the one that is meant: a second call of the same roll-back then finds it done. Raises
        StageError where there is nothing to take back, or another model is promoted.
        """
        with writing(self._engine, "roll a model back") as session:
            newest = session.scalars(newest_first(_ModelTurnRow)).first()
            if newest is not None and newest.turn == "rolled_back" and newest.model_id == model_id:
                return _turn(newest)
            current = _current(session)
            if current is None:
                raise StageError("no model of ours is promoted; there is nothing to roll back")
            if model_id is not None and current.model_id != model_id:
                raise StageError(f"model {model_id[:12]} is not the promoted one, {current.model_id[:12]} is")
            return _added(
                session,
                current.model_id,
                turn="rolled_back",
                taken_back=current.turn_id,
                by=by,
                why=why,
                evaluation=current.evaluation,
                figures=current.figures,
            )

    def current(self) -> ModelTurn | None:
        """The newest promotion that was not rolled back; None: the pack of the params alone is used."""
        with reading(self._engine, "read the promoted model") as session:
            found = _current(session)
            return _turn(found) if found is not None else None

    def turns(self) -> list[ModelTurn]:
        """Every promotion and roll-back, newest first."""
        with reading(self._engine, "read the promoted models") as session:
            return [_turn(row) for row in session.scalars(newest_first(_ModelTurnRow))]

    def close(self) -> None:
        self._engine.dispose()


def _row(session: Session, model_id: str) -> _ModelRow | None:
    return session.scalars(select(_ModelRow).where(_ModelRow.model_id == model_id)).first()


def _current(session: Session) -> _ModelTurnRow | None:
    return standing(session, _ModelTurnRow, "turn_id")


def _added(
    session: Session,
    model_id: str,
    *,
    turn: Turn,
    taken_back: str | None,
    by: str,
    why: str | None,
    evaluation: str,
    figures: JsonValue,
) -> ModelTurn:
    seq = next_seq(session, _ModelTurnRow)
    row = _ModelTurnRow(
        seq=seq,
        turn_id=digest_of([turn, seq, model_id])[:ID_HEX],
        turn=turn,
        model_id=model_id,
        taken_back=taken_back,
        by=by,
        why=why,
        at=database_now(session),
        evaluation=evaluation,
        figures=figures,
    )
    session.add(row)
    session.flush()
    return _turn(row)


def _model(row: _ModelRow) -> Model:
    return Model(**{name: getattr(row, name) for name in Model.__slots__})


def _turn(row: _ModelTurnRow) -> ModelTurn:
    return ModelTurn(**{name: getattr(row, name) for name in ModelTurn.__slots__})
