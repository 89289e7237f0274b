"""keys: what a source manifest says of its footage (a badge, a plate, an album's owner), as groups of faces.

A key is said of footage, not of a face: it speaks of a face only where the footage shows one tracklet.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, field_validator

from faceloop.identity.roster import SeenFace
from faceloop.params import StageParams

Strength = Literal["hard", "ask"]
Ambiguity = Literal["no_face", "many_tracklets", "many_values"]


class KeyRule(StageParams):
    """What one kind of key is worth: `hard` ties its faces, `ask` only makes a question of them."""

    kind: str = Field(min_length=1, pattern="^[^=;]+$")
    strength: Strength


class KeyParams(StageParams):
    """Kinds that no rule names say nothing."""

    rules: list[KeyRule]

    @field_validator("rules")
    @classmethod
    def _one_rule_a_kind(cls, rules: list[KeyRule]) -> list[KeyRule]:
        kinds = [rule.kind for rule in rules]
        if len(set(kinds)) < len(kinds):
            raise ValueError("a kind has two rules; keep one")
        return rules


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyGroup:
    """Two or more tracklets that one key speaks of, sorted."""

    key: str  # `kind=value`
    tracklets: tuple[tuple[str, ...], ...]  # faces of each, the best first


@dataclass(frozen=True, slots=True, kw_only=True)
class AmbiguousKey:
    """A key that speaks of no single face."""

    key: str
    footage_id: str
    reason: Ambiguity


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyGroups:
    """By key, in order of the keys."""

    hard: tuple[KeyGroup, ...]
    ask: tuple[KeyGroup, ...]
    ambiguous: tuple[AmbiguousKey, ...]


def key_groups(keys_of: Mapping[str, Sequence[str]], faces: Iterable[SeenFace], params: KeyParams) -> KeyGroups:
    """Groups of faces by the keys of their footage. `keys_of` maps footage → its `kind=value` keys.

    Raises nothing: a key that cannot speak of one face is listed as ambiguous. Any order of input gives the same.
    """
    strength_of = {rule.kind: rule.strength for rule in params.rules}
    ruled = {name: [key for key in keys if _kind(key) in strength_of] for name, keys in keys_of.items()}
    seen: dict[str, dict[str, list[SeenFace]]] = defaultdict(lambda: defaultdict(list))
    for face in faces:
        if ruled.get(face.footage_id):
            seen[face.footage_id][face.tracklet_id].append(face)
    members: dict[str, list[list[SeenFace]]] = defaultdict(list)
    ambiguous: list[AmbiguousKey] = []
    for footage_id, keys in ruled.items():
        kinds = [_kind(key) for key in keys]
        for key in keys:
            if (reason := _ambiguity(kinds.count(_kind(key)), len(seen.get(footage_id, ())))) is None:
                members[key] += seen[footage_id].values()
            else:
                ambiguous.append(AmbiguousKey(key=key, footage_id=footage_id, reason=reason))
    groups = {key: _group(key, tracklets) for key, tracklets in sorted(members.items()) if len(tracklets) > 1}
    return KeyGroups(
        hard=tuple(group for key, group in groups.items() if strength_of[_kind(key)] == "hard"),
        ask=tuple(group for key, group in groups.items() if strength_of[_kind(key)] == "ask"),
        ambiguous=tuple(sorted(ambiguous, key=lambda entry: (entry.key, entry.footage_id))),
    )


def _kind(key: str) -> str:
    return key.partition("=")[0]


def _ambiguity(values: int, tracklets: int) -> Ambiguity | None:
    if values > 1:
        return "many_values"
    if tracklets == 0:
        return "no_face"
    return "many_tracklets" if tracklets > 1 else None


def _group(key: str, tracklets: Sequence[Sequence[SeenFace]]) -> KeyGroup:
    ranked = (sorted(faces, key=lambda face: (-face.quality, face.face_id)) for faces in tracklets)
    return KeyGroup(key=key, tracklets=tuple(sorted(tuple(face.face_id for face in faces) for faces in ranked)))
