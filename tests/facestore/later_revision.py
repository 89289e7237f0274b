"""A revision that comes after ours: a new column and a new table, as revisions expand."""

from pathlib import Path

from facestore import migrations

_SECOND = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "0002", "0001"


def upgrade():
    op.add_column("stage_run", sa.Column("note", sa.Text(), nullable=True))
    op.create_table("remark", sa.Column("remark_id", sa.String(64), primary_key=True))


def downgrade():
    op.drop_table("remark")
    op.drop_column("stage_run", "note")
"""


def later_revisions(folder: Path, *, is_broken: bool = False) -> Path:
    """A folder of revisions with one more than there is; `is_broken`: it fails at its end."""
    folder.mkdir(exist_ok=True)
    end = "    raise RuntimeError('half way')\n" if is_broken else ""
    (folder / "0002_more.py").write_text(_SECOND.replace("\n\n\ndef downgrade", f"\n{end}\n\ndef downgrade"))
    for ours in (Path(migrations.__file__).parent / "versions").glob("0001*"):
        if not (folder / ours.name).exists():
            (folder / ours.name).symlink_to(ours)
    return folder
