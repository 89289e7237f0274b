"""What the answers to one question come to: Bayes over the machine's expectation and annotators who may slip.

One answer settles what the machine half expected; what it did not, or what was said by somebody who errs often, needs
another. `needs` annotators must agree in any case: merging two confirmed identities is not one person's word.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from facereview.claims import Claim
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
    """What the votes come to. Independent of their order; several votes of one annotator are one of `needs`.

    Probability of a statement: log-odds of the machine's chance, plus log((1 - e) / e) for each who makes it, less
    that of each who makes another of the same topic (naive Bayes, as of independent annotators).
    """
    if not votes:
        return Consensus(state="open", settled=())
    topics: dict[tuple[str, ...], dict[tuple[str, str | None], list[tuple[Vote, Claim]]]] = defaultdict(dict)
    for vote in sorted(votes, key=lambda vote: (vote.answered_at, vote.annotation_id)):
        for claim in vote.claims:
            topics[claim.topic].setdefault(claim.statement, []).append((vote, claim))
    settled = []
    is_disputed = False
    for statements in topics.values():
        is_disputed = is_disputed or len(statements) > 1
        found = [_weighed(statement, statements, needs, trust) for statement in statements]
        settled += [claim for claim in found if claim is not None]
    if not topics:
        return Consensus(state="no_answer", settled=())
    if len(settled) == len(topics):
        return Consensus(state="settled", settled=tuple(settled))
    return Consensus(state="disputed" if is_disputed else "unsettled", settled=tuple(settled))


def _weighed(
    statement: tuple[str, str | None],
    statements: Mapping[tuple[str, str | None], Sequence[tuple[Vote, Claim]]],
    needs: int,
    trust: Trust,
) -> Settled | None:
    votes = [vote for vote, _ in statements[statement]]
    chances = [claim.chance for _, claim in statements[statement] if claim.chance is not None]
    chance = min(max(chances[0] if chances else 0.5, _SUREST), 1 - _SUREST)
    against = [vote for other, pairs in statements.items() if other != statement for vote, _ in pairs]
    log_odds = (
        math.log(chance / (1 - chance))
        + sum(trust.weight(vote.annotator) for vote in votes)
        - sum(trust.weight(vote.annotator) for vote in against)
    )
    probability = 1 / (1 + math.exp(-log_odds))
    if probability < trust.certainty or len({vote.annotator for vote in votes}) < needs:
        return None
    return Settled(claim=statements[statement][0][1], votes=tuple(votes), probability=probability)
