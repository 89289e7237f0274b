from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from faceloop.identity.resolve import resolve
from faceloop.questions.moot import moot
from facereview.answers.claims import claims_of
from facereview.kinds import (
    Attributes,
    Boxes,
    Candidate,
    FaceBox,
    Landmarks,
    Member,
    OddOnesOut,
    OddOnesOutAnswer,
    SamePerson,
    SamePersonAnswer,
    Strip,
    Subject,
    WhoIsThis,
    WhoIsThisAnswer,
    ask,
)
from facestore.decisions import Decision, Verb, decide
from facestore.questions import Question

START = datetime(2026, 1, 1, tzinfo=UTC)
FACES = set("abcdef")


def strip(*faces: str) -> Strip:
    return Strip(face_ids=faces)


def question(subject: Subject, *, expected: SamePersonAnswer | None = None) -> Question:
    return ask(
        subject, subset="s", reason="weak_member", model_version="m", chance=0.5, gain=1.0, seconds=4.0,
        expected=expected,
    )  # fmt: skip


def said(*words: tuple[Verb, str, str]) -> list[Decision]:
    found = []
    for minute, (verb, face, other) in enumerate(words):
        at = START + timedelta(minutes=minute)
        match verb:
            case "same" | "different":
                found.append(decide(verb, face_id=face, other_face_id=other, annotator="ann", decided_at=at))
            case "is":
                found.append(decide(verb, face_id=face, identity_id=other, annotator="ann", decided_at=at))
            case "attribute":
                found.append(decide(verb, face_id=face, name=other, value="x", annotator="ann", decided_at=at))
            case _:
                found.append(decide(verb, face_id=face, annotator="ann", decided_at=at))
    return found


def why(asked: Question, decisions: Sequence[Decision], faces: set[str] | None = None) -> str | None:
    found = moot([asked], effective=decisions, aliases={}, faces=FACES if faces is None else faces)
    return found.get(asked.question_id)


PAIR = SamePerson(left=strip("a", "e"), right=strip("b"), similarity=0.4, chance=0.5)
GRID = OddOnesOut(
    reference=strip("a"),
    members=tuple(Member(face_id=face, chance=0.5, is_doubtful=False) for face in "bc"),
)
PROBE = WhoIsThis(
    probe=strip("a"),
    candidates=tuple(Candidate(strip=strip(face), similarity=0.4, chance=0.3) for face in "bc"),
)


def test_a_pair_is_known_by_a_word_a_chain_or_two_names() -> None:
    assert why(question(PAIR), []) is None
    for words in (
        said(("same", "a", "b")),
        said(("different", "a", "b")),
        said(("same", "a", "c"), ("same", "c", "b")),
        said(("same", "a", "c"), ("different", "c", "b")),
        said(("is", "a", "person-1"), ("is", "b", "person-2")),
        said(("is", "a", "person-1"), ("is", "b", "person-1")),
    ):
        assert why(question(PAIR), words) == "answered_elsewhere"
    assert why(question(PAIR), said(("same", "a", "c"), ("same", "b", "d"))) is None
    assert why(question(PAIR), said(("same", "e", "b"))) is None  # only shown, not asked about


def test_two_names_of_which_one_was_merged_into_the_other_are_one_person() -> None:
    named = said(("is", "a", "person-1"), ("is", "b", "person-2"), ("is", "c", "person-3"))
    asked = question(PAIR)
    merged = moot([asked], effective=named, aliases={"person-2": "person-1"}, faces=FACES)
    assert merged == {asked.question_id: "answered_elsewhere"}


def test_a_grid_stays_until_all_its_members_are_decided() -> None:
    assert why(question(GRID), said(("same", "a", "b"))) is None
    assert why(question(GRID), said(("same", "a", "b"), ("different", "a", "c"))) == "answered_elsewhere"
    assert why(question(GRID), said(("same", "a", "b"), ("not_a_face", "c", ""))) == "answered_elsewhere"
    assert why(question(GRID), [], FACES - {"b"}) is None
    assert why(question(GRID), [], FACES - {"b", "c"}) == "face_gone"
    assert why(question(GRID), [], FACES - {"a"}) == "face_gone"


def test_a_probe_stays_until_he_is_somebody_or_none_of_them() -> None:
    assert why(question(PROBE), said(("different", "a", "b"))) is None
    assert why(question(PROBE), said(("same", "a", "c"))) == "answered_elsewhere"
    assert why(question(PROBE), said(("is", "a", "person-9"))) == "answered_elsewhere"
    assert why(question(PROBE), said(("different", "a", "b"), ("different", "a", "c"))) == "answered_elsewhere"
    assert why(question(PROBE), [], FACES - {"c"}) is None
    assert why(question(PROBE), said(("ignore", "a", ""))) == "face_left_out"


def test_a_face_that_was_erased_or_left_out_is_asked_about_no_more() -> None:
    assert why(question(PAIR), [], FACES - {"b"}) == "face_gone"
    assert why(question(PAIR), [], FACES - {"e"}) is None  # a further shot
    assert why(question(PAIR), said(("not_a_face", "b", ""))) == "face_left_out"
    assert why(question(PAIR), said(("ignore", "a", ""))) == "face_left_out"


def test_attributes_landmarks_and_frames_have_rules_of_their_own() -> None:
    described = question(Attributes(strip=strip("a"), predictions=()))
    points = question(
        Landmarks(face_id="a", footage_id="f", pts_ms=0, view=(0, 0, 9, 9), points=tuple(map(float, range(10))))
    )
    boxes = (FaceBox(face_id="a", bbox=(0.0, 0.0, 9.0, 9.0)),)
    frame = question(Boxes(footage_id="f", pts_ms=0, width=9, height=9, boxes=boxes))
    pose, landmarks = said(("attribute", "a", "pose")), said(("attribute", "a", "landmarks"))
    assert [why(described, words) for words in (pose, landmarks)] == ["answered_elsewhere", None]
    assert [why(points, words) for words in (pose, landmarks)] == [None, "answered_elsewhere"]
    assert why(points, [], set()) == why(described, [], set()) == "face_gone"
    assert why(frame, said(("not_a_face", "a", "")), set()) is None


def test_a_honeypot_is_not_moot_because_its_answer_is_known() -> None:
    honeypot = question(PAIR, expected=SamePersonAnswer(verdict="same"))
    assert why(honeypot, said(("same", "a", "b"))) is None
    assert why(honeypot, said(("same", "a", "b")), FACES - {"a"}) == "face_gone"


@given(
    subject=st.sampled_from([PAIR, GRID, PROBE]),
    words=st.lists(
        st.tuples(
            st.sampled_from(["same", "different"]),
            st.sampled_from(["a", "b", "c"]),
            st.sampled_from(["d", "e", "f"]),
        ),
        max_size=6,
    ),
    strangers=st.sets(st.sampled_from("bc")),
)
def test_what_an_answer_settles_is_moot_afterwards(
    subject: Subject, words: list[tuple[Verb, str, str]], strangers: set[str]
) -> None:
    match subject:
        case SamePerson():
            claims = claims_of(subject, SamePersonAnswer(verdict="different" if strangers else "same"))
        case OddOnesOut():
            claims = claims_of(subject, OddOnesOutAnswer(verdict="sorted", strangers=tuple(sorted(strangers))))
        case _:
            verdict = WhoIsThisAnswer(verdict="someone_new")
            claims = claims_of(subject, WhoIsThisAnswer(verdict="candidate", candidate=1) if strangers else verdict)
    at = START + timedelta(days=1)
    answer = [
        decide(claim.verb, face_id=claim.face_id, other_face_id=claim.other_face_id, annotator="bob", decided_at=at)
        for claim in claims
    ]
    standing = resolve([*said(*words), *answer], aliases={}, policy="latest").effective
    asked = question(subject)
    if set(answer) <= set(standing):
        assert why(asked, standing) == "answered_elsewhere"
    assert why(asked, list(reversed(standing))) == why(asked, standing)
