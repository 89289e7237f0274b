"""Where people's word and geometry disagree. People win; it is told, never hidden."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.calibration import Calibration
from faceloop.identity.impact import strained_decisions
from faceloop.identity.roster import Roster
from facestore.decisions import Contradiction, Decision
from facestore.ids import ID_HEX, digest_of

Int64Array = NDArray[np.int64]
PEOPLE_FIRST = "people_first"
_SIGMAS = 3.09  # one pair of strangers in a thousand is so much alike


def against_vectors(effective: Sequence[Decision], roster: Roster, calibration: Calibration) -> list[Contradiction]:
    """`same` of two tracklets that resemble each other like strangers, `different` of two that do not, worst first."""
    found = strained_decisions(
        effective, roster.node_of_face, roster.nodes.vectors, threshold=calibration.cosine(_SIGMAS)
    )
    ranked = sorted(found, key=lambda strained: (-strained.margin, strained.decision_id))
    return [_told((strained.decision_id,), strained.face_ids) for strained in ranked]


def against_pictures(
    effective: Iterable[Decision], node_of_face: Mapping[str, int], lifted: Int64Array, best_face: Mapping[int, str]
) -> list[Contradiction]:
    """One picture shows both, people say they are one: a mirror, a collage, or a slip. `lifted` (p, 2) are nodes.

    `decision_ids` are the words said about the two nodes themselves; none where a chain ties them.
    """
    said: dict[tuple[int, int], list[str]] = {}
    for decision in effective:
        ends = [node_of_face.get(face) for face in (decision.face_id, decision.other_face_id) if face is not None]
        if decision.verb == "same" and len(ends) == 2 and ends[0] is not None and ends[1] is not None:
            said.setdefault((min(ends[0], ends[1]), max(ends[0], ends[1])), []).append(decision.decision_id)
    return [
        _told(tuple(sorted(said.get((first, second), []))), (best_face[first], best_face[second]))
        for first, second in lifted.tolist()
    ]


def _told(decision_ids: tuple[str, ...], face_ids: tuple[str, str]) -> Contradiction:
    return Contradiction(
        contradiction_id=digest_of(["geometry", list(decision_ids), list(face_ids)])[:ID_HEX],
        kind="geometry",
        decision_ids=decision_ids,
        face_ids=face_ids,
        set_aside=(),
        policy=PEOPLE_FIRST,
    )
