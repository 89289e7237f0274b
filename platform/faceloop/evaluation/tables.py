"""What was measured, as Parquet tables: one row a figure, for anybody who wants to compute on."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from faceloop.evaluation.leakage import Leakage
from faceloop.evaluation.measuring import MeasuredGold, MeasuredModel
from faceloop.evaluation.pair_scores import STEPS, PairList
from faceloop.evaluation.resampling import Interval
from facestore.records import schema_of


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationRow:
    gold: str
    model: str  # candidate | current
    far: float
    tar: float | None
    low: float | None
    high: float | None
    threshold: float | None
    genuine_pairs: int
    impostor_pairs: int
    identities: int
    gain: float | None  # candidate minus current, on the candidate's row
    gain_low: float | None
    gain_high: float | None
    verdict: str | None
    refused: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentificationRow:
    gold: str
    model: str
    fpir: float
    fnir: float | None
    low: float | None
    high: float | None
    threshold: float | None
    enrolled: int
    mated: int
    unmated: int
    rank_one: float | None
    refused: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRow:
    gold: str
    kind: str
    band: str
    faces: int
    people: int
    pairs: int
    tar: float | None
    low: float | None
    high: float | None
    false_accepts: float | None
    current_tar: float | None
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    verdict: str
    floor: float | None
    state: str
    refused: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakRow:
    gold: str
    kind: str  # identity | near_duplicate
    gold_id: str
    train_id: str
    similarity: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstPair:
    """An error worth a look: an unlike pair of one person, or an alike pair of two."""

    gold: str
    model: str
    kind: str  # genuine | impostor
    rank: int
    first_face_id: str
    second_face_id: str
    similarity: float


Row = VerificationRow | IdentificationRow | SliceRow | LeakRow | WorstPair


def save_rows(path: Path, record: type[Row], rows: Iterable[Row]) -> int:
    """Write a table; the same rows give the same bytes. Returns their number."""
    schema = schema_of(record)
    held = list(rows)
    columns = [
        pa.array([getattr(row, field.name) for row in held], type=schema.field(field.name).type)
        for field in fields(record)
    ]
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), path, compression="zstd", write_page_checksum=True)
    return len(held)


def verification_rows(measured: MeasuredGold) -> Iterator[VerificationRow]:
    for name, model in _models(measured):
        figures = model.model.verified.figures
        for at, gain in zip(figures.at, measured.tar_gains, strict=True):
            is_compared = name == "candidate"
            yield VerificationRow(
                gold=measured.gold.name,
                model=name,
                far=at.far,
                tar=at.tar,
                low=_low(at.interval),
                high=_high(at.interval),
                threshold=at.threshold,
                genuine_pairs=figures.genuine_pairs,
                impostor_pairs=figures.impostor_pairs,
                identities=figures.identities,
                gain=gain.gain if is_compared else None,
                gain_low=_low(gain.interval) if is_compared else None,
                gain_high=_high(gain.interval) if is_compared else None,
                verdict=gain.verdict if is_compared else None,
                refused=at.refused,
            )


def identification_rows(measured: MeasuredGold) -> Iterator[IdentificationRow]:
    for name, model in _models(measured):
        figures = model.search.figures
        for at in figures.at:
            yield IdentificationRow(
                gold=measured.gold.name,
                model=name,
                fpir=at.fpir,
                fnir=at.fnir,
                low=_low(at.interval),
                high=_high(at.interval),
                threshold=at.threshold,
                enrolled=figures.enrolled,
                mated=figures.mated,
                unmated=figures.unmated,
                rank_one=figures.rank_one,
                refused=at.refused,
            )


def slice_rows(measured: MeasuredGold) -> Iterator[SliceRow]:
    for found in measured.slices:
        yield SliceRow(
            gold=measured.gold.name,
            kind=found.kind,
            band=found.band,
            faces=found.faces,
            people=found.people,
            pairs=found.pairs,
            tar=found.tar,
            low=_low(found.interval),
            high=_high(found.interval),
            false_accepts=found.false_accepts,
            current_tar=found.current_tar,
            gain=found.against_current.gain,
            gain_low=_low(found.against_current.interval),
            gain_high=_high(found.against_current.interval),
            verdict=found.against_current.verdict,
            floor=found.floor,
            state=found.state,
            refused=found.refused,
        )


def leak_rows(gold: str, found: Leakage) -> Iterator[LeakRow]:
    for identity in found.identities:
        yield LeakRow(gold=gold, kind="identity", gold_id=identity, train_id=identity, similarity=None)
    for face in found.faces:
        yield LeakRow(
            gold=gold,
            kind="near_duplicate",
            gold_id=face.gold_face_id,
            train_id=face.train_face_id,
            similarity=face.similarity,
        )


def worst_pairs(measured: MeasuredGold, limit: int) -> Iterator[WorstPair]:
    """The `limit` least alike genuine and most alike impostor pairs of each model."""
    face_ids = measured.gold.face_ids
    for name, model in _models(measured):
        scores = model.model.scores
        for kind, pairs in (("genuine", _backwards(scores.genuine)), ("impostor", scores.impostors)):
            for rank in range(min(limit, len(pairs))):
                yield WorstPair(
                    gold=measured.gold.name,
                    model=name,
                    kind=kind,
                    rank=rank,
                    first_face_id=face_ids[int(pairs.first[rank])],
                    second_face_id=face_ids[int(pairs.second[rank])],
                    similarity=int(pairs.steps[rank]) / STEPS,
                )


def _models(measured: MeasuredGold) -> tuple[tuple[str, MeasuredModel], ...]:
    return ("candidate", measured.candidate), ("current", measured.current)


def _backwards(pairs: PairList) -> PairList:
    return PairList(
        first=pairs.first[::-1],
        second=pairs.second[::-1],
        steps=pairs.steps[::-1],
        stands_for=pairs.stands_for[::-1],
    )


def _low(interval: Interval | None) -> float | None:
    return None if interval is None else interval.low


def _high(interval: Interval | None) -> float | None:
    return None if interval is None else interval.high
