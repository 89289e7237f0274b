"""mine: one request in, one version of a hard set out. The same request on the same data gives the same version.

`ROOT/hard_sets/NAME/VERSION/` holds `pairs.parquet`, `request.json`, the contact sheet `pairs.html` and the manifest;
of a request that names sources also which gave what, of one with an acceptance what was measured before.
Versions stay; what is trained on one can always be named.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import ConfigDict

from faceloop.clustering.knn import SearchParams
from faceloop.consent_gate import KEY as CONSENT_KEY
from faceloop.consent_gate import ConsentParams, basis_for, withheld_faces
from faceloop.mining.asking import draft_questions
from faceloop.mining.gather import Gathered, digests_of, gather
from faceloop.mining.measured import measured_now, write_before
from faceloop.mining.origins import write_origins
from faceloop.mining.pairs import Chosen, Pair, PairKind, choose_in_order, in_turn, place_of
from faceloop.mining.request import MiningRequest
from faceloop.mining.sheet import Shown, write_sheet
from faceloop.mining.sources import find_in_sources, source_digests
from faceloop.params import StageParams, section
from faceloop.questions.plan_params import SelectParams
from faceloop.redaction import covers_of
from faceloop.review.access import with_review_log
from faceloop.review.offered import offer_beside_plan
from faceloop.runner import Workspace, hold
from facestore.consentbasis import prove
from facestore.errors import DataError, StageError
from facestore.ids import JsonValue, canonical_json, digest_of
from facestore.publish import Manifest, is_intact, put_in_place, read_manifest, recover, refuse_foreign, seal
from facestore.records import HardPair
from facestore.tables import write_table
from facestore.workareas import opened, sweep

HARD_SETS = "hard_sets"
PAIRS, REQUEST = "pairs", "request.json"
_VERSION = 1  # of what is mined for the same request
_VERSION_HEX = 12
_KINDS: tuple[PairKind, ...] = ("hard_positive", "hard_negative")


class _ClusterNumbers(StageParams):
    """Of section `cluster`: read here without the stage, whose module takes a second to load."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    flat_rows_max: int
    probes: int
    block_rows: int


class _EmbedNumbers(StageParams):
    model_config = ConfigDict(frozen=True, extra="ignore")

    duplicate_similarity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HardSet:
    """One version of a hard set."""

    name: str
    version: str
    hard_positives: int
    hard_negatives: int
    reviewed: int  # pairs of which people say what they are
    asked: int  # questions about doubtful pairs that wait for people
    left_out: dict[str, int]  # reason → faces or pairs
    by_source: dict[str, int]  # pairs; empty for a request that names no sources
    was_there_before: bool


def mine(work: Workspace, request: MiningRequest, *, now: datetime) -> HardSet:
    """The hard set of a request, published unless it is there. `now` dates the questions that are offered.

    Raises what `gather` raises, StageError when an artifact changes meanwhile, ConsentChanged when consents do,
    LeaseHeld while another mines the set.
    """
    with hold(work, f"mine/{request.name}") as lease:
        consent = section(work.tree, "consent", ConsentParams)
        basis = basis_for("mine", work.path, work.ledger_url(), consent)
        gathered = gather(work, request, withheld_faces(work.path("faces"), basis.withheld))
        if (withheld := basis.withheld.digest()) is not None:
            gathered.inputs[CONSENT_KEY] = withheld
        gathered.inputs.update(source_digests(work, request))
        run_key = _run_key(work, request, gathered)
        path = work.root / HARD_SETS / request.name / run_key[:_VERSION_HEX]
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened({PAIRS: path}, lease.lease) as areas:
            with lease.fenced():
                recover(path)
                refuse_foreign(path)
                sweep(path, lease.lease)
            before = read_manifest(path)
            if before is not None and before.run_key == run_key and is_intact(path, before):
                return _from_counts(request.name, path.name, before, was_there_before=True)
            made = areas[PAIRS].make("whole")
            counts = _fill(work, request, gathered, made, now)
            now_there = digests_of(work) | source_digests(work, request)
            if now_there != {name: gathered.inputs[name] for name in now_there}:
                raise StageError("mine: an artifact changed meanwhile; mine again")
            manifest = seal(made, stage="mine", run_key=run_key, counts=counts, inputs=gathered.inputs)
            with lease.fenced() as session:
                prove(session, basis)
                put_in_place(made, path, aside=areas[PAIRS].put_aside)
    return _from_counts(request.name, path.name, manifest, was_there_before=False)


def _run_key(work: Workspace, request: MiningRequest, gathered: Gathered) -> str:
    """Names a version by all that it depends on."""
    return digest_of(
        {
            "stage": "mine",
            "version": _VERSION,
            "request": request.spelled(),
            "same_picture": section(work.tree, "embed", _EmbedNumbers).duplicate_similarity,
            "search": [str(_search(work))],
            "inputs": dict(gathered.inputs),
        }
    )


def _fill(
    work: Workspace, request: MiningRequest, gathered: Gathered, folder: Path, now: datetime
) -> dict[str, JsonValue]:
    """Write the set's files; returns its counts."""
    quarry, left_out = gathered.quarry, Counter(gathered.left_out)
    same_picture = section(work.tree, "embed", _EmbedNumbers).duplicate_similarity
    found = find_in_sources(work, gathered, request, _search(work), same_picture=same_picture)
    order = place_of(request)
    wanted: dict[PairKind, int] = {"hard_positive": request.hard_positives, "hard_negative": request.hard_negatives}
    chosen: dict[PairKind, Chosen] = {}
    for kind in _KINDS:
        chosen[kind] = choose_in_order(
            in_turn([one.by_kind[kind].trusted for one in found], order),
            count=wanted[kind],
            per_identity=request.per_identity,
            per_face=request.per_face,
        )
        if wanted[kind]:
            left_out += sum((one.by_kind[kind].left_out for one in found), Counter[str]())
            left_out["pairs_over_cap"] += chosen[kind].over_caps
            left_out["pairs_beyond_count"] += chosen[kind].beyond_count
    crop_of = {face.face_id: face.crop_key for face in quarry.faces}
    pairs = [_record(pair, rank, crop_of) for kind in _KINDS for rank, pair in enumerate(chosen[kind].pairs)]
    write_table(folder / f"{PAIRS}.parquet", HardPair, pairs)
    (folder / REQUEST).write_text(canonical_json(request.spelled()) + "\n", encoding="utf-8")
    if request.has_sources:
        write_origins(folder, [pair for kind in _KINDS for pair in chosen[kind].pairs], quarry.faces)
    if request.accept is not None:
        write_before(folder, measured_now(work, request.accept))
    doubtful = [
        pair
        for kind in _KINDS
        if wanted[kind]
        for pair in in_turn([one.by_kind[kind].doubtful for one in found], order)
    ]
    shown = Shown(
        positives=chosen["hard_positive"].pairs,
        negatives=chosen["hard_negative"].pairs,
        doubtful=tuple(sorted(doubtful, key=lambda pair: (pair.kind, order.of(pair)))),
    )
    write_sheet(folder, work.path("crops"), shown, crop_of, request, covers_of(work))
    by_source = Counter(pair.source for kind in _KINDS for pair in chosen[kind].pairs)
    return {
        "hard_positives": len(chosen["hard_positive"].pairs),
        "hard_negatives": len(chosen["hard_negative"].pairs),
        "reviewed": sum(pair.review == "people" for pair in pairs),
        "asked": _ask(work, request, gathered, doubtful, now) if request.ask else 0,
        "left_out": {reason: count for reason, count in sorted(left_out.items()) if count},
        **({"by_source": {name: by_source[name] for name in request.sources}} if request.has_sources else {}),
    }


def _ask(work: Workspace, request: MiningRequest, gathered: Gathered, doubtful: list[Pair], now: datetime) -> int:
    params = section(work.tree, "select", SelectParams)
    questions = draft_questions(doubtful, gathered.quarry, request, params, model_version=gathered.contract_id)
    return with_review_log(work, lambda log: offer_beside_plan(log, questions, now=now))


def _search(work: Workspace) -> SearchParams:
    numbers = section(work.tree, "cluster", _ClusterNumbers)
    return SearchParams(flat_rows_max=numbers.flat_rows_max, probes=numbers.probes, block_rows=numbers.block_rows)


def _record(pair: Pair, rank: int, crop_of: dict[str, str]) -> HardPair:
    return HardPair(
        rank=rank,
        kind=pair.kind,
        first_face_id=pair.first_face_id,
        second_face_id=pair.second_face_id,
        first_identity_id=pair.first_identity_id,
        second_identity_id=pair.second_identity_id,
        first_crop_key=crop_of[pair.first_face_id],
        second_crop_key=crop_of[pair.second_face_id],
        similarity=pair.similarity,
        sigmas=pair.sigmas,
        support_sigmas=pair.support_sigmas,
        ground=str(pair.ground),
        review="people" if pair.ground == "people" else "machine",
    )


def _from_counts(name: str, version: str, manifest: Manifest, *, was_there_before: bool) -> HardSet:
    left_out = manifest.counts.get("left_out")
    by_source = manifest.counts.get("by_source", {})
    if not isinstance(left_out, dict) or not isinstance(by_source, dict):
        raise DataError(f"hard set {name} {version}: its manifest has no counts; remove the folder and mine again")
    return HardSet(
        name=name,
        version=version,
        **{key: _whole(manifest, key) for key in ("hard_positives", "hard_negatives", "reviewed", "asked")},
        left_out={reason: count for reason, count in left_out.items() if isinstance(count, int)},
        by_source={source: count for source, count in by_source.items() if isinstance(count, int)},
        was_there_before=was_there_before,
    )


def _whole(manifest: Manifest, key: str) -> int:
    found = manifest.counts.get(key)
    if not isinstance(found, int):
        raise DataError(f"count {key} of the hard set is {found!r}; remove the folder and mine again")
    return found
