"""Skill: who errs how often, as far as answers tell, and what it does to decisions."""

import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facereview.answers.consensus import Vote, agree
from facereview.answers.outcome import votes_of
from facereview.kinds import SamePersonAnswer
from facereview.quality.skill import Skill, SkillParams, skills_of, to_recheck, trust_of
from facereview.quality.slips import RATES_G, rate_posteriors
from facereview.quality.topics import Saying, Topic, topics_of
from facestore.errors import ConfigError
from facestore.questions import AnnotationVersion, Question

from .answered import answered, came_to, pair

ROOT = Path(__file__).parents[2]
PARAMS = SkillParams(
    prior_error=0.03,
    prior_weight=10.0,
    machine_limit=0.8,
    careless_error=0.08,
    careless_certainty=0.5,
    least_error=0.03,
)
SAME = SamePersonAnswer(verdict="same")


@pytest.fixture
def annotators(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(ROOT)
    yield importlib.import_module("benchmarks.made_up_annotators")


def honeypots(count: int, wrong: int, annotator: str = "s/1") -> tuple[list[Question], list[AnnotationVersion]]:
    asked = [pair(number, expected=SAME) for number in range(count)]
    return asked, [
        answered(question, annotator, "different" if place < wrong else "same") for place, question in enumerate(asked)
    ]


def skill_after(count: int, wrong: int) -> Skill:
    (found,) = skills_of(topics_of(*honeypots(count, wrong)), PARAMS)
    return found


def beta_mean(count: int, wrong: int) -> float:
    """Of the same posterior, by a much finer grid."""
    rates = (np.arange(100_000) + 0.5) / 200_000
    log = (wrong + 0.3 - 1) * np.log(rates) + (count - wrong + 9.7 - 1) * np.log1p(-rates)
    weights = np.exp(log - log.max())
    return float((weights * rates).sum() / weights.sum())


@pytest.mark.parametrize(("count", "wrong"), [(10, 0), (10, 2), (40, 1), (60, 12)])
def test_honeypots_alone_give_the_posterior_of_a_bernoulli_rate(count: int, wrong: int) -> None:
    skill = skill_after(count, wrong)
    assert (skill.answers, skill.honeypots, skill.honeypots_wrong) == (count, count, wrong)
    assert skill.error_rate == pytest.approx(beta_mean(count, wrong), abs=2e-3)
    assert skill.error_low <= skill.error_rate <= skill.error_high


def test_intervals_close_in_with_answers() -> None:
    few, many = skill_after(10, 2), skill_after(100, 20)
    assert many.error_high - many.error_low < few.error_high - few.error_low
    assert many.is_careless
    assert many.error_low < 0.2 < many.error_high


@given(st.integers(1, 30), st.data())
@settings(max_examples=25, deadline=None)
def test_one_more_mistake_never_looks_better(count: int, data: st.DataObject) -> None:
    wrong = data.draw(st.integers(0, count - 1))
    less, more = skill_after(count, wrong), skill_after(count, wrong + 1)
    assert less.error_rate < more.error_rate
    assert less.careless <= more.careless


def test_the_one_whom_two_others_contradict_errs_more() -> None:
    asked = [pair(number) for number in range(20)]
    versions = [
        answered(question, f"s/{n}", "different" if n == 3 and place % 4 == 0 else "same")
        for place, question in enumerate(asked)
        for n in (1, 2, 3)
    ]
    first, second, third = skills_of(topics_of(asked, versions), PARAMS)
    assert first.error_rate == pytest.approx(second.error_rate)
    assert third.error_rate > 5 * first.error_rate
    assert first.agreement == pytest.approx((20 + 15) / 40)
    assert third.agreement == pytest.approx(15 / 20)
    assert [skill.is_careless for skill in (first, second, third)] == [False, False, True]


def test_an_answer_that_the_machine_expects_says_little_and_a_surprising_one_more() -> None:
    def rate(verdict: str) -> float:
        asked = [pair(number, chance=0.95) for number in range(20)]
        versions = [answered(question, "s/1", verdict) for question in asked]
        return skills_of(topics_of(asked, versions), PARAMS)[0].error_rate

    assert rate("same") < 0.03 < rate("different")


def test_at_a_limit_of_one_half_the_machine_has_no_say() -> None:
    people_only = replace(PARAMS, machine_limit=0.5)
    for verdict in ("same", "different"):
        asked = [pair(number, chance=0.95) for number in range(20)]
        versions = [answered(question, "s/1", verdict) for question in asked]
        (skill,) = skills_of(topics_of(asked, versions), people_only)
        assert skill.error_rate == pytest.approx(0.03, abs=2e-3)


def test_nobody_is_thought_careless_for_calling_a_picture_unusable() -> None:
    asked = [pair(number, chance=0.9) for number in range(20)]
    versions = [answered(question, "s/1", "left_unusable") for question in asked]
    (skill,) = skills_of(topics_of(asked, versions), PARAMS)
    assert not skill.is_careless


sayings = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(["s/1", "s/2", "s/3"]), st.sampled_from(["same", "different"])),
    min_size=1,
    max_size=15,
    unique_by=lambda said: said[:2],
)


@given(sayings, st.randoms())
@settings(max_examples=25, deadline=None)
def test_skill_does_not_depend_on_the_order_of_anything(said: list[tuple[int, str, str]], order: Random) -> None:
    asked = [pair(number, chance=0.3, expected=SAME if number == 0 else None) for number in range(6)]
    versions = [answered(asked[number], annotator, verdict) for number, annotator, verdict in said]
    expected = skills_of(topics_of(asked, versions), PARAMS)
    order.shuffle(versions)
    topics = topics_of(asked, versions)
    order.shuffle(topics)
    assert skills_of(topics, PARAMS) == expected
    assert all(0 < skill.error_low <= skill.error_high < 0.5 for skill in expected)


@given(
    st.dictionaries(st.sampled_from("abcd"), st.floats(0, 1), max_size=4).map(
        lambda chances: {word: chance / max(1.0, sum(chances.values())) for word, chance in chances.items()}
    ),
    st.lists(st.sampled_from("abcde"), min_size=1, max_size=4),
    st.sampled_from([0.5, 0.8, 0.99]),
)
@settings(deadline=None)
def test_every_posterior_is_one_whatever_the_machine_says(
    chances: dict[str, float], said: list[str], limit: float
) -> None:
    topic = Topic(
        question_id="q",
        kind="attributes",
        name="t",
        sayings=tuple(Saying(annotator=f"s/{place}", word=word) for place, word in enumerate(said)),
        right=None,
        chances=tuple(sorted(chances.items())),
        weight=1.0,
    )
    found = rate_posteriors(
        [topic], [f"s/{place}" for place in range(len(said))], prior_error=0.03, prior_weight=10, machine_limit=limit
    )
    assert found.shape == (len(said), len(RATES_G))
    assert np.isfinite(found).all()
    assert found.sum(axis=1) == pytest.approx(np.ones(len(said)))


def test_no_answers_give_no_skills() -> None:
    assert skills_of([], PARAMS) == []


def test_a_careless_word_needs_a_second_one_and_a_careful_one_counts_at_once() -> None:
    versions = [*honeypots(40, 10, "s/careless")[1], *honeypots(40, 0, "s/careful")[1]]
    trust = trust_of(skills_of(topics_of(honeypots(40, 0)[0], versions), PARAMS), certainty=0.9, params=PARAMS)
    question = pair(99, chance=0.6)

    def state(*names: str) -> str:
        votes: tuple[Vote, ...] = votes_of(question, [answered(question, name, "same") for name in names])
        return agree(votes, needs=1, trust=trust).state

    assert trust.error_rates["s/careful"] == PARAMS.least_error
    assert [state("s/careless"), state("s/careful"), state("s/careless", "s/new")] == [
        "unsettled",
        "settled",
        "settled",
    ]


def test_what_stands_on_careless_words_alone_is_listed_and_nothing_else() -> None:
    pots, versions = honeypots(40, 12, "s/careless")
    alone, richer, backed, open_one = (pair(100), pair(101, gain=7.0), pair(102, gain=9.0), pair(103, gain=9.0))
    versions += [
        *(answered(question, "s/careless", "same") for question in (alone, richer, backed, open_one)),
        answered(backed, "s/careful", "same"),
    ]
    questions = [*pots, alone, richer, backed, open_one]
    states = {**came_to(alone, "settled"), **came_to(richer, "settled"), **came_to(backed, "settled")}
    states |= {**came_to(open_one, "unsettled"), **came_to(pots[0], "settled")}
    skills = skills_of(topics_of(questions, versions), PARAMS)
    assert to_recheck(skills, questions, versions, states) == [richer.question_id, alone.question_id]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prior_error", 0.5),
        ("prior_weight", 0.0),
        ("machine_limit", 0.4),
        ("careless_certainty", 1.0),
        ("least_error", 0),
    ],
)
def test_params_outside_their_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=r"review\.quality"):
        replace(PARAMS, **{name: value})


def test_one_of_five_who_errs_in_20_percent_is_found_within_100_answers_each(annotators: ModuleType) -> None:
    found, alarms, rates, runs = 0, 0, [], 60
    for seed in range(annotators.HELD_OUT, annotators.HELD_OUT + runs):
        skills = skills_of(annotators.work(annotators.Setting(), PARAMS, seed).topics, PARAMS)
        assert max(skill.answers for skill in skills) <= 100
        found += skills[-1].is_careless
        alarms += sum(skill.is_careless for skill in skills[:-1])
        rates.append(skills[-1].error_rate)
    assert annotators.PARAMS == PARAMS
    assert found / runs >= 0.95
    assert alarms / (4 * runs) <= 0.05
    assert np.mean(rates) == pytest.approx(0.2, abs=0.04)


def test_weighing_him_down_leaves_fewer_wrong_decisions(annotators: ModuleType) -> None:
    def wrong_share(*, is_weighed: bool) -> float:
        done = [
            annotators.work(annotators.Setting(is_weighed=is_weighed), PARAMS, annotators.HELD_OUT + seed)
            for seed in range(12)
        ]
        return 1 - float(sum(one.right for one in done) / sum(one.settled for one in done))

    assert wrong_share(is_weighed=True) < 0.8 * wrong_share(is_weighed=False)
