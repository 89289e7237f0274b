"""What answers come to: one settles what was expected, two what was not, and nobody counts twice."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facereview.answers.claims import BOX, LANDMARKS, Claim
from facereview.answers.consensus import Trust, Vote, agree
from facestore.errors import ConfigError

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
TRUST = Trust(certainty=0.9, error_rate=0.03, error_rates={"careless": 0.3, "coin": 0.5})


def pair(verb: str, chance: float = 0.5, other: str = "b") -> Claim:
    """`chance` is that the two are one person."""
    return Claim(
        verb="same" if verb == "same" else "different",
        face_id="a",
        other_face_id=other,
        chance=chance if verb == "same" else 1 - chance,
    )


def vote(annotator: str, *claims: Claim, minute: int = 0, number: int = 1) -> Vote:
    return Vote(
        annotator=annotator,
        annotation_id=number,
        version=1,
        answered_at=NOON + timedelta(minutes=minute),
        claims=claims,
    )


def test_without_votes_a_question_is_open_and_with_votes_that_say_nothing_it_has_no_answer() -> None:
    assert agree([], needs=1, trust=TRUST).state == "open"
    assert agree([vote("ann")], needs=1, trust=TRUST).state == "no_answer"


def test_what_was_half_expected_counts_at_once_and_what_was_not_waits_for_a_second() -> None:
    assert agree([vote("ann", pair("same", 0.5))], needs=1, trust=TRUST).state == "settled"
    assert agree([vote("ann", pair("same", 0.05))], needs=1, trust=TRUST).state == "unsettled"
    found = agree([vote("ann", pair("same", 0.05)), vote("bob", pair("same", 0.05))], needs=1, trust=TRUST)
    assert found.state == "settled"
    assert [one.annotator for one in found.settled[0].votes] == ["ann", "bob"]


def test_the_probability_is_that_of_bayes() -> None:
    votes = [vote("ann", pair("same", 0.8)), vote("bob", pair("same", 0.8)), vote("careless", pair("different", 0.8))]
    right, wrong = 0.8 * 0.97 * 0.97 * 0.3, 0.2 * 0.03 * 0.03 * 0.7
    (settled,) = agree(votes, needs=1, trust=TRUST).settled
    assert settled.probability == pytest.approx(right / (right + wrong))


def test_who_errs_often_needs_another_and_a_coin_says_nothing() -> None:
    assert agree([vote("careless", pair("same"))], needs=1, trust=TRUST).state == "unsettled"
    votes = [vote("ann", pair("same", 0.05)), vote("coin", pair("same", 0.05))]
    assert agree(votes, needs=1, trust=TRUST).state == "unsettled"


def test_a_quorum_is_of_people_not_of_answers() -> None:
    twice = [vote("ann", pair("same"), number=1), vote("ann", pair("same"), number=2)]
    assert agree(twice, needs=2, trust=TRUST).state == "unsettled"
    assert agree([*twice, vote("bob", pair("same"))], needs=2, trust=TRUST).state == "settled"


def test_an_annotator_who_answers_twice_weighs_once_and_the_latest_is_his_word() -> None:
    unexpected = [vote("ann", pair("same", 0.05), number=number, minute=number) for number in range(5)]
    assert agree(unexpected, needs=1, trust=TRUST).state == "unsettled"
    changed = [vote("ann", pair("same"), minute=1, number=9), vote("ann", pair("different"), minute=2, number=3)]
    found = agree(changed, needs=1, trust=TRUST)
    assert [one.claim.verb for one in found.settled] == ["different"]


def test_two_who_contradict_each_other_are_a_dispute_and_a_third_ends_it() -> None:
    votes = [vote("ann", pair("same")), vote("bob", pair("different"))]
    assert agree(votes, needs=1, trust=TRUST).state == "disputed"
    found = agree([*votes, vote("eve", pair("same"))], needs=1, trust=TRUST)
    assert (found.state, [one.claim.verb for one in found.settled]) == ("settled", ["same"])
    assert [one.annotator for one in found.settled[0].votes] == ["ann", "eve"]


def test_a_dispute_about_one_member_of_a_grid_leaves_the_others_settled() -> None:
    votes = [
        vote("ann", pair("same", other="m1"), pair("same", other="m2")),
        vote("bob", pair("same", other="m1"), pair("different", other="m2")),
    ]
    found = agree(votes, needs=1, trust=TRUST)
    assert (found.state, {one.claim.other_face_id for one in found.settled}) == ("disputed", {"m1"})


def test_choosing_different_candidates_is_a_contradiction_and_never_ties_the_two_together() -> None:
    chosen = [
        Claim(verb="same", face_id="a", other_face_id=other, chance=0.4, chosen_for="a") for other in ("c1", "c2")
    ]
    votes = [vote("ann", chosen[0]), vote("bob", chosen[1])]
    found = agree(votes, needs=1, trust=TRUST)
    assert (found.state, found.settled) == ("disputed", ())
    found = agree([*votes, vote("eve", chosen[1]), vote("dan", chosen[1])], needs=1, trust=TRUST)
    assert (found.state, [one.claim.other_face_id for one in found.settled]) == ("settled", ["c2"])


def test_no_face_contradicts_somebody_s_face_and_agrees_with_a_stranger() -> None:
    nothing = Claim(verb="not_a_face", face_id="b")
    assert agree([vote("ann", nothing), vote("bob", pair("same"))], needs=1, trust=TRUST).state == "disputed"
    assert agree([vote("ann", nothing), vote("bob", pair("different"))], needs=1, trust=TRUST).state == "settled"


@pytest.mark.parametrize(
    ("name", "value", "near", "far"),
    [
        (BOX, "10.0,10.0,50.0,50.0", "11.0,10.0,51.0,49.0", "30.0,10.0,70.0,50.0"),
        (
            LANDMARKS,
            "10,10,50,10,30,30,15,45,45,45",
            "11,10,50,11,30,31,15,45,45,46",
            "20,10,60,10,40,30,25,45,55,45",
        ),
    ],
)
def test_what_is_drawn_nearly_alike_says_the_same(name: str, value: str, near: str, far: str) -> None:
    drawn = [Claim(verb="attribute", face_id="a", name=name, value=text) for text in (value, near, far)]
    assert agree([vote("ann", drawn[0]), vote("bob", drawn[1])], needs=1, trust=TRUST).state == "settled"
    assert agree([vote("ann", drawn[0]), vote("bob", drawn[2])], needs=1, trust=TRUST).state == "disputed"


claims = st.builds(
    pair, st.sampled_from(["same", "different"]), st.sampled_from([0.0, 0.3, 0.9, 1.0]), st.sampled_from(["b", "c"])
)
ballots = st.lists(
    st.builds(
        lambda who, said, minute, number: vote(who, *said, minute=minute, number=number),
        st.sampled_from(["ann", "bob", "careless", "coin", "eve"]),
        st.lists(claims, max_size=3, unique_by=lambda claim: claim.topic),
        st.integers(0, 2),
        st.integers(1, 50),
    ),
    max_size=6,
    unique_by=lambda one: one.annotation_id,
)


@given(ballots, st.integers(1, 3), st.randoms(use_true_random=False))
def test_the_order_of_votes_is_of_no_matter(votes: list[Vote], needs: int, chosen: object) -> None:
    shuffled = sorted(votes, key=lambda _: chosen.random())  # type: ignore[attr-defined]
    assert agree(shuffled, needs=needs, trust=TRUST) == agree(votes, needs=needs, trust=TRUST)


@given(ballots, st.integers(1, 3))
def test_no_two_settled_claims_contradict_each_other_and_each_has_its_quorum(votes: list[Vote], needs: int) -> None:
    found = agree(votes, needs=needs, trust=TRUST)
    for one in found.settled:
        assert len({vote.annotator for vote in one.votes}) == len(one.votes) >= needs
        assert one.probability >= TRUST.certainty
        assert not any(one.claim.contradicts(other.claim) for other in found.settled)


@given(ballots)
def test_contradiction_holds_both_ways_and_never_with_itself(votes: list[Vote]) -> None:
    said = [claim for one in votes for claim in one.claims]
    for first in said:
        assert not first.contradicts(first)
        assert all(first.contradicts(second) == second.contradicts(first) for second in said)


@pytest.mark.parametrize("values", [(0.5, 0.03), (1.0, 0.03), (0.9, 0.0), (0.9, 0.6)])
def test_trust_outside_its_range_is_refused(values: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="certainty"):
        Trust(certainty=values[0], error_rate=values[1], error_rates={})


def test_who_is_asked_to_decide_decides_against_the_odds() -> None:
    doubted = pair("same", 0.02)
    assert agree([vote("x", doubted)], needs=1, trust=TRUST).state == "unsettled"
    found = agree([replace(vote("x", doubted), decides=True)], needs=1, trust=TRUST)
    assert [settled.claim for settled in found.settled] == [doubted]
    assert found.state == "settled"


def test_nothing_settles_against_the_word_that_decides() -> None:
    expected, decided = pair("same", 0.99), pair("different", 0.01)
    found = agree(
        [vote("x", expected), vote("y", expected), replace(vote("z", decided), decides=True)], needs=1, trust=TRUST
    )
    assert [settled.claim for settled in found.settled] == [decided]


def test_a_quorum_holds_for_who_decides_too() -> None:
    claim = pair("same", 0.9)
    deciding = replace(vote("x", claim), decides=True)
    assert agree([deciding], needs=2, trust=TRUST).settled == ()
    assert len(agree([deciding, vote("y", claim)], needs=2, trust=TRUST).settled) == 1
