"""Rows for every table of a catalogue, drawn from a seed: odd texts, JSON of every kind, times to the microsecond."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import JSON, Boolean, Column, DateTime, Engine, Float, Integer, LargeBinary, String, insert

from facestore.catalogue import Moment, Tables, writing
from facestore.schema import load_tables

_TEXTS = ("", "é vs é", "Zoë · 小 · 🙂", 'it\'s "quoted" \\ %s :x', "a\nb\tc", "null", "0", " ")
_JSONS: tuple[Any, ...] = (None, True, 0, 1.5, 1e-300, "text", [], {}, {"b": [1, None, "é"], "a": {"deep": [0.1]}})


def fill(engine: Engine, rows: int, seed: int) -> int:
    """Write `rows` rows into every table that exists for all modules; returns how many in all."""
    load_tables()
    rng = random.Random(seed)
    written = 0
    with writing(engine, "fill") as session:
        for table in Tables.metadata.sorted_tables:
            made = [{at.name: _value(at, number, rng) for at in table.columns} for number in range(1, rows + 1)]
            if made:
                session.execute(insert(table), made)
            written += rows
    return written


def _value(at: Column[Any], number: int, rng: random.Random) -> Any:
    is_key = at.primary_key or at.unique or bool(at.foreign_keys) or at.name in ("task_id", "unique_id", "version")
    if at.nullable and not is_key and rng.random() < 0.3:
        return None
    match at.type:
        case Moment() | DateTime():
            return datetime(2026, 3, 8, tzinfo=UTC) + timedelta(microseconds=rng.randrange(10**12))
        case Boolean():
            return rng.random() < 0.5
        case Integer():
            return number if is_key else rng.randrange(2**31)
        case Float():
            return rng.choice((0.0, -0.0, 0.1, 1e-300, rng.random()))
        case JSON():
            return rng.choice(_JSONS)
        case LargeBinary():
            return rng.randbytes(16)
        case String():
            return f"{number:08d}"[: at.type.length] if is_key else rng.choice(_TEXTS)[: at.type.length]
        case other:
            raise TypeError(f"{at}: say how to fill a column of type {other!r}")
