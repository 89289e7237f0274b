"""embed: crops to unit vectors and tracklet templates, under one embedding contract; near-duplicates marked.

A committee of further recognisers looks at the same crops: its templates are a second opinion, never clustered.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import numpy as np
from pydantic import Field

from faceloop.clustering.duplicates import near_duplicates
from faceloop.params import StageParams
from faceloop.stage import Context, In, Out, Report
from faceloop.vision.arrays import Float32Array
from faceloop.vision.choice import ModelParams
from faceloop.vision.models import embedding_contract
from facestore.crops import CropReader
from facestore.errors import ConfigError
from facestore.ids import JsonValue, canonical_json
from facestore.records import Face, FaceEmbedding, NearDuplicate, TrackletTemplate
from facestore.tables import TableWriter, column_matrix, read_columns, write_table

VERSION = 2
BATCHED = True
_CHUNK = 256  # crops in memory at once
_LEAST_NORM = 1e-6  # of a mean that is still a direction


class Params(StageParams):
    model: ModelParams
    committee: list[ModelParams]
    batch_size: int = Field(ge=1, le=1024)
    duplicate_similarity: float = Field(ge=0, le=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crop:
    face_id: str
    tracklet_id: str
    footage_id: str
    subset: str
    crop_key: str
    quality: float


@dataclass(slots=True)
class _Gathering:
    """Turns faces that come a tracklet after the other into templates of one contract."""

    contract_id: str
    waiting: list[tuple[_Crop, Float32Array]] = field(default_factory=list)

    def add(self, crop: _Crop, vector: Float32Array) -> Iterator[TrackletTemplate]:
        """The template of the tracklet before, where this face begins another."""
        if self.waiting and self.waiting[0][0].tracklet_id != crop.tracklet_id:
            yield from self.rest()
        self.waiting.append((crop, vector))

    def rest(self) -> Iterator[TrackletTemplate]:
        """The last template."""
        if self.waiting:
            yield template_of(self.waiting, self.contract_id)
        self.waiting = []


def fingerprint(params: Params) -> str:
    """The embedding contracts: recogniser bytes, alignment, colours, normalisation, dimension, precision.

    Raises ConfigError when a recogniser sits in the committee twice.
    """
    contracts = [embedding_contract(model.load(), precision=model.precision).contract_id for model in _models(params)]
    if len(set(contracts)) < len(contracts):
        raise ConfigError("embed.committee names a recogniser twice, or that of embed.model; leave out the repeats")
    return " ".join(contracts)


def run(*, faces: In, crops: In, embeddings: Out, params: Params, context: Context) -> Report:
    report = Report()
    crops_found = _crops(faces)
    report.items_in = len(crops_found)
    withheld = context.withheld.of("recognition")
    report.rejected.update(withheld[crop.footage_id] for crop in crops_found if crop.footage_id in withheld)
    wanted = [crop for crop in crops_found if crop.footage_id not in withheld]
    first, *others = (
        model.recogniser(threads=context.threads, batch_size=params.batch_size) for model in _models(params)
    )
    templates = _Gathering(contract_id=first.contract.contract_id)
    opinions = [_Gathering(contract_id=other.contract.contract_id) for other in others]
    reader = CropReader(crops.parent)
    with (
        TableWriter(embeddings / "faces.parquet", FaceEmbedding) as face_table,
        TableWriter(embeddings / "templates.parquet", TrackletTemplate) as template_table,
        TableWriter(embeddings / "committee.parquet", TrackletTemplate) as committee_table,
    ):
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start : start + _CHUNK]
            if gone := reader.shredded("aligned", {crop.crop_key for crop in chunk}):
                report.rejected["key_destroyed"] += len(gone)
                chunk = [crop for crop in chunk if crop.crop_key not in gone]
            if not chunk:
                continue
            with context.stopwatch.on("read crops"):
                images = np.stack([reader.image("aligned", crop.crop_key) for crop in chunk])
            with context.stopwatch.on("embed"):
                found = first.embed(images)
            for crop, vector, is_valid in zip(chunk, found.vectors, found.is_valid, strict=True):
                if not is_valid:
                    report.rejected["invalid_embedding"] += 1
                    continue
                report.published += 1
                face_table.write(_face_embedding(crop, vector, templates.contract_id))
                template_table.write_all(templates.add(crop, vector))
            for other, opinion in zip(others, opinions, strict=True):
                with context.stopwatch.on("committee"):
                    seen = other.embed(images)
                for crop, vector, is_valid in zip(chunk, seen.vectors, seen.is_valid, strict=True):
                    if is_valid:
                        committee_table.write_all(opinion.add(crop, vector))
        template_table.write_all(templates.rest())
        for opinion in opinions:
            committee_table.write_all(opinion.rest())
        report.figures["templates"] = template_table.rows
        report.figures["committee_templates"] = committee_table.rows
    reader.close()
    return report


def finish(*, embeddings: Out, params: Params, context: Context) -> Report:
    """Once all batches are there: write the contracts down, mark crops that nearly repeat another of their subset."""
    report = Report()
    contracts = [embedding_contract(model.load(), precision=model.precision) for model in _models(params)]
    spelled: list[dict[str, JsonValue]] = [
        {"contract_id": contract.contract_id, **asdict(contract)} for contract in contracts
    ]
    text = canonical_json({**spelled[0], "committee": list[JsonValue](spelled[1:])})
    (embeddings / "contract.json").write_text(text + "\n", encoding="utf-8")
    table = read_columns(embeddings, "faces", FaceEmbedding, ("face_id", "tracklet_id", "embedding"))
    templates = read_columns(embeddings, "templates", TrackletTemplate, ("tracklet_id", "subset"))
    subset_of = dict(zip(*(templates[name].to_pylist() for name in ("tracklet_id", "subset")), strict=True))
    names = table["face_id"].to_pylist()
    subsets = [subset_of[tracklet] for tracklet in table["tracklet_id"].to_pylist()]
    vectors = column_matrix(table, "embedding")
    with context.stopwatch.on("near duplicates"):
        pairs = near_duplicates(names, subsets, vectors, params.duplicate_similarity)
    marks = [NearDuplicate(face_id=a, duplicate_of=b, similarity=similarity) for a, b, similarity in pairs]
    write_table(embeddings / "near_duplicates.parquet", NearDuplicate, marks)
    report.figures["near_duplicates"] = len(marks)
    return report


def _models(params: Params) -> list[ModelParams]:
    return [params.model, *params.committee]


def _crops(faces: In) -> list[_Crop]:
    """Crops of a batch, a tracklet's side by side, in stored order."""
    columns = ("face_id", "tracklet_id", "footage_id", "subset", "crop_key", "quality")
    table = read_columns(faces, "faces", Face, columns)
    rows = [_Crop(**row) for row in table.filter(table["crop_key"].is_valid()).to_pylist()]
    order = {tracklet: number for number, tracklet in enumerate(dict.fromkeys(row.tracklet_id for row in rows))}
    return sorted(rows, key=lambda row: order[row.tracklet_id])


def _face_embedding(crop: _Crop, vector: Float32Array, contract_id: str) -> FaceEmbedding:
    return FaceEmbedding(
        face_id=crop.face_id,
        tracklet_id=crop.tracklet_id,
        footage_id=crop.footage_id,
        contract_id=contract_id,
        embedding=tuple(vector.tolist()),
    )


def template_of(members: list[tuple[_Crop, Float32Array]], contract_id: str) -> TrackletTemplate:
    """Quality-weighted mean of a tracklet's unit vectors, renormalised; its best one where they cancel out."""
    vectors = np.stack([vector for _, vector in members])
    weights = np.array([crop.quality for crop, _ in members], dtype=np.float32)
    mean = (weights[:, None] * vectors).sum(axis=0)
    if float(np.linalg.norm(mean)) < _LEAST_NORM:
        mean = vectors[int(np.argmax(weights))]
    template = (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)
    best = members[int(np.argmax(weights))][0]
    return TrackletTemplate(
        tracklet_id=best.tracklet_id,
        footage_id=best.footage_id,
        subset=best.subset,
        contract_id=contract_id,
        faces=len(members),
        weight=float(weights.sum()),
        quality=float(weights.max()),
        coherence=float((vectors @ template).min()),
        best_face_id=best.face_id,
        embedding=tuple(template.tolist()),
    )
