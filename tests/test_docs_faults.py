"""docs/faults.md: every fault has its row, and every test that a row names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "faults.md").read_text(encoding="utf-8").splitlines()
    if re.match(r"\| \d+ \|", line)
]


def test_all_64_faults_are_there_in_their_order() -> None:
    assert [int(row[0]) for row in ROWS] == list(range(1, 65))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_names_a_test_that_is_there(row: list[str]) -> None:
    named = re.findall(r"`([\w/]+\.py)(?:::(test_\w+))?`", row[3])
    assert named
    for file, function in named:
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert re.search(rf"^def {function or 'test_'}", text, re.MULTILINE), f"{file} has no {function}"
