"""A pepper that is not the one references were made with is refused: under it nobody would be known again."""

import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from facestore.errors import ConfigError
from facestore.peppers import known_pepper, pepper_check
from facestore.refs import PEPPER, PEPPER_FILE, read_pepper


def test_the_pepper_of_the_first_use_is_the_one_that_counts(own_url: str, tmp_path: Path) -> None:
    first = known_pepper(own_url, tmp_path, {})
    assert known_pepper(own_url, tmp_path, {}) == read_pepper(tmp_path, {}) == first
    assert known_pepper(own_url, tmp_path / "elsewhere", {PEPPER: first.hex()}) == first
    with pytest.raises(ConfigError, match="another one"):
        known_pepper(own_url, tmp_path, {PEPPER: secrets.token_hex(32)})
    (tmp_path / PEPPER_FILE).rename(tmp_path / "saved")
    with pytest.raises(ConfigError, match="is gone; put it back"):
        known_pepper(own_url, tmp_path, {})
    assert not (tmp_path / PEPPER_FILE).exists(), "no second one is made where there was one"
    (tmp_path / PEPPER_FILE).write_text(secrets.token_hex(32))
    with pytest.raises(ConfigError, match="another one"):
        known_pepper(own_url, tmp_path, {})
    (tmp_path / "saved").replace(tmp_path / PEPPER_FILE)
    assert known_pepper(own_url, tmp_path, {}) == first


def test_its_check_tells_nothing_of_it(tmp_path: Path) -> None:
    first, other = secrets.token_bytes(32), secrets.token_bytes(32)
    assert pepper_check(first) != pepper_check(other)
    assert first.hex() not in pepper_check(first)


def test_of_several_that_come_at_once_one_pepper_stays(sqlite_url: str, tmp_path: Path) -> None:
    """Each in a root of its own, over one catalogue: the first is taken, the others are refused."""
    code = (
        "import sys; from pathlib import Path; from facestore.peppers import known_pepper\n"
        "try: known_pepper(sys.argv[1], Path(sys.argv[2]), {})\n"
        "except Exception as error: sys.exit(3 if type(error).__name__ == 'ConfigError' else 1)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, sqlite_url, str(tmp_path / f"root{number}")])
        for number in range(4)
    ]
    assert sorted(process.wait(60) for process in started) == [0, 3, 3, 3]
