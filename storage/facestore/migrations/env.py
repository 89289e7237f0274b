"""Alembic runs this file: the revisions go through the connection that `facestore.migrations` hands over."""

from alembic import context

from facestore.schema import REVISION_TABLE, Tables, load_tables

load_tables()
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Tables.metadata,
    version_table=REVISION_TABLE,
    render_as_batch=True,  # SQLite changes a column by making its table anew
)
with context.begin_transaction():
    context.run_migrations()
