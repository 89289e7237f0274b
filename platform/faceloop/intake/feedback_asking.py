"""What people at a device claimed becomes questions: a feed cannot prove who spoke, an annotator who answers can."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceloop.boxes import pairwise_iou
from faceloop.decision_tables import read_logs
from faceloop.identity.current import Current, read_current
from faceloop.identity.resolve import aliases_of
from faceloop.intake.feedback_tables import FeedbackRow, read_events
from faceloop.params import section
from faceloop.questions.plan_params import SelectParams
from faceloop.review.access import with_review_log
from faceloop.review.offered import offer_beside_plan
from faceloop.runner import Workspace
from facereview.kinds import SamePerson, Strip, ask
from facestore.errors import StageError
from facestore.publish import read_manifest
from facestore.questions import Question
from facestore.records import Face, FaceEmbedding
from facestore.tables import column_matrix, read_columns

_SAME_FACE_IOU = 0.3  # of the box that production saw and the one found here
_NOBODY_KNOWS = 0.5  # a machine said one thing, a person another


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What became of the claims."""

    claims: int
    waiting: int  # questions about them that wait for an answer
    left: dict[str, int]  # reason → claims that are no question (yet)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sight:
    face_id: str
    subset: str
    bbox: tuple[float, ...]


def ask_about_claims(work: Workspace, *, now: datetime) -> Asked:
    """Offer a question for each claim whose picture has labels by now. Asked again, nothing is offered twice.

    Raises StageError before identify has run.
    """
    claims = [row for row in read_events(work.root) if row.claimed_identity_id is not None]
    if read_manifest(work.path("assignments")) is None:
        raise StageError(f"feedback: no identities in {work.root}; run the flow up to identify first")
    events = read_logs(work).events
    current = read_current(faces=work.path("faces"), assignments=work.path("assignments"), events=events)
    seen = _seen(work, {row.footage_id for row in claims})
    aliases = aliases_of(events)
    params = section(work.tree, "select", SelectParams)
    left, pairs = Counter[str](), list[tuple[FeedbackRow, _Sight, str]]()
    for row in claims:
        identity = aliases.get(str(row.claimed_identity_id), str(row.claimed_identity_id))
        sight = _meant(row, seen.get(row.footage_id, []))
        label = current.labels.get(sight.face_id) if isinstance(sight, _Sight) else None
        if isinstance(sight, str):
            left[sight] += 1
        elif label is None or not _others(current, identity, sight.face_id):
            left["claim_of_nobody"] += 1
        elif label.identity_id == identity and label.state == "confirmed" and row.claim == "is":
            left["claim_confirmed"] += 1
        else:
            pairs.append((row, sight, identity))
    vectors = _vectors(work, pairs, current)
    questions = [_question(row, sight, identity, current, params, vectors) for row, sight, identity in pairs]
    unique = list({question.question_id: question for question in questions}.values())
    waiting = with_review_log(work, lambda log: offer_beside_plan(log, unique, now=now))
    return Asked(claims=len(claims), waiting=waiting, left=dict(sorted(left.items())))


def _seen(work: Workspace, footage: set[str]) -> dict[str, list[_Sight]]:
    table = read_columns(work.path("faces"), "faces", Face, ("face_id", "footage_id", "subset", "bbox", "rejected"))
    table = table.filter(pc.and_(table["rejected"].is_null(), pc.is_in(table["footage_id"], _texts(footage))))
    found: dict[str, list[_Sight]] = defaultdict(list)
    for row in table.to_pylist():
        sight = _Sight(face_id=row["face_id"], subset=row["subset"], bbox=tuple(row["bbox"]))
        found[row["footage_id"]].append(sight)
    return found


def _meant(row: FeedbackRow, sights: Sequence[_Sight]) -> _Sight | str:
    """The face that the event is about, or why it cannot be told."""
    box = (row.x1_px, row.y1_px, row.x2_px, row.y2_px)
    if not sights:
        return "claim_without_face"
    if None in box:
        return sights[0] if len(sights) == 1 else "claim_of_several_faces"
    overlaps = pairwise_iou(np.array(box, np.float32), np.array([sight.bbox for sight in sights], np.float32))[0]
    best = int(np.argmax(overlaps))
    return sights[best] if overlaps[best] >= _SAME_FACE_IOU else "claim_without_face"


def _others(current: Current, identity: str, face_id: str) -> list[str]:
    return [member.face.face_id for member in current.members(identity) if member.face.face_id != face_id]


def _vectors(
    work: Workspace, pairs: Sequence[tuple[FeedbackRow, _Sight, str]], current: Current
) -> dict[str, tuple[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]]:
    """Face → contract and unit vector, of the faces whose likeness is told."""
    wanted = {sight.face_id for _, sight, _ in pairs}
    wanted |= {_others(current, identity, sight.face_id)[0] for _, sight, identity in pairs}
    table = read_columns(work.path("embeddings"), "faces", FaceEmbedding, ("face_id", "contract_id", "embedding"))
    table = table.filter(pc.is_in(table["face_id"], _texts(wanted))).combine_chunks()
    names = zip(table["face_id"].to_pylist(), table["contract_id"].to_pylist(), strict=True)
    return {
        face: (contract, vector)
        for (face, contract), vector in zip(names, column_matrix(table, "embedding"), strict=True)
    }


def _texts(values: set[str]) -> pa.Array:
    return pa.array(sorted(values), pa.string())


def _question(
    row: FeedbackRow,
    sight: _Sight,
    identity: str,
    current: Current,
    params: SelectParams,
    vectors: dict[str, tuple[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]],
) -> Question:
    others = _others(current, identity, sight.face_id)
    nothing = ("", np.zeros(1, np.float32))
    (contract, one), (_, other) = (vectors.get(face, nothing) for face in (sight.face_id, others[0]))
    similarity = float(one @ other) if one.shape == other.shape else 0.0
    return ask(
        SamePerson(
            left=Strip(face_ids=(sight.face_id,)),
            right=Strip(face_ids=tuple(others[: params.shots]), identity_id=identity),
            similarity=round(similarity, 4),
            chance=_NOBODY_KNOWS,
        ),
        subset=sight.subset,
        reason="bridge_between_identities" if row.claim == "is" else "weak_member",
        reason_detail=f"claimed in feedback {row.event_id}",
        model_version=contract or row.contract_id,
        chance=_NOBODY_KNOWS,
        gain=round(_NOBODY_KNOWS * len(others), 6),
        seconds=params.seconds.same_person,
        needs=1,
    )
