"""Last lines and argument lists."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedags.results import MOST_BYTES, ResultRefused, arguments, parsed, shown


def test_a_last_line_is_its_json_object() -> None:
    assert parsed('{"shares": ["a/000"], "new": 1}') == {"shares": ["a/000"], "new": 1}


def test_no_last_line_is_an_empty_result() -> None:
    assert parsed("") == {}
    assert parsed("  \n") == {}


@pytest.mark.parametrize("line", ["done", "[1, 2]", "3", '"text"', '{"a": '])
def test_any_other_last_line_is_refused(line: str) -> None:
    with pytest.raises(ResultRefused):
        parsed(line)


def test_what_is_too_long_for_xcom_is_refused_with_both_sizes() -> None:
    assert parsed(json.dumps({"a": "x" * (MOST_BYTES - 9)}))
    with pytest.raises(ResultRefused, match=rf"{MOST_BYTES + 1} bytes.*{MOST_BYTES}"):
        parsed(json.dumps({"a": "x" * (MOST_BYTES - 8)}))


def test_what_may_be_long_and_nobody_needs_is_left_out_by_name() -> None:
    line = json.dumps({"faces": 9, "face_ids": ["f" * 32] * 5000})
    assert parsed(line, ["face_ids"]) == {"faces": 9}
    with pytest.raises(ResultRefused):
        parsed(line)


@given(st.lists(st.text()))
def test_a_list_becomes_the_option_once_for_each_item_whatever_is_in_it(items: list[str]) -> None:
    assert arguments(["run", ["--set", json.dumps(items)]]) == ["run", *(f"--set={item}" for item in items)]


@given(st.lists(st.text(min_size=1)))
def test_words_stay_as_they_are(words: list[str]) -> None:
    assert arguments(list(words)) == words


def test_what_rendered_to_nothing_is_left_out() -> None:
    assert arguments(["releases", "due", "", ["--set", ""]]) == ["releases", "due"]


def test_a_mapped_task_is_shown_by_what_it_works_on() -> None:
    assert shown(["loop", "take", "71bf/003"]) == "71bf/003"
    assert shown(["run", "detect", "--batch=b000", "--batch=b003"]) == "b000 b003"
