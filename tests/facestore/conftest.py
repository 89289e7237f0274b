"""The databases that every log must work on."""

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

_databases = count()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'new folder' / 'ledger.sqlite3'}"


@pytest.fixture(params=["sqlite_url", pytest.param("postgres_url", marks=pytest.mark.integration)])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def own_postgres_url(postgres_url: str) -> Iterator[str]:
    """A new, empty database of the running server, of this test alone."""
    name = f"own_{os.getpid()}_{next(_databases)}"
    engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield postgres_url.rpartition("/")[0] + f"/{name}"
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture(params=["sqlite_url", pytest.param("own_postgres_url", marks=pytest.mark.integration)])
def own_url(request: pytest.FixtureRequest) -> str:
    """A database of this test alone."""
    return str(request.getfixturevalue(request.param))
