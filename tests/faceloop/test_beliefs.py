from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from faceloop.clustering.constraints import Constraints, tie_groups
from faceloop.questions.beliefs import Topic, Trust, settle
from faceloop.questions.chance import EVIDENCE, Chance, evidence, learn
from facestore.errors import ConfigError, DataError

from .question_world import NO_PAIRS, NOTHING_KNOWN

TRUST = Trust(error_rate=0.03, certainty=0.9)


def topic(first: int, second: int, *answers: bool, chance: float = 0.5) -> Topic:
    return Topic(
        kind="merge",
        first_shots=(first,),
        second_shots=(second,),
        margin=0.0,
        evidence=(0.0,) * EVIDENCE,
        chance=chance,
        answers=answers,
    )


def test_an_answer_moves_the_odds_by_how_seldom_people_err() -> None:
    assert topic(0, 1, True).probability(TRUST) == pytest.approx(0.97)
    assert topic(0, 1, True, False).probability(TRUST) == pytest.approx(0.5)
    assert topic(0, 1, True, chance=0.02).probability(TRUST) == pytest.approx(0.02 * 0.97 / (0.02 * 0.97 + 0.98 * 0.03))


def test_one_answer_settles_what_geometry_half_expected_and_two_what_it_did_not() -> None:
    settled = settle([topic(0, 1, True, chance=0.3), topic(2, 3, True, chance=0.05)], NOTHING_KNOWN, TRUST)
    assert settled.is_settled == (True, False)
    assert settled.constraints.must_link.tolist() == [[0, 1]]
    settled = settle([topic(2, 3, True, True, chance=0.05)], NOTHING_KNOWN, TRUST)
    assert settled.constraints.must_link.tolist() == [[2, 3], [2, 3]]


def test_other_shots_are_shown_when_asked_again_and_only_those_that_agree_become_constraints() -> None:
    asked = Topic(
        kind="merge",
        first_shots=(0, 1),
        second_shots=(5, 6, 7),
        margin=0.0,
        evidence=(0.0,) * EVIDENCE,
        chance=0.5,
        answers=(True, False, True),
    )
    assert [asked.shots(time) for time in range(4)] == [(0, 5), (1, 6), (0, 7), (1, 5)]
    settled = settle([asked], NOTHING_KNOWN, TRUST)
    assert settled.constraints.must_link.tolist() == [[0, 5], [0, 7]]
    assert len(settled.constraints.cannot_link) == 0


def test_the_weakest_of_a_chain_that_cannot_all_be_right_is_refused() -> None:
    topics = [topic(0, 1, True, True), topic(1, 2, True, True), topic(0, 2, False)]
    settled = settle(topics, NOTHING_KNOWN, TRUST)
    assert settled.is_refused == (False, False, True)
    assert settled.constraints.cannot_link.tolist() == []
    topics[2] = topic(0, 2, False, False, False)  # asked again and said again: now one of the others must give way
    settled = settle(topics, NOTHING_KNOWN, TRUST)
    assert settled.is_refused == (False, True, False)


def test_two_faces_of_one_picture_are_not_one_person_whatever_anybody_says() -> None:
    known = Constraints(must_link=NO_PAIRS, cannot_link=np.array([[0, 2]]))
    settled = settle([topic(0, 1, True), topic(1, 2, *[True] * 5)], known, TRUST)
    assert settled.is_refused == (True, False)
    assert settled.constraints.cannot_link.tolist() == [[0, 2]]


def test_given_constraints_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(DataError, match="contradict"):
        settle([], Constraints(must_link=np.array([[0, 1]]), cannot_link=np.array([[1, 0]])), TRUST)


pairs = st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(lambda pair: pair[0] != pair[1])
told = st.lists(st.tuples(pairs, st.lists(st.booleans(), min_size=1, max_size=3), st.floats(0.01, 0.99)), max_size=14)


@settings(max_examples=150)
@given(told, st.lists(pairs, max_size=3))
def test_whatever_people_say_the_constraints_hold_together(rows, pictures) -> None:  # type: ignore[no-untyped-def]
    topics = [topic(*pair, *answers, chance=chance) for pair, answers, chance in rows]
    known = Constraints(must_link=NO_PAIRS, cannot_link=np.array(pictures, np.int64).reshape(-1, 2))
    settled = settle(topics, known, TRUST)
    tie_groups(settled.constraints, [str(node) for node in range(7)])  # raises where they contradict each other
    for one, is_settled, is_refused in zip(topics, settled.is_settled, settled.is_refused, strict=True):
        certain = max(one.probability(TRUST), 1 - one.probability(TRUST)) >= TRUST.certainty
        assert not (is_settled and is_refused)
        assert not is_settled or certain


@given(told)
def test_answers_of_people_who_are_right_are_never_refused(rows) -> None:  # type: ignore[no-untyped-def]
    truth = [0, 0, 0, 1, 1, 2, 2]
    topics = [topic(*pair, *[truth[pair[0]] == truth[pair[1]]] * len(answers)) for pair, answers, _ in rows]
    settled = settle(topics, NOTHING_KNOWN, TRUST)
    assert all(settled.is_settled)
    labels = tie_groups(settled.constraints, [str(node) for node in range(7)]).group_of
    for first, second in combinations(range(7), 2):
        assert labels[first] != labels[second] or truth[first] == truth[second]


def test_answers_teach_where_the_coin_toss_lies() -> None:
    rng = np.random.default_rng(0)
    prior = Chance(offset=0.0, weights=(1.0, 1.5, 0.7))
    margin = rng.uniform(-0.3, 0.1, 400)
    is_same = rng.random(400) < expit((margin + 0.1) / 0.05)  # the toss is at -0.1, not at 0
    learned = learn(prior, evidence(margin, 0.05), is_same)
    assert learned.of(evidence(np.array([-0.1]), 0.05))[0] == pytest.approx(0.5, abs=0.1)
    assert learned.weights[1:] == pytest.approx((1.5, 0.7))  # nothing was heard about these
    assert learn(prior, np.empty((0, EVIDENCE)), np.empty(0, np.bool_)) == prior


def test_large_clusters_need_more_similarity_than_lone_nodes() -> None:
    chance = Chance(offset=1.0, weights=(1.0, 1.5, 0.7))
    margin = np.full(3, -0.05)
    found = chance.of(evidence(margin, 0.05, smaller=np.array([1, 4, 400]), gap=np.zeros(3)))
    assert found[0] > 10 * found[1] > 10 * found[2]
    assert found[2] == chance.of(evidence(margin, 0.05, smaller=np.full(3, 8), gap=np.zeros(3)))[0]


def test_trust_out_of_range_is_refused() -> None:
    for error_rate, certainty in ((0.0, 0.9), (0.5, 0.9), (0.1, 0.5), (0.1, 1.0)):
        with pytest.raises(ConfigError):
            Trust(error_rate=error_rate, certainty=certainty)
