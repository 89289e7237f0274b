"""Which code runs: FACELOOP_REVISION of an image, or the commit of a checkout."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from facestore.errors import ConfigError

VARIABLE = "FACELOOP_REVISION"


def running_revision(environment: Mapping[str, str]) -> str | None:
    """A commit's hex digits; None where neither an image nor a checkout says. Changes that were not committed do
    not show."""
    if named := environment.get(VARIABLE):
        return named
    folder = Path(__file__).parent
    if not any((parent / ".git").exists() for parent in folder.parents):
        return None
    asked = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "HEAD"],  # noqa: S607  # of the machine's PATH
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() or None


def checked_revision(wanted: str | None, running: str | None) -> str | None:
    """The revision that a job is of. Raises ConfigError, which names both, when other code is asked for than runs."""
    if wanted is None:
        return running
    if len(wanted) < 7 or not set(wanted) <= set("0123456789abcdef"):
        raise ConfigError(f"--revision {wanted!r}: give the 7 to 40 hex digits of a commit")
    if running is not None and not running.startswith(wanted):
        raise ConfigError(f"--revision {wanted}: the code that runs is {running}; start that one, or leave it out")
    return running or wanted
