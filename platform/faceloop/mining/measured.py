"""What an evaluation says of the slice that a request wants better: kept in the hard set, asked for again later."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from faceloop.mining.gold import gold_faces
from faceloop.mining.request import Acceptance
from faceloop.params import StageParams, section
from faceloop.runner import Workspace
from faceloop.stages.evaluate import Params as EvaluateParams
from facestore.errors import ConfigError, DataError
from facestore.ids import JsonValue, canonical_json
from facestore.publish import is_intact, read_manifest
from facestore.records import FaceEmbedding
from facestore.tables import read_columns

BEFORE = "before.json"
_GOLD = "release"


class SliceNow(StageParams):
    """The candidate on one slice of the release's gold, and its gain over the model that labelled, drawn alike."""

    tar: float | None  # None: refused
    low: float | None
    high: float | None
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    refused: str | None


class Measured(StageParams):
    """An evaluation, as far as a verdict needs it. None where there is none, or where that cannot be told any more."""

    evaluation: str | None  # digest
    candidate: str | None  # digest of the candidate that is published, or that was evaluated
    current_contract: str | None  # of the model that it was compared with
    labelling_contract: str | None  # of the model whose labels were mined
    gold: str | None  # digest of who is gold
    slice: SliceNow | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    tar: float | None
    low: float | None
    high: float | None
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    refused: str | None


def measured_now(work: Workspace, accept: Acceptance) -> Measured:
    """What is published now. Raises ConfigError for a slice whose threshold is another one, DataError for tables that
    cannot be read."""
    params = section(work.tree, "evaluate", EvaluateParams)
    if accept.slice != "all" and accept.far != params.slices.far:
        raise ConfigError(
            f"accept.far = {accept.far:g}, but slices are measured at evaluate.slices.far = {params.slices.far:g}; "
            "set one to the other"
        )
    if accept.slice == "all" and accept.far not in params.fars:
        raise ConfigError(f"accept.far = {accept.far:g} is none of evaluate.fars; name one of them")
    path = work.path("evaluation")
    manifest, candidate = read_manifest(path), read_manifest(work.path("candidate"))
    embeddings = read_manifest(work.path("embeddings"))
    labelling = None if embeddings is None else _contract(work)
    if manifest is None or not is_intact(path, manifest):
        return Measured(
            evaluation=None, candidate=None if candidate is None else candidate.digest, current_contract=None,
            labelling_contract=labelling, gold=None, slice=None,
        )  # fmt: skip
    gold = gold_faces(work)
    is_of_embeddings = embeddings is not None and manifest.inputs.get("embeddings") == embeddings.digest
    return Measured(
        evaluation=manifest.digest,
        candidate=manifest.inputs.get("candidate"),
        current_contract=labelling if is_of_embeddings else None,  # evaluate refuses another current model
        labelling_contract=labelling,
        gold=gold.digest if gold.release is not None and manifest.inputs.get("release") == gold.release else None,
        slice=_slice(path, accept),
    )


def write_before(folder: Path, measured: Measured) -> None:
    (folder / BEFORE).write_text(canonical_json(_plain(measured)) + "\n", encoding="utf-8")


def read_before(folder: Path) -> Measured:
    """Raises DataError where the hard set was mined for no acceptance, or the file is damaged."""
    path = folder / BEFORE
    if not path.is_file():
        raise DataError(f"{folder} was mined without `accept`, so nothing says what had to get better; mine with it")
    try:
        return Measured.model_validate_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); restore it, or remove {folder} and mine again") from error


def _plain(measured: Measured) -> JsonValue:
    found: JsonValue = measured.model_dump(mode="json")
    return found


def _contract(work: Workspace) -> str | None:
    found = read_columns(work.path("embeddings"), "faces", FaceEmbedding, ("contract_id",))["contract_id"].unique()
    return str(found[0]) if len(found) == 1 else None


def _slice(evaluation: Path, accept: Acceptance) -> SliceNow | None:
    kind, _, band = accept.slice.partition(":")
    if kind == "all":
        keys: dict[str, str | float] = {"gold": _GOLD, "model": "candidate", "far": accept.far}
        row = _row(evaluation, "verification", keys)
    else:
        row = _row(evaluation, "slices", {"gold": _GOLD, "kind": kind, "band": band})
    return None if row is None else SliceNow(**asdict(row))


def _row(evaluation: Path, name: str, keys: dict[str, str | float]) -> _Row | None:
    path = evaluation / "tables" / f"{name}.parquet"
    columns = ["tar", "low", "high", "gain", "gain_low", "gain_high", "refused"]
    try:
        rows = pq.read_table(path, columns=[*keys, *columns], partitioning=None).to_pylist()
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); run evaluate again") from error
    found = [row for row in rows if all(_is_same(row[key], value) for key, value in keys.items())]
    return _Row(**{column: found[0][column] for column in columns}) if found else None


def _is_same(found: str | float, wanted: str | float) -> bool:
    """Tables hold numbers in single precision."""
    if isinstance(found, str) or isinstance(wanted, str):
        return found == wanted
    return math.isclose(found, wanted, rel_tol=1e-5)
