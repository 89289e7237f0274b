"""evaluate: how good is the candidate, and is it better than the current model? With ranges, and refusals."""

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, model_validator

from faceloop.consent_gate import withheld_faces
from faceloop.evaluation.coverage_params import CoverageParams
from faceloop.evaluation.embedding import Embedded, embed_gold
from faceloop.evaluation.evaluate_params import IntervalParams, LeakageParams, SearchParams, SliceParams, SupportParams
from faceloop.evaluation.gold import Gold, gold_of_release
from faceloop.evaluation.gold_sets import GoldSetParams, digest_of_set, photos_of, read_gold_set
from faceloop.evaluation.labelling_params import LabellingParams
from faceloop.evaluation.protocols import GivenPair, read_pairs
from faceloop.evaluation.unfamiliar_params import UnfamiliarParams
from faceloop.footage.limits import DecoderParams
from faceloop.params import StageParams
from faceloop.stage import Context, In, Out, Report
from faceloop.vision.choice import ModelParams
from faceloop.vision.models import embedding_contract, open_recogniser
from faceloop.vision.packs import load_pack
from faceloop.vision.recogniser import Recogniser
from facestore.consentbasis import Withheld
from facestore.ids import digest_of
from facestore.records import Assignment, Split
from facestore.tables import read_columns

VERSION = 2  # 2: contact sheets show nobody who was taken out since, or may not be shown
_RELEASE = "release"


class Params(StageParams):
    seed: int = Field(ge=0)
    splits: list[Split] = Field(min_length=1)
    gold: list[GoldSetParams]
    current: ModelParams
    detector: ModelParams
    decoder: DecoderParams
    min_score: float = Field(ge=0, le=1)
    batch_size: int = Field(ge=1, le=1024)
    fars: list[float] = Field(min_length=1)
    support: SupportParams
    intervals: IntervalParams
    search: SearchParams
    slices: SliceParams
    floors: dict[str, float]
    leakage: LeakageParams
    coverage: CoverageParams
    unfamiliar: UnfamiliarParams
    labelling: LabellingParams

    @model_validator(mode="after")
    def _agree(self) -> "Params":
        if "train" in self.splits:
            raise ValueError("splits holds train: what a model was trained on is no gold")
        if self.slices.far not in self.fars:
            raise ValueError(f"slices.far = {self.slices.far:g} is none of fars")
        if not all(0 < rate < 1 for rate in (*self.fars, *self.search.fpirs)):
            raise ValueError("fars and search.fpirs must lie between 0 and 1")
        names = [_RELEASE, *(gold.name for gold in self.gold)]
        if len(set(names)) < len(names):
            raise ValueError(f"gold sets need names of their own, and none may be {_RELEASE!r}")
        return self


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Given:
    """A gold set with its pairs, if it gives any, and both models' embeddings (candidate's, current's)."""

    gold: Gold
    pairs: tuple[GivenPair, ...]
    embedded: tuple[Embedded, Embedded]


def fingerprint(params: Params) -> str:
    """The current model, the detector, and every byte of the gold sets that params name."""
    current = embedding_contract(params.current.load(), precision=params.current.precision).contract_id
    detector = params.detector.load().detector
    return digest_of(
        [current, None if detector is None else detector.sha256, *(digest_of_set(gold) for gold in params.gold)]
    )


def run(
    *,
    release: In,
    candidate: In,
    faces: In,
    embeddings: In,
    assignments: In,
    evaluation: Out,
    params: Params,
    context: Context,
) -> Report:
    # Pictures and search are imported here: every command loads every stage for its params.
    from faceloop.evaluation import publishing
    from faceloop.evaluation.further import FurtherParams, Inputs, measure_further
    from faceloop.evaluation.gate import failures
    from faceloop.evaluation.leakage import leakage
    from faceloop.evaluation.measuring import Rules, measure_gold
    from faceloop.evaluation.page import Page, PageModel
    from faceloop.evaluation.released import labelled_by_people, occasions, slice_facts, train_faces

    report = Report()
    models = _models(candidate, params, context)
    train = train_faces(release, embeddings, models[1].contract.contract_id)
    rules = Rules(
        seed=params.seed,
        fars=tuple(params.fars),
        intervals=params.intervals,
        support=params.support,
        search=params.search,
        slices=params.slices,
        floors=params.floors,
    )
    released = gold_of_release(release, params.splits, occasions(faces), name=_RELEASE)
    golds: list[Gold | GoldSetParams] = [released, *params.gold]
    sets, leaks, sections = [], {}, []
    for place, gold in enumerate(golds):
        given = _given(gold, models, params, context)
        is_release = place == 0
        with context.stopwatch.on("measure"):
            measured = measure_gold(
                given.gold,
                given.embedded,
                rules,
                facts=slice_facts(given.gold, faces, assignments, params.slices.measured) if is_release else (),
                pairs=given.pairs,
                labelled_by_people=labelled_by_people(given.gold, assignments) if is_release else None,
            )
        name = given.gold.name
        leaks[name] = leakage(given.gold, given.embedded[1].vectors, train, least_similarity=params.leakage.similarity)
        sets.append(measured)
        with context.stopwatch.on("pictures"):
            hidden = _hidden(given.gold, faces, assignments, context.withheld) if is_release else set()
            section = publishing.gold_section(evaluation, measured, leaks[name], far=params.slices.far, hidden=hidden)
            sections.append(section)
        _count(report, measured.candidate.embedded, len(given.gold))
    with context.stopwatch.on("measure further"):
        further = measure_further(
            Inputs(release=release, candidate=candidate, faces=faces, assignments=assignments),
            evaluation,
            sets[0],
            recogniser=models[0],
            detector=params.detector.detector(threads=context.threads, min_score=params.min_score),
            params=FurtherParams(coverage=params.coverage, unfamiliar=params.unfamiliar, labelling=params.labelling),
        )
    failed = failures(sets, leaks, further.failed)
    publishing.save_figures(evaluation, sets, leaks, further.metrics, failed)
    publishing.save_tables(evaluation, sets, leaks)
    candidate_named, current_named = (
        PageModel(pack_id=model.contract.pack_id, contract_id=model.contract.contract_id) for model in models
    )
    publishing.save_page(
        evaluation,
        Page(
            release=json.loads((release / "manifest.json").read_text(encoding="utf-8"))["release"],
            candidate=candidate_named,
            current=current_named,
            sections=tuple(sections),
            chapters=further.chapters,
            failed=failed,
            confidence=params.intervals.confidence,
            replicates=params.intervals.replicates,
        ),
    )
    report.figures["floors_failed"] = len(failed)
    report.figures["gold_sets"] = len(sets)
    report.figures["leaks"] = sum(len(leak.identities) + len(leak.faces) for leak in leaks.values())
    report.figures["train_not_compared"] = train.not_compared
    return report


def _hidden(gold: Gold, faces: Path, assignments: Path, withheld: Withheld) -> set[str]:
    """Faces of the release that may be measured and not be shown: nobody's by now, or kept from people by consents."""
    rows = read_columns(assignments, "assignments", Assignment, ("face_id", "identity_id")).to_pylist()
    somebodys = {row["face_id"] for row in rows if row["identity_id"] is not None}
    for_people = Withheld(reasons={"annotation": withheld.of("annotation")})
    return set(gold.face_ids) - somebodys | withheld_faces(faces, for_people).keys()


def _models(candidate: Path, params: Params, context: Context) -> tuple[Recogniser, Recogniser]:
    """Candidate and current on the same engine. Not kept for the next run: another candidate has the same path."""
    pack = load_pack(
        str(candidate), accept_licence=params.current.accept_licence, insightface_root=None, is_made_here=True
    )
    opened = open_recogniser(
        pack,
        engine=params.current.engine,
        precision=params.current.precision,
        threads=context.threads,
        batch_size=params.batch_size,
        provider=params.current.provider,
    )
    return opened, params.current.recogniser(threads=context.threads, batch_size=params.batch_size)


def _given(
    gold: Gold | GoldSetParams, models: tuple[Recogniser, Recogniser], params: Params, context: Context
) -> _Given:
    pairs: tuple[GivenPair, ...] = ()
    if isinstance(gold, GoldSetParams):
        photos = photos_of(gold)
        if gold.pairs_file is not None:
            pairs = read_pairs(Path(gold.pairs_file).expanduser(), photos)
            photos = tuple(sorted({name for pair in pairs for name in (pair.first, pair.second)}))
        detector = (
            None if gold.is_aligned else params.detector.detector(threads=context.threads, min_score=params.min_score)
        )
        with context.stopwatch.on("read gold"):
            gold = read_gold_set(gold, photos, detector, params.decoder.limits())
    with context.stopwatch.on("embed candidate"):
        ours = embed_gold(gold, models[0])
    with context.stopwatch.on("embed current"):
        theirs = embed_gold(gold, models[1])
    return _Given(gold=gold, pairs=pairs, embedded=(ours, theirs))


def _count(report: Report, embedded: Embedded, faces: int) -> None:
    report.items_in += faces
    report.published += faces - embedded.refused
    if embedded.refused:
        report.rejected["no_vector"] += embedded.refused
