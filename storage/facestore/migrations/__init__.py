"""Revisions of the catalogue's tables, run by Alembic inside the turn to write: all of them are kept, or none.

Revisions expand: new tables, new columns that may be null, new indexes, so that code which runs meanwhile goes on. What
is no longer used goes in a later release, when nobody runs the code that used it.
"""

from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from facestore.catalogue import connected, writing
from facestore.errors import SchemaRefused
from facestore.schema import FIRST, HEAD, revision_of, settle

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """What became of a database. Revisions; `before` is None for a new one and one from before there were any."""

    before: str | None
    after: str


def migrate(url: str, *, to: str = HEAD, versions: Path | None = None) -> Migration:
    """Bring the database at `url` to a revision, up or down, as one transaction that no writer runs beside.

    `versions`: a folder of revisions that stands for ours. Raises SchemaRefused for a revision that is not known and
    for one that would lose rows, StoreError when the database cannot be used; it is then as it was.
    """
    engine = connected(url, "catalogue")
    try:
        with writing(engine, f"migrate the catalogue to revision {to}") as session:
            connection = session.connection()
            if connection.dialect.name == "postgresql":  # rather give up than have everybody queue behind a long reader
                connection.exec_driver_sql("SET LOCAL lock_timeout = '10s'")
            before = revision_of(connection)
            if before is None:
                settle(connection, "catalogue")
            if before not in (None, to) or to != HEAD:
                _run(connection, before or FIRST, to, versions)
            return Migration(before=before, after=revision_of(connection) or to)
    finally:
        engine.dispose()


def upgrade(connection: Connection) -> None:
    """Run the revisions after a database's own in the caller's transaction."""
    command.upgrade(_config(connection, None), HEAD)


def _run(connection: Connection, before: str, to: str, versions: Path | None) -> None:
    config = _config(connection, versions)
    script = ScriptDirectory.from_config(config)
    order = ["base", *reversed([found.revision for found in script.walk_revisions()])]
    if unknown := {before, to} - set(order):
        raise SchemaRefused(
            f"revision {min(unknown)} is not known here (known: {', '.join(order[1:])}); install the version of it"
        )
    if order.index(to) < order.index(before):
        command.downgrade(config, to)
    else:
        command.upgrade(config, to)


def _config(connection: Connection, versions: Path | None) -> Config:
    config = Config()
    config.set_main_option("script_location", _escaped(_FOLDER))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", _escaped(versions or _FOLDER / "versions"))
    config.attributes["connection"] = connection
    return config


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")  # Alembic takes settings for templates
