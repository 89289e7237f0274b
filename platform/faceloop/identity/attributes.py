"""attributes: one person's word about a face, spread as far as its kind may go, and no further than people agree.

Nothing is stored but the decisions: a retracted word is gone from every face with the next run.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from faceloop.params import StageParams
from facestore.decisions import Decision
from facestore.records import Assignment, AttributeLabel

Reach = Literal["face", "tracklet", "identity"]
Via = Literal["face", "tracklet", "key", "cluster"]
_WAYS: dict[Reach, tuple[Via, ...]] = {
    "face": (),
    "tracklet": ("tracklet",),
    "identity": ("tracklet", "key", "cluster"),
}


class AttributeParams(StageParams):
    """How far an attribute holds: an expression for one face, glasses for a tracklet, an eye colour for a person."""

    reach: dict[str, Reach]  # an attribute that is not named here stays on its face


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """People gave one attribute several values within one tracklet, key group or identity: it is not spread there."""

    name: str
    via: Via
    values: tuple[str, ...]  # sorted
    decision_ids: tuple[str, ...]  # sorted
    face_ids: tuple[str, ...]  # that people looked at, sorted


@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadAttributes:
    """Labels by name and face, and what people disagree about."""

    labels: tuple[AttributeLabel, ...]
    disagreements: tuple[Disagreement, ...]


def spread_attributes(
    effective: Iterable[Decision],
    *,
    tracklet_of_face: Mapping[str, str],
    group_of_face: Mapping[str, int],
    assignments: Iterable[Assignment],
    params: AttributeParams,
) -> SpreadAttributes:
    """Every face's attributes. The latest word on a face wins; the nearest way to a face labels it.

    `group_of_face` are the groups of hard keys. A word spreads over an identity only when somebody confirmed a face of
    it. Faces that are rejected or ignored neither give nor take. Linear in faces times attributes; any order of input.
    """
    rows = {row.face_id: row for row in assignments}
    confirmed = {row.identity_id for row in rows.values() if row.state == "confirmed" and row.identity_id}
    is_out = {face for face, row in rows.items() if row.state in ("rejected", "ignored")}
    units: dict[Via, dict[str, str]] = {
        "tracklet": {face: unit for face, unit in tracklet_of_face.items() if face not in is_out},
        "key": {face: str(unit) for face, unit in group_of_face.items() if face not in is_out},
        "cluster": {
            face: row.identity_id for face, row in rows.items() if row.identity_id in confirmed and face not in is_out
        },
    }
    faces_of = {via: _inverted(unit_of) for via, unit_of in units.items()}
    labels: list[AttributeLabel] = []
    told: dict[tuple[str, ...], Disagreement] = {}  # the narrowest unit in which the same words disagree
    for name, words in sorted(_latest_words(effective, is_out).items()):
        found = {face: _label(face, word, "face") for face, word in words.items()}
        blocked: set[str] = set()
        for via in _WAYS[params.reach.get(name, "face")]:
            for unit, said in sorted(_by_unit(words.values(), units[via]).items()):
                if len({word.value for word in said}) > 1:
                    told.setdefault((name, *sorted(word.decision_id for word in said)), _disagreement(name, via, said))
                    blocked.update(faces_of[via][unit])
                    continue
                last = max(said, key=_age)
                for face in faces_of[via][unit]:
                    if face not in blocked:
                        found.setdefault(face, _label(face, last, via))
        labels += (found[face] for face in sorted(found))
    return SpreadAttributes(labels=tuple(labels), disagreements=tuple(told.values()))


def _age(word: Decision) -> tuple[object, str]:
    return (word.decided_at, word.decision_id)


def _latest_words(effective: Iterable[Decision], is_out: set[str]) -> dict[str, dict[str, Decision]]:
    """Name → face → the last word on it."""
    found: dict[str, dict[str, Decision]] = defaultdict(dict)
    words = (decision for decision in effective if decision.verb == "attribute")
    for word in sorted(words, key=lambda word: (word.decided_at, word.decision_id)):
        if word.face_id is not None and word.name is not None and word.face_id not in is_out:
            found[word.name][word.face_id] = word
    return found


def _by_unit(words: Iterable[Decision], unit_of: Mapping[str, str]) -> dict[str, list[Decision]]:
    found: dict[str, list[Decision]] = defaultdict(list)
    for word in words:
        if word.face_id is not None and word.face_id in unit_of:
            found[unit_of[word.face_id]].append(word)
    return found


def _inverted(unit_of: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for face, unit in unit_of.items():
        found[unit].append(face)
    return found


def _label(face_id: str, word: Decision, via: Via) -> AttributeLabel:
    return AttributeLabel(
        face_id=face_id,
        name=word.name or "",
        value=word.value or "",
        source="human" if via == "face" else "propagated",
        decision_id=word.decision_id,
        via=via,
    )


def _disagreement(name: str, via: Via, said: list[Decision]) -> Disagreement:
    return Disagreement(
        name=name,
        via=via,
        values=tuple(sorted({word.value or "" for word in said})),
        decision_ids=tuple(sorted(word.decision_id for word in said)),
        face_ids=tuple(sorted(_faces(said))),
    )


def _faces(said: Iterable[Decision]) -> Iterator[str]:
    yield from {word.face_id for word in said if word.face_id is not None}
