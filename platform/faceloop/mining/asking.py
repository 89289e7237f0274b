"""Doubtful pairs as questions: are these two faces one person? People's answers decide about the next version."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from faceloop.mining.pairs import Pair, Place, choose
from faceloop.mining.quarry import MinedFace, Quarry
from faceloop.mining.request import MiningRequest
from faceloop.questions.beliefs import TopicKind
from faceloop.questions.chance import evidence
from faceloop.questions.plan_params import SelectParams
from faceloop.questions.selection import prior_chance
from facereview.kinds import SamePerson, Strip, ask
from facestore.questions import Question

Float64Array = NDArray[np.float64]
_PAIRS_OF_IDENTITY = 2  # asked about: the next run asks further


def draft_questions(
    doubtful: Iterable[Pair], quarry: Quarry, request: MiningRequest, params: SelectParams, *, model_version: str
) -> list[Question]:
    """Up to `most_questions`, and what `minutes` of people answer; most worth first: pairs of faces that an answer is
    expected to put right, a second."""
    limit = request.most_questions
    if request.minutes is not None:
        limit = min(limit, int(request.minutes * 60 / params.seconds.same_person))
    chosen: list[Pair] = []
    pairs = list(doubtful)
    for kind in ("hard_positive", "hard_negative"):
        found = choose(
            [pair for pair in pairs if pair.kind == kind],
            count=limit,
            per_identity=_PAIRS_OF_IDENTITY,
            per_face=1,
            place=Place(order="hardest", seed=request.seed),
        )
        chosen += found.pairs
    face_of = {face.face_id: face for face in quarry.faces}
    members: dict[str, list[MinedFace]] = defaultdict(list)
    for face in sorted(quarry.faces, key=lambda one: (-one.quality, one.face_id)):
        members[face.identity_id].append(face)
    asked = [_question(pair, quarry, face_of, members, request, params, model_version) for pair in chosen]
    return sorted(asked, key=lambda question: (-round(question.gain / question.seconds, 9), question.question_id))[
        :limit
    ]


def _question(
    pair: Pair,
    quarry: Quarry,
    face_of: dict[str, MinedFace],
    members: dict[str, list[MinedFace]],
    request: MiningRequest,
    params: SelectParams,
    model_version: str,
) -> Question:
    is_inside = pair.kind == "hard_positive"
    # inside an identity a strip shows its own tracklet only: the rest of the identity is what is in doubt
    strips = [
        Strip(face_ids=_strip(face_of[face], members[name], params.shots, of_tracklet=is_inside), identity_id=name)
        for face, name in zip(pair.faces, (pair.first_identity_id, pair.second_identity_id), strict=True)
    ]
    if is_inside and set(strips[0].face_ids) & set(strips[1].face_ids):
        strips = [Strip(face_ids=strip.face_ids[:1], identity_id=strip.identity_id) for strip in strips]
    chance = _chance_of_one_person(pair, quarry, request, params)
    sizes = [len(members[name]) for name in pair.identities]
    return ask(
        SamePerson(left=strips[0], right=strips[1], similarity=round(pair.similarity, 4), chance=round(chance, 4)),
        subset=face_of[pair.first_face_id].subset,
        reason="weak_member" if is_inside else "bridge_between_identities",
        reason_detail=f"wanted for hard set {request.name}",
        model_version=model_version,
        chance=round(max(chance, 1 - chance), 4),
        gain=round((1 - chance) * (sizes[0] - 1) if is_inside else chance * sizes[0] * sizes[-1], 6),
        seconds=params.seconds.same_person,
        needs=1,
    )


def _chance_of_one_person(pair: Pair, quarry: Quarry, request: MiningRequest, params: SelectParams) -> float:
    """As `select` reckons it, from how far the pair is from being beyond doubt."""
    scale = params.confidence_scale_sigmas

    def chance(kind: TopicKind, margin_sigmas: float) -> float:
        return float(prior_chance(kind).of(evidence(np.array([margin_sigmas], np.float64), scale))[0])

    if pair.kind == "hard_positive":
        return chance("outlier", pair.support_sigmas - request.sure.witness_sigmas)
    if pair.doubt == "maybe_one_person":
        first, second = (_mean(quarry, name) for name in (pair.first_identity_id, pair.second_identity_id))
        return chance("merge", quarry.calibration.sigmas(float(first @ second)) - params.threshold_sigmas)
    return 1 - chance("outlier", pair.support_sigmas)


def _mean(quarry: Quarry, identity_id: str) -> Float64Array:
    rows = quarry.identity == quarry.identity_ids.index(identity_id)
    return np.asarray(quarry.vectors[rows].mean(axis=0, dtype=np.float64), np.float64)


def _strip(face: MinedFace, members: Sequence[MinedFace], shots: int, *, of_tracklet: bool) -> tuple[str, ...]:
    mates = [one for one in members if not of_tracklet or one.tracklet_id == face.tracklet_id]
    others = [one.face_id for one in mates if one.face_id != face.face_id]
    return (face.face_id, *others)[:shots]
