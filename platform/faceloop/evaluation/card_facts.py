"""What a model card is made from, and how it is read from a release and from a training record."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from facestore.errors import DataError
from facestore.ids import JsonValue

_LONGEST_LIST = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFigure:
    """One figure, or why there is none."""

    name: str
    value: float | None  # None: refused
    low: float | None  # of its interval
    high: float | None
    counted: str  # what it rests on: `1,083 faces of 259 people`
    refused: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFacts:
    """The data that a model was trained on, in counts."""

    version: str
    splits: tuple[tuple[str, int, int], ...]  # name, identities, samples
    footage: int
    footage_with_consent: int
    consents: int  # different ones
    tombstones: int  # erased items that the release names


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCardFacts:
    """Everything the card says, from those who measured it."""

    model_id: str
    contract_id: str
    current_id: str  # the model it is compared with
    intended_use: str
    licences: tuple[tuple[str, str], ...]  # part, licence
    procedure: tuple[tuple[str, str], ...]  # of training.json
    release: ReleaseFacts
    evaluation_data: str
    figures: tuple[CardFigure, ...]
    slices: tuple[CardFigure, ...]
    holes: tuple[str, ...]
    unfamiliar: tuple[CardFigure, ...]
    labelling: str
    limits: tuple[str, ...]


def release_facts(release: Path) -> ReleaseFacts:
    """Counts from the manifest of a release. Raises DataError where it is none."""
    path = release / "manifest.json"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        footage = told["lineage"]["footage"]
        consents = [entry["consent_id"] for entry in footage if entry["consent_id"] is not None]
        splits = tuple(
            (name, int(told["splits"][name]["identities"]), int(told["splits"][name]["samples"]))
            for name in ("train", "val", "test")
            if name in told["splits"]
        )
        return ReleaseFacts(
            version=str(told["release"]),
            splits=splits,
            footage=len(footage),
            footage_with_consent=len(consents),
            consents=len(set(consents)),
            tombstones=len(told["tombstones"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not the manifest of a release ({error}); run pack") from error


def told_facts(told: Mapping[str, JsonValue]) -> tuple[tuple[str, str], ...]:
    """A record such as training.json as rows, by key: nested keys are joined by dots, long lists are counted."""
    rows: list[tuple[str, str]] = []
    for key in sorted(told):
        value = told[key]
        if isinstance(value, dict):
            rows += [(f"{key}.{inner}", text) for inner, text in told_facts(value)]
        elif isinstance(value, list) and (len(value) > _LONGEST_LIST or any(isinstance(v, dict | list) for v in value)):
            rows.append((key, f"{len(value)} entries"))
        elif isinstance(value, list):
            rows.append((key, ", ".join(_said(item) for item in value) or "none"))
        else:
            rows.append((key, _said(value)))
    return tuple(rows)


def _said(value: JsonValue) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}"
        case _:
            return str(value)
