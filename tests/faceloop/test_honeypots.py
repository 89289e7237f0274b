from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

import numpy as np

from faceloop.identity.standing import Standing, standing_of
from faceloop.questions.asking import as_question
from faceloop.questions.drafting import draft_questions, find_doubts
from faceloop.questions.honeypots import known_people, make_honeypots
from faceloop.questions.mix import mixed
from facereview.kinds import (
    OddOnesOut,
    OddOnesOutAnswer,
    SamePerson,
    SamePersonAnswer,
    WhoIsThis,
    WhoIsThisAnswer,
    asked_faces,
    expected_answer,
    shown_faces,
    subject_of,
)
from facestore.decisions import decide
from facestore.questions import Question

from .question_world import two_faced_world
from .situation_world import face_of, select_params, situation_of

WORLD = two_faced_world(people=24)
SITUATION = situation_of(WORLD)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PERSON = {face_of(row): int(person) for row, person in enumerate(WORLD.truth.tolist())}


def named(people: int) -> Standing:
    """People named all faces of the first so many."""
    words = [
        decide("is", face_id=face, identity_id=f"person-of-{person}", annotator="ann", decided_at=NOW)
        for face, person in PERSON.items()
        if person < people
    ]
    return standing_of(words, aliases={}, faces=PERSON.keys())


def a_plan() -> list[Question]:
    """Some of every kind."""
    params = select_params()
    labels = SITUATION.given.labels
    confidence = np.where(WORLD.truth == 5, 0.03, SITUATION.confidence).astype(np.float32)
    identities = {label: name for label, name in SITUATION.identity_of_label.items() if label != labels[60]}
    situation = replace(SITUATION, confidence=confidence, identity_of_label=identities)
    drafts = draft_questions(situation, find_doubts(situation, params), params)
    found: dict[str, Question] = {}
    for kind in ("same_person", "odd_ones_out", "who_is_this"):
        of_kind = (as_question(draft, situation, params) for draft in drafts if draft.kind == kind)
        found |= {question.question_id: question for question in islice(of_kind, 6)}
    return list(found.values())


PLAN = a_plan()


def honeypots(people: int = 12, wanted: int = 60, seed: int = 1) -> list[Question]:
    return make_honeypots(known_people(named(people), SITUATION), PLAN, wanted=wanted, identities=5, seed=seed)


def test_the_expected_answer_of_every_honeypot_is_the_truth() -> None:
    found = honeypots()
    assert len(found) == 60
    for honeypot in found:
        subject, right = subject_of(honeypot), expected_answer(honeypot)
        asked = [PERSON[face] for face in asked_faces(subject)]
        match subject, right:
            case SamePerson(), SamePersonAnswer(verdict=verdict):
                assert verdict == ("same" if asked[0] == asked[1] else "different")
            case OddOnesOut(members=members), OddOnesOutAnswer(strangers=strangers, not_faces=()):
                odd = {member.face_id for member in members if PERSON[member.face_id] != asked[0]}
                assert set(strangers) == odd != set()
                assert len(odd) < len(members)
            case WhoIsThis(), WhoIsThisAnswer(verdict="candidate", candidate=int(place)):
                assert [person == asked[0] for person in asked[1:]].index(True) == place
            case WhoIsThis(), WhoIsThisAnswer(verdict="someone_new"):
                assert asked[0] not in asked[1:]
            case _:
                raise AssertionError(right)
        assert {PERSON[face] for face in shown_faces(subject)} == set(asked)
    assert {honeypot.kind for honeypot in found} == {"same_person", "odd_ones_out", "who_is_this"}
    assert len({honeypot.expected for honeypot in found}) > 4


def test_nothing_but_the_answer_tells_a_honeypot_from_the_plan() -> None:
    def dress(question: Question) -> tuple[object, ...]:
        return (
            question.kind, question.reason, question.reason_detail, question.chance, question.gain, question.seconds,
            question.needs, question.model_version,
        )  # fmt: skip

    worn = {dress(question) for question in PLAN}
    found = honeypots()
    assert all(dress(honeypot) in worn for honeypot in found)
    assert not {honeypot.question_id for honeypot in found} & {question.question_id for question in PLAN}
    assert len({honeypot.question_id for honeypot in found}) == len(found)


def test_what_is_filled_in_is_sometimes_wrong_so_that_accepting_it_blindly_shows() -> None:
    fooled = Counter[bool]()
    for honeypot in honeypots(wanted=60):
        subject, right = subject_of(honeypot), expected_answer(honeypot)
        if isinstance(subject, SamePerson) and isinstance(right, SamePersonAnswer):
            fooled[(subject.chance > 0.5) != (right.verdict == "same")] += 1
    assert min(fooled[True], fooled[False]) >= 3


def test_too_few_known_people_or_no_plan_to_hide_in_give_none() -> None:
    assert honeypots(people=4) == []
    people = known_people(named(12), SITUATION)
    assert make_honeypots(people, [], wanted=5, identities=5, seed=1) == []
    assert honeypots(wanted=0) == []
    assert make_honeypots(known_people(named(0), SITUATION), PLAN, wanted=5, identities=2, seed=1) == []


def test_nobody_is_called_a_stranger_unless_people_said_so() -> None:
    tied = [
        decide("same", face_id=face_of(row), other_face_id=face_of(row + 1), annotator="ann", decided_at=NOW)
        for row in range(0, 60, 6)
    ]
    apart = decide("different", face_id=face_of(0), other_face_id=face_of(7), annotator="ann", decided_at=NOW)
    standing = standing_of([*tied, apart], aliases={}, faces=PERSON.keys())
    found = make_honeypots(known_people(standing, SITUATION), PLAN, wanted=40, identities=5, seed=1)
    strangers = {face_of(row) for row in (0, 1, 6, 7)}
    assert found
    for honeypot in found:
        asked = asked_faces(subject_of(honeypot))
        assert len({PERSON[face] for face in asked}) == 1 or set(asked) <= strangers


def test_the_same_seed_gives_the_same_honeypots_and_another_one_others() -> None:
    assert honeypots(seed=3) == honeypots(seed=3) != honeypots(seed=4)


def test_streams_keep_their_order_are_spread_over_the_whole_and_get_ranks() -> None:
    found = honeypots(wanted=10)
    whole = mixed(PLAN, [found, []], seed=5)
    assert [question.rank for question in whole] == list(range(len(PLAN) + len(found)))
    ids = [question.question_id for question in whole]
    for stream in (PLAN, found):
        places = [ids.index(question.question_id) for question in stream]
        assert places == sorted(places)
    places = [place for place, question in enumerate(whole) if question.expected is not None]
    for number, place in enumerate(places):
        assert abs(place / len(whole) - (number + 0.5) / len(places)) < 1.5 / len(places)
    assert mixed(PLAN, [found], seed=5) == mixed(PLAN, [found], seed=5) != mixed(PLAN, [found], seed=6)
    assert mixed(PLAN, [PLAN], seed=5) == mixed(PLAN, [], seed=5)
