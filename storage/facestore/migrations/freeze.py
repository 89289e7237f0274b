"""Write the statements of the first revision anew from the declared tables; only while no release holds it.

python -m facestore.migrations.freeze
"""

import sys

from facestore.schema import FIRST, REVISIONS, declared_statements, first_file


def freeze() -> None:
    """Raises ValueError once there is a second revision: then tables change by revisions."""
    if len(REVISIONS) > 1:
        raise ValueError(f"revision {FIRST} is history; write a new revision")
    for dialect in ("sqlite", "postgresql"):
        first_file(dialect).write_text("\n\n".join(declared_statements(dialect)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    freeze()
    sys.stdout.write("written\n")
