"""Engines of an export and what is known of each: `engines.json`.

An engine is named by a fingerprint of what it was made from: ONNX, target, options, versions of the builder. Its own
bytes are not part of any name: TensorRT gives other bytes at each build from the same input.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from facestore.errors import DataError
from facestore.ids import JsonValue, canonical_json, digest_of

ENGINES = "engines.json"
FORMAT_VERSION = 1
Form = Literal["float32", "float16", "int8", "pruned", "channels", "distilled"]
Target = Literal["onnxruntime", "openvino", "tensorrt-rtx", "tensorrt"]
State = Literal["built", "verified", "refused"]
Options = tuple[tuple[str, str], ...]  # sorted by name


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRecord:
    """One form of the model on one target.

    `verified`: ran on its target, within its gate. `built`: made, never run; `faceloop.export.verify` does that on
    the target. `refused`: not shipped, `reason` says why; `file` is then None. `file` is relative to the export.
    """

    fingerprint: str
    form: Form
    target: Target
    state: State
    reason: str | None
    file: str | None
    onnx_sha256: str | None  # None where the form could not even be made
    options: Options
    versions: Options


def fingerprint_of(*, onnx_sha256: str, target: Target, options: Options, versions: Options) -> str:
    """First 16 hex digits of the sha256 of what an engine is made from."""
    spelled: JsonValue = {
        "onnx_sha256": onnx_sha256,
        "target": target,
        "options": [list(pair) for pair in options],
        "versions": [list(pair) for pair in versions],
    }
    return digest_of(spelled)[:16]


def write_engines(folder: Path, records: Sequence[EngineRecord], *, candidate: str, release: str) -> None:
    """Write `engines.json`; the order of records does not matter. `candidate`: sha256 of the canonical ONNX."""
    ordered = sorted(records, key=lambda record: (record.form, record.target, record.fingerprint))
    engines: list[JsonValue] = [_as_json(record) for record in ordered]
    spelled: JsonValue = {
        "version": FORMAT_VERSION,
        "candidate_onnx_sha256": candidate,
        "release": release,
        "engines": engines,
    }
    (folder / ENGINES).write_text(canonical_json(spelled) + "\n", encoding="utf-8")


def read_engines(folder: Path) -> list[EngineRecord]:
    """Raises DataError for a folder that holds no export, or one of another format."""
    path = folder / ENGINES
    try:
        spelled = json.loads(path.read_text(encoding="utf-8"))
        if spelled["version"] != FORMAT_VERSION:
            raise DataError(f"{ENGINES}: format {spelled['version']!r}, we know {FORMAT_VERSION}; run export again")
        return [_from_json(entry) for entry in spelled["engines"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a list of engines ({error!r}); run export again") from error


def options_of(values: dict[str, JsonValue]) -> Options:
    """Options as sorted pairs of text, so that equal options have one spelling."""
    return tuple((name, canonical_json(values[name])) for name in sorted(values))


def _as_json(record: EngineRecord) -> JsonValue:
    spelled = asdict(record)
    return {**spelled, "options": dict(record.options), "versions": dict(record.versions)}


def _from_json(entry: dict[str, JsonValue]) -> EngineRecord:
    pairs = {name: tuple(sorted(dict(entry[name]).items())) for name in ("options", "versions")}  # type: ignore[arg-type]
    return EngineRecord(**{**entry, **pairs})  # type: ignore[arg-type]  # written by write_engines from the same fields
