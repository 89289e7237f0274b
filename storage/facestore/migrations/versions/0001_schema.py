"""Every table, as the catalogue was when revisions began; its statements stand beside this file, one file a dialect."""

from alembic import op

from facestore.errors import SchemaRefused
from facestore.schema import first_statements, run_statement

revision = "0001"
down_revision = None


def upgrade() -> None:
    connection = op.get_bind()
    for statement in first_statements(connection.dialect.name):
        run_statement(connection, statement)


def downgrade() -> None:
    raise SchemaRefused("below the first revision there is no table, and every fact would be lost; restore a backup")
