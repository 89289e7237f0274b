"""Which parts of a deployment run, as its supervisor last wrote it down."""

import json
from dataclasses import asdict, dataclass

from faceloop.operate.place import Place, write_private
from faceloop.operate.processes import Process
from facestore.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class PartState:
    """A part, and how it fares. `process` is None while it waits to be started again."""

    name: str
    process: Process | None
    up_since: str  # UTC, ISO 8601
    restarts: int  # since the supervisor began
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A supervisor and its parts."""

    supervisor: Process
    parts: tuple[PartState, ...]


def write_standing(place: Place, standing: Standing) -> None:
    write_private(place.standing, json.dumps(asdict(standing), indent=1))


def read_standing(place: Place) -> Standing | None:
    """None where no supervisor ever ran, or the last one ended in order. Raises DataError for a damaged file."""
    if not place.standing.is_file():
        return None
    try:
        body = json.loads(place.standing.read_text(encoding="utf-8"))
        parts = tuple(
            PartState(**{**one, "process": Process(**one["process"]) if one["process"] else None})
            for one in body["parts"]
        )
        return Standing(supervisor=Process(**body["supervisor"]), parts=parts)
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{place.standing} is damaged ({error}); `faceloop operate down` ends what runs") from error
