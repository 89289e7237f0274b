"""Choices of Label Studio's result format, both ways. Strict: what the config cannot have made is an error."""

from collections.abc import Mapping, Sequence, Set

from facestore.errors import DataError
from facestore.ids import JsonValue


def chosen(name: str, to_name: str, values: Sequence[str]) -> dict[str, JsonValue]:
    """One group of choices with the given ones ticked, as an entry of a result."""
    return {
        "id": name,
        "from_name": name,
        "to_name": to_name,
        "type": "choices",
        "value": {"choices": list(values)},
    }


def read_choices(result: Sequence[JsonValue], allowed: Mapping[str, Set[str]]) -> dict[str, tuple[str, ...]]:
    """What is ticked in each group that the result names, in its order. `allowed`: choices by group.

    Raises DataError for another control, a group that comes twice, a choice that the group does not have, or one that
    is ticked twice.
    """
    found: dict[str, tuple[str, ...]] = {}
    for entry in result:
        name = entry.get("from_name") if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or not isinstance(name, str) or name not in allowed:
            raise DataError(
                f"the answer names {name!r}; the screen has {', '.join(sorted(allowed))}; restore its config"
            )
        value = entry.get("value")
        ticked = value.get("choices") if isinstance(value, dict) else None
        if entry.get("type") != "choices" or not isinstance(ticked, list):
            raise DataError(f"{name} holds no choices; somebody changed the screen, restore its config")
        if name in found:
            raise DataError(f"{name} is answered twice; keep one of the two and submit again")
        values = tuple(one for one in ticked if isinstance(one, str))
        if len(values) < len(ticked) or len(set(values)) < len(values) or set(values) - allowed[name]:
            raise DataError(f"{name} says {ticked}; it can say {', '.join(sorted(allowed[name]))}, each once")
        found[name] = values
    return found


def read_verdict(result: Sequence[JsonValue], name: str, allowed: Set[str]) -> str:
    """The one choice of the only group. Raises DataError for none, two, or one that is not there."""
    ticked = read_choices(result, {name: allowed}).get(name, ())
    if len(ticked) != 1:
        raise DataError(f"{len(ticked)} choices are ticked for {name}; exactly one is an answer, submit again with one")
    return ticked[0]
