"""Drafts as the questions that people see: strips of faces instead of nodes."""

import math
from collections.abc import Sequence

from faceloop.questions.drafts import Draft, Option
from faceloop.questions.plan_params import SelectParams
from faceloop.questions.situation import Situation, strip_faces
from facereview.kinds import Candidate, Member, OddOnesOut, SamePerson, Strip, Subject, WhoIsThis, ask
from facestore.questions import Question

_MARKED_BELOW = 0.5  # chance of a member that is marked beforehand as no such person


def as_question(draft: Draft, situation: Situation, params: SelectParams) -> Question:
    """What is shown and asked. Merging two identities that people confirmed needs a quorum."""
    needs = 1
    if not draft.is_inside and draft.kind == "same_person" and all(map(situation.is_confirmed, draft.labels)):
        needs = params.quorum
    return ask(
        _subject(draft, situation, params),
        subset=situation.best_sight(draft.rows[0]).subset,
        reason=draft.reason,
        reason_detail=draft.detail,
        model_version=situation.model_version,
        chance=_filled_in(draft),
        gain=draft.gain,
        seconds=draft.seconds,
        needs=needs,
    )


def _subject(draft: Draft, situation: Situation, params: SelectParams) -> Subject:
    def strip(rows: Sequence[int], label: int) -> Strip:
        return Strip(face_ids=strip_faces(situation, rows, params.shots), identity_id=situation.identity(label))

    first = strip(draft.rows, draft.label)
    match draft.kind:
        case "same_person":
            (second,) = draft.options
            return SamePerson(
                left=first,
                right=strip(second.rows, second.label),
                similarity=_similarity(second),
                chance=_chance(second.chance),
            )
        case "odd_ones_out":
            members = tuple(
                Member(
                    face_id=situation.shots[member.rows[0]][0],
                    chance=_chance(member.chance),
                    is_doubtful=member.chance < _MARKED_BELOW,
                )
                for member in draft.options
            )
            return OddOnesOut(reference=first, members=members)
        case "who_is_this":
            candidates = tuple(
                Candidate(
                    strip=strip(option.rows, option.label),
                    similarity=_similarity(option),
                    chance=_chance(option.chance),
                )
                for option in draft.options
            )
            return WhoIsThis(probe=first, candidates=candidates)


def _filled_in(draft: Draft) -> float:
    """Chance that the answer which is filled in beforehand is right."""
    chances = [option.chance for option in draft.options]
    if draft.kind == "who_is_this":
        return _chance(max(chances[0], 1 - sum(chances)))
    return _chance(math.prod(max(chance, 1 - chance) for chance in chances))


def _similarity(option: Option) -> float:
    return round(min(max(option.similarity, -1.0), 1.0), 4)


def _chance(chance: float) -> float:
    return round(min(max(chance, 0.0), 1.0), 4)
