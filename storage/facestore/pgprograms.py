"""PostgreSQL's own programs for a dump and its return, where the machine has them."""

import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from facestore.errors import StoreError

_FOLDERS = "/usr/lib/postgresql"  # where Debian keeps each version's
_VARIABLES = {  # of a URL's query, as libpq reads them from the environment
    "host": "PGHOST",
    "port": "PGPORT",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "connect_timeout": "PGCONNECT_TIMEOUT",
}


def has_programs() -> bool:
    """Whether both are there."""
    return all(_program(name) for name in ("pg_dump", "pg_restore"))


def dump(url: str, snapshot: str, file: Path) -> None:
    """Dump a database as an exported snapshot sees it. Raises StoreError."""
    _run(
        "pg_dump", url, ["--format=custom", f"--snapshot={snapshot}", "--no-owner", "--no-privileges", f"--file={file}"]
    )


def load(file: Path, url: str) -> None:
    """Restore a dump into an empty database, all of it or nothing. Raises StoreError."""
    options = ["--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error"]
    _run("pg_restore", url, [*options, str(file)])


def _run(program: str, url: str, options: list[str]) -> None:
    found = _program(program)
    if found is None:
        raise StoreError(f"there is no program {program} on this machine; install PostgreSQL's client programs")
    parts = urlsplit(url)
    words = {"--host": parts.hostname, "--port": parts.port, "--username": parts.username}
    where = [f"{option}={unquote(str(value))}" for option, value in words.items() if value is not None]
    query = dict(parse_qsl(parts.query))
    settings = {_VARIABLES[name]: value for name, value in query.items() if name in _VARIABLES}
    if parts.password is not None:
        settings["PGPASSWORD"] = unquote(
            parts.password
        )  # never among the words, which every user of the machine can see
    database = f"--dbname={parts.path.lstrip('/')}"
    done = subprocess.run(
        [found, *where, database, *options], env=os.environ | settings, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise StoreError(f"{program} failed: {done.stderr.strip()[-500:] or done.returncode}")


def _program(name: str) -> str | None:
    """The newest one: it reads what older servers hold."""
    versions = [path for path in Path(_FOLDERS).glob("*/bin") if path.parent.name.isdigit()]
    newest_first = sorted(versions, key=lambda path: int(path.parent.name), reverse=True)
    return shutil.which(name, path=os.pathsep.join([*map(str, newest_first), os.environ.get("PATH", "")]))
