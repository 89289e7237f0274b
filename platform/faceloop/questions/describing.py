"""Faces of confirmed identities whose attributes nobody has described yet, with what the face tables say of them."""

from collections.abc import Iterator, Set

from scipy.special import ndtr

from faceloop.questions.audits import lot
from faceloop.questions.drafts import QuestionReason
from faceloop.questions.plan_params import SelectParams
from faceloop.questions.situation import Sight, Situation, strip_faces
from facereview.kinds import Attributes, Prediction, Strip, ask
from facestore.questions import Question

_REASON: QuestionReason = "not_described_yet"
_TURNED_DEG = 25.0  # of yaw, from which a face is not frontal
_YAW_ERROR_DEG = 10.0  # of the pose from five landmarks, see vision/pose.py
_BARE_UP_TO = 0.05  # occlusion estimate of most faces that nothing covers
_BARE_SCORE = 0.8
_LEAST_SCORE = 0.6  # a prediction below says nothing


def faces_to_describe(situation: Situation, described: Set[str], params: SelectParams) -> Iterator[Question]:
    """One question for each node of a confirmed identity of which no face is described, in a seeded random order.

    `described` are faces with attributes that people gave.
    """
    labels = situation.given.labels.tolist()
    rows = [
        row
        for row, shots in enumerate(situation.shots)
        if shots and labels[row] >= 0 and situation.is_confirmed(labels[row]) and described.isdisjoint(shots)
    ]
    ids = situation.given.nodes.node_ids
    for row in sorted(rows, key=lambda row: lot(params.seed, "attributes", ids[row])):
        sight = situation.best_sight(row)
        predictions = tuple(predicted(sight))
        yield ask(
            Attributes(
                strip=Strip(
                    face_ids=strip_faces(situation, [row], params.shots), identity_id=situation.identity(labels[row])
                ),
                predictions=predictions,
            ),
            subset=sight.subset,
            reason=_REASON,
            model_version=situation.model_version,
            chance=min((prediction.score for prediction in predictions), default=0.0),
            gain=0.0,
            seconds=params.seconds.attributes,
        )


def predicted(sight: Sight) -> Iterator[Prediction]:
    """Values that the face tables give reason for. The sides of a pose are those of the picture."""
    past_left, past_right = (_beyond(angle) for angle in (-sight.yaw, sight.yaw))
    scores = {"frontal": 1 - past_left - past_right, "left": past_left, "right": past_right}
    value, score = max(scores.items(), key=lambda entry: entry[1])
    if score >= _LEAST_SCORE:
        yield Prediction(name="pose", value=value, score=round(score, 4))
    if sight.occlusion <= _BARE_UP_TO:
        yield Prediction(name="occlusion", value="none", score=_BARE_SCORE)


def _beyond(angle_deg: float) -> float:
    """Probability that the true angle is above the bound, for a normal error."""
    return float(ndtr((angle_deg - _TURNED_DEG) / _YAW_ERROR_DEG))
