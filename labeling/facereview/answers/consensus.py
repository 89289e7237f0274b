"""What the answers to one question come to: Bayes over the machine's expectation and annotators who may slip.

One answer settles what the machine half expected; what it did not, or what was said by somebody who errs often, needs
another. `needs` annotators must agree in any case: merging two confirmed identities is not one person's word.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from facereview.answers.claims import Claim
from facestore.errors import ConfigError
from facestore.questions import QuestionState

_SUREST = 1e-3  # the machine alone never rules an answer out


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How far answers are believed. Raises ConfigError for a value outside its range."""

    certainty: float  # probability from which a claim counts, in (0.5, 1)
    error_rate: float  # of an annotator about whom nothing is known, in (0, 0.5)
    error_rates: Mapping[str, float]  # of the others, by annotator, in (0, 0.5]

    def __post_init__(self) -> None:
        rates = (self.error_rate, *self.error_rates.values())
        if not 0.5 < self.certainty < 1 or not all(0 < rate <= 0.5 for rate in rates):
            raise ConfigError("certainty lies inside (0.5, 1), error rates inside (0, 0.5]; correct the params")

    def weight(self, annotator: str) -> float:
        """What the annotator's word adds to the log-odds, >= 0."""
        rate = self.error_rates.get(annotator, self.error_rate)
        return math.log((1 - rate) / rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One annotator's claims, as they stand now."""

    annotator: str
    annotation_id: int
    version: int
    answered_at: datetime  # UTC
    claims: tuple[Claim, ...]
    unique_id: str = ""  # of the annotation, where annotation ids may come twice
    decides: bool = False  # given where somebody is asked to decide: it counts whatever the odds


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A claim that counts, and those who made it."""

    claim: Claim
    votes: tuple[Vote, ...]
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Consensus:
    state: QuestionState
    settled: tuple[Settled, ...]


def agree(votes: Sequence[Vote], *, needs: int, trust: Trust) -> Consensus:
    """What the votes come to. Independent of their order; of several votes of one annotator the latest is his word.

    Probability of a claim: log-odds of the machine's chance, plus log((1 - e) / e) for each who makes it, less that of
    each who contradicts it (naive Bayes, as of independent annotators). The latest vote that decides counts with any
    probability, and nothing that contradicts it does; `needs` holds for it too.
    """
    if not votes:
        return Consensus(state="open", settled=())
    last_words = {vote.annotator: vote for vote in sorted(votes, key=_when)}
    said: dict[Claim, list[Vote]] = defaultdict(list)
    for vote in sorted(last_words.values(), key=_when):
        for claim in set(vote.claims):
            said[claim].append(vote)
    if not said:
        return Consensus(state="no_answer", settled=())
    deciding = [vote for vote in sorted(last_words.values(), key=_when) if vote.decides][-1:]
    decided = {claim for vote in deciding for claim in vote.claims}
    claims = sorted(said, key=repr)
    against = {claim: [other for other in claims if claim.contradicts(other)] for claim in claims}
    likely: dict[Claim, Settled] = {}
    for claim in claims:
        opposed = {vote.annotator: vote for other in against[claim] for vote in said[other]}
        log_odds = _machine(claim) + _weight(said[claim], trust) - _weight(list(opposed.values()), trust)
        probability = 1 / (1 + math.exp(-log_odds))
        is_believed = claim in decided or (
            probability >= trust.certainty and not any(claim.contradicts(other) for other in decided)
        )
        if is_believed and len(said[claim]) >= needs:
            likely[claim] = Settled(claim=claim, votes=tuple(said[claim]), probability=probability)
    # The machine may expect two things that cannot both be; then people who differ do not make both true.
    settled = {claim: found for claim, found in likely.items() if not likely.keys() & set(against[claim])}
    waiting = [claim for claim in claims if claim not in settled and not settled.keys() & set(against[claim])]
    state: QuestionState = "settled" if not waiting else "unsettled"
    if any(against[claim] for claim in waiting):
        state = "disputed"
    return Consensus(state=state, settled=tuple(settled.values()))


def _when(vote: Vote) -> tuple[datetime, int, str, int, str, str]:
    return vote.answered_at, vote.annotation_id, vote.unique_id, vote.version, vote.annotator, repr(vote.claims)


def _machine(claim: Claim) -> float:
    """Log-odds of what the machine expected."""
    chance = 0.5 if claim.chance is None else min(max(claim.chance, _SUREST), 1 - _SUREST)
    return math.log(chance / (1 - chance))


def _weight(votes: Sequence[Vote], trust: Trust) -> float:
    return sum(trust.weight(vote.annotator) for vote in votes)
