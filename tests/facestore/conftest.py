"""The databases that every log must work on."""

from pathlib import Path

import pytest


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'new folder' / 'ledger.sqlite3'}"


@pytest.fixture(params=["sqlite_url", pytest.param("postgres_url", marks=pytest.mark.integration)])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))
