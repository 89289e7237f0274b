"""Error rates of annotators, as probabilities: known truths, other people's words and the machine's guess in one model.

One-coin Dawid & Skene 1979 (as in Zhang et al. 2014, arXiv 1406.3824): an annotator errs on a topic with one
probability, whatever the topic, and a wrong word is any of the others. The truth of a topic is known (honeypot) or
latent; a latent one is believed from the machine's chances and from what others said, weighed by their own error rates.
Each rate has a Beta prior, and its posterior is kept whole on a grid: few answers leave it wide.

Suffixes of arrays: a annotators, g error rates of the grid, t topics, w words of a topic, s sayings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facereview.quality.topics import Topic

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

_STEPS_G: Floats = (np.arange(200) + 0.5) / 200
RATES_G: Floats = _STEPS_G**3 / 2  # the error rates that are considered, inside (0, 0.5), denser near 0
_LOG_WIDTHS_G: Floats = 2 * np.log(_STEPS_G)  # of each the part of (0, 0.5) that it stands for, but for a constant
_ROUNDS = 100
_STILL = 1e-6  # largest change of a rate at which the rounds end
_LEAST = 1e-3  # nobody is beyond doubt while truths are guessed


def rate_posteriors(
    topics: Sequence[Topic],
    annotators: Sequence[str],
    *,
    prior_error: float,
    prior_weight: float,
    machine_limit: float,
) -> Floats:
    """Probability of each rate of `RATES_G`, shape (annotators, rates), rows sum to 1; given the others' mean rates.

    The prior is Beta with mean `prior_error` and the weight of so many answers. `machine_limit` in [0.5, 1) is how sure
    the machine may be of a truth that is not known; at 0.5 only people count. `topics` is not empty and in a fixed
    order; every annotator in it is among `annotators`.
    """
    said = _Said.of(topics, annotators, machine_limit)
    log_beta_g = (prior_error * prior_weight - 1) * np.log(RATES_G)
    log_beta_g += _LOG_WIDTHS_G + ((1 - prior_error) * prior_weight - 1) * np.log1p(-RATES_G)
    rate_a = np.full(len(annotators), prior_error)
    posterior_ag = np.zeros((len(annotators), len(RATES_G)))
    own_rows = [np.flatnonzero(said.annotator_s == place) for place in range(len(annotators))]
    for _ in range(_ROUNDS):
        right_s = said.chance_right(rate_a)
        wrong_s = (1 - right_s) / said.others_t[said.topic_s]
        log_ag = np.tile(log_beta_g, (len(annotators), 1))
        for place, own in enumerate(own_rows):
            log_sg = np.log(right_s[own, None] * (1 - RATES_G) + wrong_s[own, None] * RATES_G)
            log_ag[place] += said.weight_s[own] @ log_sg
        posterior_ag = np.exp(log_ag - log_ag.max(axis=1, keepdims=True))
        posterior_ag /= posterior_ag.sum(axis=1, keepdims=True)
        before, rate_a = rate_a, posterior_ag @ RATES_G
        if np.abs(rate_a - before).max() < _STILL:
            break
    return posterior_ag


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """Every saying as a row, and what is believed of the truth of its topic."""

    topic_s: Indices
    annotator_s: Indices
    word_s: Indices
    weight_s: Floats
    log_prior_tw: Floats  # of the truth; -inf where it is known to be another, and beyond the topic's words
    others_t: Floats  # words of the topic besides one, at least 1

    @classmethod
    def of(cls, topics: Sequence[Topic], annotators: Sequence[str], machine_limit: float) -> "_Said":
        place = {name: number for number, name in enumerate(annotators)}
        words = [_words(topic) for topic in topics]
        log_prior_tw = np.full((len(topics), max(len(some) for some in words)), -np.inf)
        for row, (topic, some) in enumerate(zip(topics, words, strict=True)):
            if topic.right is None:
                log_prior_tw[row, : len(some)] = np.log(_prior(topic, some, machine_limit))
            else:
                log_prior_tw[row, some.index(topic.right)] = 0.0
        sayings = [(row, saying) for row, topic in enumerate(topics) for saying in topic.sayings]
        return cls(
            topic_s=np.array([row for row, _ in sayings], np.intp),
            annotator_s=np.array([place[saying.annotator] for _, saying in sayings], np.intp),
            word_s=np.array([words[row].index(saying.word) for row, saying in sayings], np.intp),
            weight_s=np.array([topics[row].weight for row, _ in sayings]),
            log_prior_tw=log_prior_tw,
            others_t=np.array([len(some) - 1 for some in words], np.float64),
        )

    def chance_right(self, rate_a: Floats) -> Floats:
        """Of each saying that it is true, (s,), as the machine and everybody else see it."""
        rate_s = np.maximum(rate_a[self.annotator_s], _LEAST)
        rows = np.arange(len(rate_s))
        log_sw = np.repeat(np.log(rate_s / self.others_t[self.topic_s])[:, None], self.log_prior_tw.shape[1], axis=1)
        log_sw[rows, self.word_s] = np.log1p(-rate_s)
        log_tw = self.log_prior_tw.copy()
        np.add.at(log_tw, self.topic_s, log_sw)
        without_sw = log_tw[self.topic_s] - log_sw
        chance_sw = np.exp(without_sw - without_sw.max(axis=1, keepdims=True))
        found: Floats = chance_sw[rows, self.word_s] / chance_sw.sum(axis=1)
        return found


def _words(topic: Topic) -> list[str]:
    """That may be true: those said, the right one, those of which the machine has an idea; at least two."""
    known = {saying.word for saying in topic.sayings} | {word for word, _ in topic.chances} | {topic.right}
    words = sorted(word for word in known if word is not None)
    return words if len(words) > 1 else [*words, ""]


def _prior(topic: Topic, words: Sequence[str], limit: float) -> Floats:
    """Of each word that it is true, > 0, sum 1. Words of which the machine has no idea get an even share; what it says
    of the others is drawn towards even until none is above `limit`.
    """
    chances = dict(topic.chances)
    even = 1 / len(words)
    told = sum(chances.values())
    known = even * len(chances)
    prior_w = np.array([chances[word] / told * known if word in chances and told > 0 else even for word in words])
    top = float(prior_w.max())
    if top > limit or float(prior_w.min()) <= 0:
        mix = max(0.0, min((limit - even) / (top - even), 1 - 1e-6)) if top > even else 0.0
        prior_w = mix * prior_w + (1 - mix) * even
    normalised: Floats = prior_w / prior_w.sum()
    return normalised
