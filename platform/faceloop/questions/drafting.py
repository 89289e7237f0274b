"""All questions about who is who that are worth a thought, each with what an answer is expected to put right.

Several may be about the same doubt: a grid and the pairs within it, a probe with three candidates and the pairs of it.
Which of them is asked is for `arrange.py` to say.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from faceloop.clustering.knn import SearchParams, row_dots
from faceloop.questions.candidates import CandidateParams, Candidates, best_shots, find_candidates
from faceloop.questions.chance import evidence
from faceloop.questions.drafts import Draft, Option, QuestionReason
from faceloop.questions.plan_params import SelectParams
from faceloop.questions.selection import prior_chance
from faceloop.questions.situation import Situation

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
SEARCH = SearchParams(flat_rows_max=50_000, probes=8, block_rows=2048, device="cpu")
_FEWEST_MEMBERS = 2  # of a grid: one is a pair
_LARGEST_COMMITTEE = 16
_CLIP = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """Every doubt with its chance; what is surely right is not among them."""

    merges: tuple[tuple[Option, Option], ...]  # the two sides, each as the other sees it
    splits: tuple[tuple[tuple[int, ...], Option], ...]  # shots of the first half, the second half
    members: tuple[Option, ...]  # one node each, as its cluster sees it
    reference: Int64Array  # (labels, shots + 1) nodes that show each cluster, -1 where there are fewer


def find_doubts(situation: Situation, params: SelectParams) -> Doubts:
    """Merges, splits and members of which geometry, keys and the committee are not sure. Linear in nodes."""
    calibration = situation.calibration
    looking = CandidateParams(
        threshold=calibration.cosine(params.threshold_sigmas),
        confidence_scale=calibration.difference(params.confidence_scale_sigmas),
        neighbours=params.neighbours,
        search=SEARCH,
    )
    given = situation.given
    found = find_candidates(given, situation.confidence, looking)
    by_kind = {candidates.kind: candidates for candidates in found}
    reference = best_shots(given, given.labels, given.count, params.shots + 1)
    return Doubts(
        merges=tuple(_merges(situation, by_kind["merge"], reference, looking, params)) if found else (),
        splits=tuple(_splits(by_kind["split"], params)) if found else (),
        members=tuple(_members(situation, by_kind["outlier"], params)) if found else (),
        reference=reference,
    )


def draft_questions(situation: Situation, doubts: Doubts, params: SelectParams) -> list[Draft]:
    """Every question that could be asked now, most worth first; equal ones by their nodes' ids."""
    drafts = [
        *chain.from_iterable(_pair(situation, sides, params) for sides in doubts.merges),
        *_probes(situation, doubts, params),
        *(_halves(shots, half, params) for shots, half in doubts.splits),
        *chain.from_iterable(_weak(situation, doubts, member, params) for member in doubts.members),
        *_grids(situation, doubts, params),
    ]
    ids = situation.given.nodes.node_ids

    def place(draft: Draft) -> tuple[float, str, list[str]]:
        return -round(draft.rate, 9), draft.kind, [ids[draft.rows[0]], *(ids[one.rows[0]] for one in draft.options)]

    shown = [draft for draft in drafts if all(situation.shots[rows[0]] for rows in _sides(draft))]
    return sorted(shown, key=place)


def _sides(draft: Draft) -> Iterator[tuple[int, ...]]:
    yield draft.rows
    yield from (option.rows for option in draft.options)


def _merges(
    situation: Situation, found: Candidates, reference: Int64Array, looking: CandidateParams, params: SelectParams
) -> Iterator[tuple[Option, Option]]:
    keys = situation.shared_keys
    pairs = list(zip(found.first_label.tolist(), found.second_label.tolist(), strict=True))
    rest = np.array(sorted(keys.keys() - set(pairs)), np.int64).reshape(-1, 2)
    similarity = situation.given.clusters().similarity(rest[:, 0], rest[:, 1]).astype(np.float64)
    margin = np.concatenate([found.margin, similarity - looking.threshold])
    seen = np.concatenate([found.evidence, evidence(margin[len(found) :], looking.confidence_scale)])
    faces = _faces(situation)
    for place, chance in enumerate(prior_chance("merge").of(seen).tolist()):
        first, second = pairs[place] if place < len(pairs) else rest[place - len(pairs)].tolist()
        identity = situation.identity(first)
        if identity is not None and identity == situation.identity(second):
            continue  # labels have joined what clusters did not
        if (first, second) in keys:
            chance = float(expit(logit(np.clip(chance, _CLIP, 1 - _CLIP)) + params.key_log_odds))
        if chance < params.lowest_chance:
            continue
        option = Option(
            rows=_rows(reference[first])[: params.shots],
            label=first,
            similarity=float(margin[place]) + looking.threshold,
            chance=chance,
            margin=float(margin[place]),
            pairs=float(faces[first] * faces[second]),
        )
        yield option, replace(option, rows=_rows(reference[second])[: params.shots], label=second)


def _splits(found: Candidates, params: SelectParams) -> Iterator[tuple[tuple[int, ...], Option]]:
    chances = prior_chance("split").of(found.evidence)
    for place in np.flatnonzero(1 - chances >= params.lowest_chance).tolist():
        yield (
            _rows(found.first_shots[place]),
            Option(
                rows=_rows(found.second_shots[place]),
                label=int(found.second_label[place]),
                similarity=float(found.similarity[place]),
                chance=float(chances[place]),
                margin=float(found.margin[place]),
                pairs=float(found.pairs[place]),
            ),
        )


def _members(situation: Situation, found: Candidates, params: SelectParams) -> Iterator[Option]:
    chances = prior_chance("outlier").of(found.evidence)
    vectors = situation.given.nodes.vectors
    row, beside = found.first_shots[:, 0], found.second_shots[:, 0]
    similarity = row_dots(vectors, row, vectors, beside)
    for place in np.flatnonzero(1 - chances >= params.lowest_chance).tolist():
        yield Option(
            rows=(int(row[place]),),
            label=int(found.first_label[place]),
            similarity=float(similarity[place]),
            chance=float(chances[place]),
            margin=float(found.margin[place]),
            pairs=float(found.pairs[place]),
        )


def _faces(situation: Situation) -> Int64Array:
    given = situation.given
    is_in = given.labels >= 0
    return np.bincount(given.labels[is_in], given.faces[is_in], given.count).astype(np.int64)


def _pair(situation: Situation, sides: tuple[Option, Option], params: SelectParams) -> Iterator[Draft]:
    first, second = sides
    names = [situation.identity(option.label) for option in sides]
    keys = situation.shared_keys.get((first.label, second.label), 0)
    by_count: tuple[QuestionReason, ...] = ("unknown_pair", "unknown_near_identity", "bridge_between_identities")
    yield Draft(
        kind="same_person",
        reason="key_says_same" if keys else by_count[sum(name is not None for name in names)],
        detail=f"{keys} shared key{'s' if keys > 1 else ''}" if keys else _likeness(first.similarity),
        rows=first.rows,
        label=first.label,
        options=(second,),
        is_inside=False,
        gain=first.chance * first.pairs,
        seconds=params.seconds.same_person,
        margin=abs(first.margin),
    )


def _probes(situation: Situation, doubts: Doubts, params: SelectParams) -> Iterator[Draft]:
    """Somebody unknown beside the identities that resemble him most; with one alone it is a pair."""
    near: dict[int, list[tuple[Option, Option]]] = defaultdict(list)
    for sides in doubts.merges:
        for probe, other in (sides, sides[::-1]):
            if situation.identity(probe.label) is None and situation.identity(other.label) is not None:
                near[probe.label].append((probe, other))
    for label, found in near.items():
        ranked = sorted(found, key=lambda sides: (-sides[1].chance, -sides[1].similarity, sides[1].label))
        best: dict[str | None, tuple[Option, Option]] = {}
        for probe, other in ranked:
            best.setdefault(situation.identity(other.label), (probe, other))
        chosen = list(best.values())[: params.candidates]
        if len(chosen) < 2:
            continue
        total = max(1.0, sum(other.chance for _, other in chosen))
        options = tuple(replace(other, chance=other.chance / total) for _, other in chosen)
        yield Draft(
            kind="who_is_this",
            reason="unknown_near_identity",
            detail=_likeness(options[0].similarity),
            rows=chosen[0][0].rows,
            label=label,
            options=options,
            is_inside=False,
            gain=sum(option.chance * option.pairs for option in options),
            seconds=params.seconds.who_is_this + params.seconds.candidate * len(options),
            margin=min(abs(option.margin) for option in options),
        )


def _halves(shots: tuple[int, ...], half: Option, params: SelectParams) -> Draft:
    return Draft(
        kind="same_person",
        reason="two_halves",
        detail=_likeness(half.similarity),
        rows=shots,
        label=half.label,
        options=(half,),
        is_inside=True,
        gain=(1 - half.chance) * half.pairs,
        seconds=params.seconds.same_person,
        margin=abs(half.margin),
    )


def _weak(situation: Situation, doubts: Doubts, member: Option, params: SelectParams) -> Iterator[Draft]:
    beside = _beside(doubts, member.label, {member.rows[0]}, params.shots)
    share = situation.differing.get(member.rows[0])
    if beside:
        yield Draft(
            kind="same_person",
            reason="weak_member" if share is None else "committee_differs",
            detail=_likeness(member.similarity) if share is None else _votes(share),
            rows=beside,
            label=member.label,
            options=(member,),
            is_inside=True,
            gain=_worth(member),
            seconds=params.seconds.same_person,
            margin=abs(member.margin),
        )


def _grids(situation: Situation, doubts: Doubts, params: SelectParams) -> Iterator[Draft]:
    """One for each cluster with several doubtful members: as many as raise what a second of looking brings."""
    ids = situation.given.nodes.node_ids
    by_label: dict[int, list[Option]] = defaultdict(list)
    for member in doubts.members:
        if situation.shots[member.rows[0]]:
            by_label[member.label].append(member)
    for label, members in by_label.items():
        typical = _rows(doubts.reference[label])[:1]  # somebody has to be compared with
        others = [member for member in members if member.rows != typical]
        ranked = sorted(others, key=lambda member: (-_worth(member), ids[member.rows[0]]))
        chosen: list[Option] = []
        gain, seconds = 0.0, params.seconds.odd_ones_out
        for member in ranked[: params.members]:
            is_worth_it = _worth(member) * seconds >= gain * params.seconds.member
            if len(chosen) >= _FEWEST_MEMBERS and not is_worth_it:
                break
            chosen.append(member)
            gain, seconds = gain + _worth(member), seconds + params.seconds.member
        beside = _beside(doubts, label, {member.rows[0] for member in chosen}, params.shots)
        if len(chosen) < _FEWEST_MEMBERS or not beside:
            continue
        shares = [share for member in chosen if (share := situation.differing.get(member.rows[0])) is not None]
        yield Draft(
            kind="odd_ones_out",
            reason="committee_differs" if shares else "weak_member",
            detail=_votes(max(shares)) if shares else _likeness(min(member.similarity for member in chosen)),
            rows=beside,
            label=label,
            options=tuple(sorted(chosen, key=lambda member: (member.chance, ids[member.rows[0]]))),
            is_inside=True,
            gain=gain,
            seconds=seconds,
            margin=min(abs(member.margin) for member in chosen),
        )


def _worth(member: Option) -> float:
    return (1 - member.chance) * member.pairs


def _beside(doubts: Doubts, label: int, left_out: set[int], shots: int) -> tuple[int, ...]:
    return tuple(row for row in _rows(doubts.reference[label]) if row not in left_out)[:shots]


def _rows(shots: Sequence[int] | Int64Array) -> tuple[int, ...]:
    return tuple(int(row) for row in shots if row >= 0)


def _likeness(similarity: float) -> str:
    return f"similarity {similarity:.2f}"


def _votes(share: float) -> str:
    of = Fraction(share).limit_denominator(_LARGEST_COMMITTEE)
    return f"{of.numerator} of {of.denominator} models differ"
