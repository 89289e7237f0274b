"""Regions of Label Studio's result format, both ways. Strict: what the config cannot have made is an error."""

from collections.abc import Mapping, Sequence

from facestore.errors import DataError
from facestore.ids import JsonValue


def region(
    region_id: str,
    name: str,
    to_name: str,
    kind: str,
    value: Mapping[str, JsonValue],
    sizes: Mapping[str, JsonValue],
) -> dict[str, JsonValue]:
    """A region that is drawn beforehand. An annotation keeps its id, so that it is known again when it comes back."""
    return {"id": region_id, "from_name": name, "to_name": to_name, "type": kind, "value": dict(value), **sizes}


def read_regions(result: Sequence[JsonValue], name: str, to_name: str, kind: str) -> dict[str, Mapping[str, JsonValue]]:
    """The regions of one control by their ids. Raises DataError for entries of another, and an id that is not there or
    comes twice.
    """
    found: dict[str, Mapping[str, JsonValue]] = {}
    for entry in result:
        if not isinstance(entry, dict):
            raise DataError(f"a region is {entry!r}; somebody wrote the answer by hand, answer again")
        said = entry.get("from_name"), entry.get("to_name"), entry.get("type")
        if said != (name, to_name, kind):
            raise DataError(f"a region is of {said}; the screen makes {(name, to_name, kind)}: restore its config")
        region_id = entry.get("id")
        if not isinstance(region_id, str) or not region_id or region_id in found:
            raise DataError(f"the id {region_id!r} of a region is missing or comes twice; answer again")
        found[region_id] = entry
    return found
