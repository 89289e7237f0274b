"""Where pairs are looked for: each source narrows the same quarry; the same rules tell hard from wrong in all."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from faceloop.clustering.knn import SearchParams
from faceloop.mining.disagreement import disagreeing, embed_with_candidate
from faceloop.mining.gather import Gathered
from faceloop.mining.gold import GoldFaces, gold_faces, is_gold
from faceloop.mining.misjudged import error_faces, like_errors
from faceloop.mining.negatives import find_negatives
from faceloop.mining.pairs import PairKind
from faceloop.mining.positives import Found, find_positives
from faceloop.mining.quarry import Narrowing, Quarry
from faceloop.mining.request import MiningRequest, Source
from faceloop.mining.returned import ReturnedFace, read_returned, returned_faces
from faceloop.mining.tracks import find_in_tracks
from faceloop.params import section
from faceloop.runner import Workspace
from faceloop.stages.evaluate import Params as EvaluateParams
from facestore.errors import StageError
from facestore.ids import digest_of
from facestore.publish import is_intact, read_manifest

FEEDBACK = "feedback"
_NEEDS: dict[Source, str] = {"evaluation_errors": "evaluation", "disagreement": "candidate"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundIn:
    """What one source gave, by kind."""

    source: Source
    by_kind: dict[PairKind, Found]


def source_digests(work: Workspace, request: MiningRequest) -> dict[str, str]:
    """What the sources and the acceptance of a request rest on, beside the labels: name → digest; nothing for a
    request without them. Raises StageError where an artifact is not published."""
    digests: dict[str, str] = {}
    if request.has_sources:
        digests["gold"] = gold_faces(work).digest
    for source in request.sources:
        if name := _NEEDS.get(source):
            manifest = read_manifest(work.path(name))
            if manifest is None or not is_intact(work.path(name), manifest):
                stage = "evaluate" if name == "evaluation" else "train"
                raise StageError(f"mine: source {source} needs {work.path(name)}; run {stage} first")
            digests[name] = manifest.digest
    if "feedback" in request.sources:
        digests[FEEDBACK] = digest_of([str(event) for event in read_returned(work.root / FEEDBACK)])
    if request.accept is not None:
        for name in ("evaluation", "candidate"):
            found = read_manifest(work.path(name))
            digests[name] = "" if found is None else found.digest
    return digests


def find_in_sources(
    work: Workspace, gathered: Gathered, request: MiningRequest, search: SearchParams, *, same_picture: float
) -> list[FoundIn]:
    """What each source of the request gives, in its order."""
    gold = gold_faces(work) if request.has_sources else GoldFaces(release=None, identity_of={})
    found = []
    for source in request.sources:
        left_out = Counter[str]()
        quarry = replace(
            gathered.quarry, narrowing=_narrowing(work, gathered.quarry, request, source, gold, search, left_out)
        )
        if source == "tracks":
            positives = find_in_tracks(quarry, request, search)
            negatives = Found(trusted=(), doubtful=(), left_out=Counter())
        else:
            positives = find_positives(quarry, request)
            negatives = find_negatives(quarry, request, search, same_picture=same_picture)
        kind: PairKind = "hard_positive" if request.hard_positives else "hard_negative"
        by_kind: dict[PairKind, Found] = {"hard_positive": positives, "hard_negative": negatives}
        by_kind[kind].left_out.update(left_out)
        found.append(FoundIn(source=source, by_kind=by_kind))
    return found


def _narrowing(
    work: Workspace,
    quarry: Quarry,
    request: MiningRequest,
    source: Source,
    gold: GoldFaces,
    search: SearchParams,
    left_out: Counter[str],
) -> Narrowing:
    is_barred = is_gold(quarry, gold)
    every = np.ones(len(quarry.faces), np.bool_)
    plain = Narrowing(source=source, is_focus=every, is_barred=is_barred, wants=None)
    match source:
        case "look_alikes" | "tracks":
            return plain
        case "angle_bands":
            low, high = request.angle_deg
            return replace(plain, is_focus=np.array([low <= abs(face.yaw) <= high for face in quarry.faces], np.bool_))
        case "evaluation_errors":
            params = section(work.tree, "evaluate", EvaluateParams)
            errors = error_faces(work.path("evaluation"), request.accept.far if request.accept else params.slices.far)
            return replace(plain, is_focus=like_errors(quarry, errors, is_barred, search, left_out))
        case "feedback":
            events: Sequence[ReturnedFace] = read_returned(work.root / FEEDBACK)
            return replace(plain, is_focus=returned_faces(quarry, events, work.path("faces"), left_out))
        case "disagreement":
            params = section(work.tree, "evaluate", EvaluateParams)
            second = embed_with_candidate(work, quarry, params, is_barred, seed=request.seed)
            left_out["faces_not_embedded_again"] += int((~second.is_embedded & quarry.is_wanted & ~is_barred).sum())
            far = request.accept.far if request.accept else params.slices.far
            return replace(plain, wants=disagreeing(quarry, second, far=far, seed=request.seed))
