"""pack: assignments to a release. Identity-disjoint LMDB shards, a balance report, a manifest and a dataset card."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

from pydantic import Field, model_validator

from faceloop.consent_gate import SPLIT_PURPOSES
from faceloop.params import StageParams
from faceloop.release.card import CardFacts, dataset_card
from faceloop.release.splits import Balance, balance, counts_of, shuffled, split_of
from faceloop.stage import Context, In, Out, Report
from facestore.consentbasis import Withheld
from facestore.crops import CropReader
from facestore.ids import JsonValue, canonical_json, digest_of
from facestore.records import Assignment, Face, FaceEmbedding, Footage, NearDuplicate, ReleaseSample, Split
from facestore.shards import SampleLabel, write_shards
from facestore.tables import read_columns, read_table, write_table

VERSION = 2  # 2: shards end at bytes_per_shard, too; their maps are no larger than they need to be


class Params(StageParams):
    seed: int
    min_samples_per_identity: int = Field(ge=1)
    min_confidence: float = Field(ge=0, le=1)
    val_share: float = Field(ge=0, lt=1)
    test_share: float = Field(ge=0, lt=1)
    balance_ratio: float = Field(ge=1)
    samples_per_shard: int = Field(ge=1)
    bytes_per_shard: int = Field(ge=1 << 20)

    @model_validator(mode="after")
    def _some_train(self) -> "Params":
        if self.val_share + self.test_share >= 1:
            raise ValueError("val_share + test_share must stay below 1: something must be left to train on")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A crop that may become a sample."""

    face_id: str
    footage_id: str
    subset: str
    crop_key: str
    quality: float
    identity_id: str
    confidence: float


def run(
    *,
    footage: In,
    faces: In,
    crops: In,
    embeddings: In,
    assignments: In,
    release: Out,
    params: Params,
    context: Context,
) -> Report:
    report = Report()
    chosen = choose(faces, embeddings, assignments, params, report, context.withheld)
    reader = CropReader(crops, check="hash")
    gone = reader.shredded("aligned", {candidate.crop_key for candidate in chosen.values()})
    if gone:
        report.rejected["key_destroyed"] += len(gone)
    by_split: dict[Split, list[Candidate]] = {name: [] for name in get_args(Split)}
    for candidate in chosen.values():
        if candidate.crop_key not in gone:
            by_split[_split(candidate.identity_id, params)].append(candidate)
    samples: list[ReleaseSample] = []
    for name, candidates in by_split.items():
        with context.stopwatch.on("write shards"):
            samples += _write_split(release, name, candidates, reader, params)
    reader.close()
    report.published = len(samples)
    write_table(release / "samples.parquet", ReleaseSample, samples)
    _write_papers(release, footage, embeddings, by_split, samples, params, report)
    return report


def choose(
    faces: Path, embeddings: Path, assignments: Path, params: Params, report: Report, withheld: Withheld
) -> dict[str, Candidate]:
    """Crops that go into the release; the others are counted with their reason."""
    repeated = {mark.face_id for mark in read_table(embeddings, "near_duplicates", NearDuplicate)}
    labels = {row.face_id: row for row in read_table(assignments, "assignments", Assignment)}
    columns = ("face_id", "footage_id", "subset", "crop_key", "quality")
    table = read_columns(faces, "faces", Face, columns)
    crops = table.filter(table["crop_key"].is_valid()).to_pylist()
    report.items_in = len(crops)
    chosen: dict[str, Candidate] = {}
    for crop in crops:
        label = labels.get(crop["face_id"])
        if crop["face_id"] in repeated:
            report.rejected["near_duplicate"] += 1
        elif label is None or label.identity_id is None or label.state not in {"proposed", "confirmed"}:
            report.pending["unknown_identity"] += 1
        elif label.confidence < params.min_confidence:
            report.pending["low_confidence"] += 1
        elif reason := withheld.of(SPLIT_PURPOSES[_split(label.identity_id, params)]).get(crop["footage_id"]):
            report.rejected[reason] += 1
        else:
            candidate = Candidate(**crop, identity_id=label.identity_id, confidence=label.confidence)
            chosen[candidate.face_id] = candidate
    sizes = Counter(candidate.identity_id for candidate in chosen.values())
    rare = {name for name, size in sizes.items() if size < params.min_samples_per_identity}
    for face_id in [face_id for face_id, candidate in chosen.items() if candidate.identity_id in rare]:
        del chosen[face_id]
        report.pending["too_few_samples"] += 1
    return chosen


def _split(identity_id: str, params: Params) -> Split:
    return split_of(identity_id, seed=params.seed, val_share=params.val_share, test_share=params.test_share)


def _write_split(
    release: Path, name: Split, candidates: list[Candidate], reader: CropReader, params: Params
) -> list[ReleaseSample]:
    by_face = {candidate.face_id: candidate for candidate in candidates}
    order = [by_face[face_id] for face_id in shuffled(list(by_face), params.seed)]
    classes = sorted({candidate.identity_id for candidate in candidates}) if name == "train" else []
    index_of = {identity: index for index, identity in enumerate(classes)}

    def labelled() -> Iterator[tuple[SampleLabel, bytes]]:
        for candidate in order:
            label = SampleLabel(
                face_id=candidate.face_id,
                identity_id=candidate.identity_id,
                class_index=index_of.get(candidate.identity_id, -1),
                confidence=round(candidate.confidence, 6),
                quality=round(candidate.quality, 6),
            )
            yield label, reader.jpeg("aligned", candidate.crop_key)

    written = write_shards(release / name, labelled(), params.samples_per_shard, bytes_per_shard=params.bytes_per_shard)
    return [
        ReleaseSample(
            split=name,
            shard=f"{name}/{place.shard}",
            row=place.row,
            face_id=candidate.face_id,
            footage_id=candidate.footage_id,
            identity_id=candidate.identity_id,
            class_index=index_of.get(candidate.identity_id, -1),
            confidence=candidate.confidence,
            quality=candidate.quality,
            sha256=place.sha256,
        )
        for candidate, place in zip(order, written, strict=True)
    ]


def _write_papers(
    release: Path,
    footage: Path,
    embeddings: Path,
    by_split: Mapping[Split, list[Candidate]],
    samples: list[ReleaseSample],
    params: Params,
    report: Report,
) -> None:
    """Manifest and dataset card; the version names the content of the release."""
    version = digest_of([[sample.shard, sample.row, sample.sha256] for sample in samples])[:12]
    balances: dict[str, Balance] = {
        name: balance(counts_of([candidate.identity_id for candidate in candidates]), params.balance_ratio)
        for name, candidates in by_split.items()
    }
    contracts = read_columns(embeddings, "faces", FaceEmbedding, ("contract_id",))["contract_id"].unique().to_pylist()
    used = {sample.footage_id for sample in samples}
    sources = [record for record in read_table(footage, "footage", Footage) if record.footage_id in used]
    subsets: dict[str, int] = defaultdict(int)
    for candidates in by_split.values():
        for candidate in candidates:
            subsets[candidate.subset] += 1
    facts = CardFacts(
        version=version,
        contract_ids=tuple(sorted(contracts)),
        balances=balances,
        subsets=dict(sorted(subsets.items())),
        footage=len(sources),
        footage_without_consent=sum(record.consent_id is None for record in sources),
        left_out=dict(sorted((report.rejected + report.pending).items())),
        balance_ratio=params.balance_ratio,
    )
    (release / "README.md").write_text(dataset_card(facts), encoding="utf-8")
    (release / "manifest.json").write_text(canonical_json(_manifest(facts, sources, params)) + "\n", encoding="utf-8")
    for name, found in balances.items():
        report.figures[f"{name}_identities"] = found.identities
        report.figures[f"{name}_samples"] = found.samples
        report.figures["identities_over_balance"] += len(found.over)


def _manifest(facts: CardFacts, sources: list[Footage], params: Params) -> JsonValue:
    return {
        "release": facts.version,
        "embedding_contracts": list(facts.contract_ids),
        "params": params.model_dump(mode="json"),
        "splits": {name: _balance_json(found) for name, found in facts.balances.items()},
        "left_out": dict(facts.left_out),
        "lineage": {"records": "samples.parquet", "footage": [source_line(record) for record in sources]},
        "tombstones": [],
    }


def _balance_json(found: Balance) -> JsonValue:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(found).items()}


def source_line(record: Footage) -> JsonValue:
    return {"footage_id": record.footage_id, "subset": record.subset, "consent_id": record.consent_id}
