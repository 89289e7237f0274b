"""Screens about people: what leaves for the labelling tool, and how its results are read."""

import json
import re
from collections.abc import Mapping
from typing import get_args
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceloop.questions.drafts import QuestionReason
from facereview.kinds import (
    Answer,
    Candidate,
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
    kind_of,
    subject_of,
)
from facereview.pictures import Picture, pictures_of
from facereview.reasons import reason_words
from facereview.schema import AttributeSchema
from facereview.screens import label_config, prediction, read_answer, task_data
from facestore.errors import DataError
from facestore.ids import JsonValue, digest_of
from facestore.questions import Question, QuestionKind

SCHEMA = AttributeSchema(fields=())
KINDS: tuple[QuestionKind, ...] = ("same_person", "odd_ones_out", "who_is_this")


def _face(number: int) -> str:
    return digest_of(["face", number])[:32]


def _strip(*numbers: int) -> Strip:
    return Strip(face_ids=tuple(_face(number) for number in numbers))


def _question(
    subject: Subject, *, reason: str = "two_halves", detail: str = "", expected: Answer | None = None
) -> Question:
    return ask(
        subject, subset="gate", reason=reason, reason_detail=detail, model_version="sface@12", chance=0.8, gain=1.0,
        seconds=3.0, expected=expected,
    )  # fmt: skip


def _pair(chance: float) -> Question:
    return _question(SamePerson(left=_strip(1, 2, 3), right=_strip(4), similarity=0.4, chance=chance))


def _grid(doubtful: list[bool]) -> Question:
    members = tuple(
        Member(face_id=_face(10 + place), chance=0.5, is_doubtful=is_doubtful)
        for place, is_doubtful in enumerate(doubtful)
    )
    return _question(OddOnesOut(reference=_strip(1, 2), members=members))


def _line_up(chances: list[float]) -> Question:
    candidates = tuple(
        Candidate(strip=_strip(*range(10 * place, 10 * place + 3)), similarity=0.5, chance=chance)
        for place, chance in enumerate(chances, start=1)
    )
    return _question(WhoIsThis(probe=_strip(1, 2), candidates=candidates))


QUESTIONS = st.one_of(
    st.floats(0, 1).map(_pair),
    st.lists(st.booleans(), min_size=1, max_size=20).map(_grid),
    st.lists(st.floats(0, 1), min_size=1, max_size=5).map(_line_up),
)


def _addresses(question: Question) -> dict[Picture, str]:
    pictures = pictures_of(subject_of(question))
    return {picture: f"s3://shelf/{place:04d}.jpg" for place, picture in enumerate(pictures)}


def _choices(group: str, *ticked: str) -> dict[str, JsonValue]:
    return {"from_name": group, "to_name": "why", "type": "choices", "value": {"choices": list(ticked)}}


def _strings(value: JsonValue) -> list[str]:
    if isinstance(value, dict):
        return [text for one in value.values() for text in _strings(one)]
    if isinstance(value, list):
        return [text for one in value for text in _strings(one)]
    return [value] if isinstance(value, str) else []


def _config(kind: QuestionKind) -> ElementTree.Element:
    return ElementTree.fromstring(label_config(kind, SCHEMA))  # noqa: S314, it is our own


def _read(question: Question, *result: JsonValue) -> Answer:
    return read_answer(question, result, SCHEMA)


@given(QUESTIONS)
def test_what_is_filled_in_reads_as_what_the_machine_expects(question: Question) -> None:
    subject = subject_of(question)
    draft = prediction(question, SCHEMA)
    answer = read_answer(question, draft.result, SCHEMA)
    match subject, answer:
        case SamePerson(), SamePersonAnswer():
            assert answer.verdict == ("same" if subject.chance >= 0.5 else "different")
        case OddOnesOut(), OddOnesOutAnswer():
            assert answer.verdict == "sorted" and answer.not_faces == ()
            assert answer.strangers == tuple(member.face_id for member in subject.members if member.is_doubtful)
        case WhoIsThis(), WhoIsThisAnswer():
            chances = [candidate.chance for candidate in subject.candidates]
            best = max(chances)
            if best >= 1 - sum(chances):
                assert answer.candidate == chances.index(best)
            else:
                assert answer.verdict == "someone_new"
        case _:
            pytest.fail(f"{type(answer).__name__} answers {type(subject).__name__}")
    assert (draft.score, draft.model_version) == (question.chance, question.model_version)


@given(QUESTIONS)
def test_a_string_of_task_data_holds_one_address_and_never_a_face_id(question: Question) -> None:
    data = task_data(question, _addresses(question), SCHEMA)
    strings = [text for key, value in data.items() if key != "question_id" for text in _strings(value)]
    found = [re.findall(r"s3://shelf/\d{4}\.jpg", text) for text in strings]
    assert all(len(addresses) <= 1 for addresses in found)
    assert all(face not in json.dumps(data) for face in map(_face, range(60)))
    first = {face: place for place, face in enumerate(_addresses(question))}
    shown = {address for addresses in found for address in addresses}
    assert f"s3://shelf/{min(first.values()):04d}.jpg" in shown
    assert data["question_id"] == question.question_id


@given(QUESTIONS)
def test_task_data_has_all_that_the_config_shows(question: Question) -> None:
    config = _config(question.kind)
    wanted = {name for tag in config.iter() for name in re.findall(r"^\$(\w+)", tag.get("value", ""))}
    data = task_data(question, _addresses(question), SCHEMA)
    assert wanted == data.keys() - {"question_id"}
    hotkeys = [tag.get("hotkey", "") for tag in config.iter("Choice")]
    hotkeys += [
        str(option["hotkey"])
        for value in data.values()
        if isinstance(value, list)
        for option in value
        if isinstance(option, dict)
    ]
    assert len(set(hotkeys)) == len(hotkeys) > 0
    assert not {"u", "enter", "escape", ""} & set(hotkeys), "those are the tool's own"


@pytest.mark.parametrize("kind", KINDS)
def test_a_style_sheet_survives_the_sanitiser_of_the_tool(kind: QuestionKind) -> None:
    style = _config(kind).findtext("Style")
    assert style is not None and ".fl-" in style
    assert not set("<>&") & set(style), "it would be escaped, and the rules with it lost"


def test_text_that_comes_from_elsewhere_is_escaped() -> None:
    subject = SamePerson(left=_strip(1), right=_strip(2), similarity=0.4, chance=0.5)
    question = _question(subject, reason="<img src=x>", detail="a & <script>alert(1)</script>")
    addresses: Mapping[Picture, str] = dict.fromkeys(pictures_of(subject), 'x" onerror="alert(1)')
    strings = _strings(task_data(question, addresses, SCHEMA))
    assert not any("<script" in text or "<img src=x>" in text or '" onerror' in text for text in strings)
    assert any("a &amp; &lt;script&gt;" in text for text in strings)


def test_a_honeypot_looks_like_any_other_question() -> None:
    subject = SamePerson(left=_strip(1), right=_strip(2), similarity=0.4, chance=0.9)
    plain, honeypot = _question(subject), _question(subject, expected=SamePersonAnswer(verdict="different"))
    shown = [task_data(one, _addresses(one), SCHEMA) for one in (plain, honeypot)]
    assert shown[0].keys() == shown[1].keys() and plain.question_id != honeypot.question_id
    assert all(shown[0][key] == shown[1][key] for key in shown[0] if key != "question_id")
    assert prediction(plain, SCHEMA) == prediction(honeypot, SCHEMA)


def test_a_picture_without_an_address_is_an_error() -> None:
    with pytest.raises(DataError, match="no picture for annotators"):
        task_data(_pair(0.5), {}, SCHEMA)


@pytest.mark.parametrize("question", [_grid([False] * 21), _line_up([0.1] * 6), _line_up([])])
def test_more_than_the_screen_can_show_is_an_error(question: Question) -> None:
    with pytest.raises(DataError, match="the screen shows 1 to"):
        task_data(question, _addresses(question), SCHEMA)


@pytest.mark.parametrize("verdict", ["same", "different", "unsure", "left_unusable", "right_unusable"])
def test_each_verdict_about_a_pair_is_read(verdict: str) -> None:
    answer = _read(_pair(0.5), {**_choices("verdict", verdict), "origin": "prediction-changed", "id": "x1"})
    assert isinstance(answer, SamePersonAnswer) and answer.verdict == verdict


def test_without_a_mark_all_are_the_person() -> None:
    everybody = OddOnesOutAnswer(verdict="sorted")
    question = _grid([True, False])
    assert _read(question) == _read(question, _choices("strangers")) == everybody


def test_what_is_no_face_is_no_stranger_and_cannot_tell_overrules_marks() -> None:
    question = _grid([True, False, True])
    marks = (_choices("strangers", "3", "1"), _choices("not_faces", "1"))
    assert _read(question, *marks) == OddOnesOutAnswer(verdict="sorted", strangers=(_face(12),), not_faces=(_face(10),))
    assert _read(question, *marks, _choices("verdict", "unsure")) == OddOnesOutAnswer(verdict="unsure")


def test_a_candidate_is_named_by_its_place() -> None:
    question = _line_up([0.2, 0.1])
    assert _read(question, _choices("verdict", "2")) == WhoIsThisAnswer(verdict="candidate", candidate=1)
    assert _read(question, _choices("verdict", "someone_new")) == WhoIsThisAnswer(verdict="someone_new")


@pytest.mark.parametrize(
    ("question", "result"),
    [
        (_pair(0.5), []),
        (_pair(0.5), [_choices("verdict")]),
        (_pair(0.5), [_choices("verdict", "same", "different")]),
        (_pair(0.5), [_choices("verdict", "same"), _choices("verdict", "same")]),
        (_pair(0.5), [_choices("verdict", "Same")]),
        (_pair(0.5), [_choices("strangers", "1")]),
        (_pair(0.5), [{**_choices("verdict", "same"), "type": "labels"}]),
        (_pair(0.5), ["same"]),
        (_line_up([0.2]), [_choices("verdict", "2")]),
        (_line_up([0.2]), [_choices("verdict", "0")]),
        (_line_up([0.2]), []),
        (_grid([True]), [_choices("strangers", "2")]),
        (_grid([True]), [_choices("strangers", "1", "1")]),
        (_grid([True]), [_choices("verdict", "sorted")]),
    ],
)
def test_what_the_screen_cannot_have_made_is_an_error(question: Question, result: list[JsonValue]) -> None:
    with pytest.raises(DataError):
        read_answer(question, result, SCHEMA)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["same", "1", "unsure"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "from_name": st.sampled_from(["verdict", "strangers", "not_faces"]) | JSON,
        "type": st.just("choices") | JSON,
        "value": st.fixed_dictionaries({"choices": st.lists(st.sampled_from(["same", "1", "unsure"])) | JSON}) | JSON,
    },
)


@given(QUESTIONS, st.lists(ENTRIES | JSON, max_size=3))
def test_any_result_is_an_answer_of_its_kind_or_a_data_error(question: Question, result: list[JsonValue]) -> None:
    try:
        answer = read_answer(question, result, SCHEMA)
    except DataError as error:
        assert str(error)
    else:
        assert type(answer).__name__ == f"{type(subject_of(question)).__name__}Answer"
        assert kind_of(subject_of(question)) == question.kind


def test_an_unknown_reason_reads_as_itself() -> None:
    assert reason_words("moon_phase", "3 of 4") == "moon phase · 3 of 4"
    assert reason_words("two_halves") == "two parts of one cluster that hardly look alike"


@pytest.mark.parametrize("reason", get_args(QuestionReason))
def test_every_reason_that_we_give_has_words_of_its_own(reason: str) -> None:
    assert reason_words(reason) != reason.replace("_", " ")
