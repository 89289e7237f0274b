"""measure_further: what a gold set alone does not tell. Coverage, the unfamiliar, labelling quality, the model card."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faceloop.evaluation.card_gathering import card_of
from faceloop.evaluation.chapters import (
    coverage_chapter,
    coverage_metrics,
    labelling_chapter,
    labelling_metrics,
    unfamiliar_chapter,
    unfamiliar_metrics,
)
from faceloop.evaluation.coverage import coverage_of, coverage_table, failed_floors
from faceloop.evaluation.coverage_holes import Hole, holes
from faceloop.evaluation.coverage_params import CoverageParams
from faceloop.evaluation.coverage_picture import save_coverage
from faceloop.evaluation.embedding import Embedded
from faceloop.evaluation.gold import Gold
from faceloop.evaluation.labelling import labelling_failures, labelling_quality
from faceloop.evaluation.labelling_figures import GoldFace, LabellingFigures, ModelVectors
from faceloop.evaluation.labelling_params import LabellingParams
from faceloop.evaluation.measuring import MeasuredGold
from faceloop.evaluation.page import Chapter
from faceloop.evaluation.unfamiliar import KnownCrops, unfamiliar_of
from faceloop.evaluation.unfamiliar_figures import UnfamiliarFigures
from faceloop.evaluation.unfamiliar_params import UnfamiliarParams
from faceloop.evaluation.unfamiliar_picture import save_unfamiliar
from faceloop.vision.detections import Detector
from faceloop.vision.recogniser import Recogniser
from facestore.ids import JsonValue, canonical_json
from facestore.records import AttributeLabel, Face, ReleaseSample
from facestore.tables import read_columns

CARD = "card.md"
_COLUMNS = (
    "face_id",
    "tracklet_id",
    "subset",
    "yaw",
    "pitch",
    "brightness",
    "contrast",
    "occlusion",
    "quality",
    "size_px",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FurtherParams:
    """Three sections of `evaluate`."""

    coverage: CoverageParams
    unfamiliar: UnfamiliarParams
    labelling: LabellingParams


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Published artifacts that are read."""

    release: Path
    candidate: Path
    faces: Path
    assignments: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Further:
    """For the page, `metrics.json` and the gate."""

    chapters: tuple[Chapter, ...]
    metrics: dict[str, JsonValue]
    failed: tuple[str, ...]  # floors of coverage, and labels that are worse


def measure_further(
    inputs: Inputs,
    evaluation: Path,
    measured: MeasuredGold,
    *,
    recogniser: Recogniser,
    detector: Detector | None,
    params: FurtherParams,
) -> Further:
    """Measure on the gold of the release, and write tables, pictures and `card.md` into `evaluation`.

    `recogniser` is the candidate's. Raises DataError for artifacts that contradict one another.
    """
    tables, pictures = evaluation / "tables", evaluation / "pictures"
    tables.mkdir(parents=True, exist_ok=True)
    faces = read_columns(inputs.faces, "faces", Face, _COLUMNS)
    samples = read_columns(inputs.release, "samples", ReleaseSample, ("split", "face_id", "identity_id"))
    said = read_columns(inputs.assignments, "attributes", AttributeLabel, ("face_id", "name", "value"))
    matrix = coverage_of(samples, faces, said, params.coverage)
    found = holes(matrix, params.coverage)
    failed = failed_floors(matrix, params.coverage.floors)
    pq.write_table(coverage_table(matrix), tables / "coverage.parquet")
    _write_holes(found, tables / "coverage_holes.json")
    save_coverage(matrix, found, params.coverage.columns, pictures / "coverage.png")
    chapters = [coverage_chapter(matrix, found, failed, pictures / "coverage.png")]
    metrics = coverage_metrics(matrix, found, failed)

    labelled = labelling_quality(
        _gold_faces(measured.gold, faces),
        _vectors(measured.current.embedded),
        _vectors(measured.candidate.embedded),
        params.labelling,
    )
    chapters.append(labelling_chapter(labelled))
    metrics |= labelling_metrics(labelled)

    seen = _unfamiliar(measured, labelled, recogniser, detector, params)
    if seen is not None:
        save_unfamiliar(seen, pictures / "unfamiliar.png")
        chapters.append(unfamiliar_chapter(seen, pictures / "unfamiliar.png"))
        metrics |= unfamiliar_metrics(seen)
    card = card_of(inputs.release, inputs.candidate, measured, found, labelled, seen)
    (evaluation / CARD).write_text(card.markdown, encoding="utf-8")
    chapters.append(Chapter(title="Model card", fragment=card.html, pictures=()))
    return Further(chapters=tuple(chapters), metrics=metrics, failed=(*failed, *labelling_failures(labelled)))


def operating_threshold(measured: MeasuredGold, labelled: LabellingFigures, across_sigmas: float) -> float | None:
    """Cosine at the lowest FAR that was not refused; where all were, the one at which clusters merge; else None."""
    known = [at for at in measured.candidate.model.verified.figures.at if at.threshold is not None]
    if known:
        return min(known, key=lambda at: at.far).threshold
    side = labelled.candidate
    return None if side is None else min(side.impostor_mean + across_sigmas * side.impostor_sd, 1.0)


def _unfamiliar(
    measured: MeasuredGold,
    labelled: LabellingFigures,
    recogniser: Recogniser,
    detector: Detector | None,
    params: FurtherParams,
) -> UnfamiliarFigures | None:
    """None where the gold has too few people for a threshold."""
    gold = measured.gold
    threshold = operating_threshold(measured, labelled, params.labelling.clustering.across_sigmas)
    rows = [row for row in range(len(gold)) if gold.has_crop[row]]
    if threshold is None or len(rows) < 2:
        return None
    known = KnownCrops(
        face_ids=tuple(gold.face_ids[row] for row in rows),
        identity_ids=tuple(gold.identity_ids[gold.identity[row]] for row in rows),
        crops_rgb=gold.crops.read(rows),
    )
    return unfamiliar_of(known, recogniser, detector, params.unfamiliar, threshold=threshold)


def _gold_faces(gold: Gold, faces: pa.Table) -> list[GoldFace]:
    """A face that the table lost stands alone in a subset of its own, and counts as good."""
    columns = [faces[name].to_pylist() for name in ("face_id", "tracklet_id", "subset", "quality")]
    known = {row[0]: row[1:] for row in zip(*columns, strict=True)}
    found = []
    for face_id, person in zip(gold.face_ids, gold.identity.tolist(), strict=True):
        tracklet, subset, quality = known.get(face_id, (face_id, "", 1.0))
        found.append(
            GoldFace(
                face_id=face_id,
                tracklet_id=tracklet,
                subset=subset,
                identity_id=gold.identity_ids[person],
                quality=quality,
            )
        )
    return found


def _vectors(side: Embedded) -> ModelVectors:
    return ModelVectors(contract_id=side.contract_id, vectors=side.vectors, is_valid=np.any(side.vectors != 0, axis=1))


def _write_holes(found: Sequence[Hole], path: Path) -> None:
    """Requests that `faceloop mine` takes as they are, and needs as sentences."""
    rows: list[JsonValue] = [
        {
            "where": dict(hole.where),
            "samples": hole.samples,
            "identities": hole.identities,
            "missing_samples": hole.missing_samples,
            "missing_identities": hole.missing_identities,
            "need": hole.need,
            "request": hole.request,
        }
        for hole in found
    ]
    path.write_text(canonical_json(rows) + "\n", encoding="utf-8")
