"""Proposed identities of which nobody is in doubt, for people to confirm: what attributes and honeypots rest on."""

from collections import defaultdict
from collections.abc import Collection, Iterator

import numpy as np
from scipy.special import logit

from faceloop.questions.candidates import CONFIDENCE_CLIP
from faceloop.questions.chance import evidence
from faceloop.questions.drafting import Doubts
from faceloop.questions.drafts import Draft, Option
from faceloop.questions.plan_params import SelectParams
from faceloop.questions.selection import prior_chance
from faceloop.questions.situation import Situation

_FEWEST_NODES = 3  # one to compare with, and two


def draft_confirmations(
    situation: Situation, doubts: Doubts, busy: Collection[int], params: SelectParams
) -> Iterator[Draft]:
    """A grid for each proposed identity, most faces first, with its least sure members. `busy` clusters are left out.

    Linear in nodes.
    """
    given = situation.given
    rows_of: dict[int, list[int]] = defaultdict(list)
    for row, label in enumerate(given.labels.tolist()):
        if label >= 0 and situation.shots[row]:
            rows_of[label].append(row)
    faces = {label: int(given.faces[rows].sum()) for label, rows in rows_of.items()}
    ids = given.nodes.node_ids
    for label in sorted(rows_of, key=lambda label: (-faces[label], min(ids[row] for row in rows_of[label]))):
        is_proposed = situation.identity(label) is not None and not situation.is_confirmed(label)
        if not is_proposed or label in busy or len(rows_of[label]) < _FEWEST_NODES:
            continue
        shown = [row for row in doubts.reference[label].tolist() if row >= 0 and situation.shots[row]]
        rest = [row for row in rows_of[label] if row != shown[0]]
        unsure = sorted(rest, key=lambda row: (float(situation.confidence[row]), ids[row]))[: params.members]
        options = tuple(_member(situation, row, label, faces[label], params) for row in unsure)
        yield Draft(
            kind="odd_ones_out",
            reason="proposed_identity",
            detail=f"{faces[label]} faces",
            rows=tuple(row for row in shown if row not in unsure)[: params.shots],
            label=label,
            options=options,
            is_inside=True,
            gain=sum((1 - option.chance) * option.pairs for option in options),
            seconds=params.seconds.odd_ones_out + params.seconds.member * len(options),
            margin=min(abs(option.margin) for option in options),
        )


def _member(situation: Situation, row: int, label: int, faces: int, params: SelectParams) -> Option:
    confidence = float(np.clip(situation.confidence[row], CONFIDENCE_CLIP, 1 - CONFIDENCE_CLIP))
    scale = situation.calibration.difference(params.confidence_scale_sigmas)
    margin = float(logit(confidence)) * scale
    own = float(situation.given.faces[row])
    return Option(
        rows=(row,),
        label=label,
        similarity=min(max(margin + situation.calibration.cosine(params.threshold_sigmas), -1.0), 1.0),
        chance=float(prior_chance("outlier").of(evidence(np.array([margin]), scale))[0]),
        margin=margin,
        pairs=own * max(faces - own, 1.0),
    )
