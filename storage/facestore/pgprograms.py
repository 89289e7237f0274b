"""PostgreSQL's own programs for a dump and its return, where the machine has them."""

import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from facestore.errors import StoreError
from facestore.pgaddress import verified

_FOLDERS = "/usr/lib/postgresql"  # where Debian keeps each version's
# Of a URL's query, what libpq reads from the environment (PostgreSQL, "Environment Variables" of libpq).
_VARIABLES = {
    "application_name": "PGAPPNAME",
    "client_encoding": "PGCLIENTENCODING",
    **{
        name: f"PG{name.upper()}"
        for name in (
            "connect_timeout", "gssencmode", "gsslib", "host", "hostaddr", "krbsrvname", "options", "passfile", "port",
            "service", "sslcert", "sslcrl", "sslcrldir", "sslkey", "sslmode", "sslrootcert", "sslsni",
        )
    },
    "channel_binding": "PGCHANNELBINDING",
    "load_balance_hosts": "PGLOADBALANCEHOSTS",
    "require_auth": "PGREQUIREAUTH",
    "requirepeer": "PGREQUIREPEER",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "sslcertmode": "PGSSLCERTMODE",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}  # fmt: skip
_OF_LONG_SESSIONS = {"keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval", "tcp_user_timeout"}


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
    parts = urlsplit(verified(url, os.environ))
    words = {"--host": parts.hostname, "--port": parts.port, "--username": parts.username}
    where = [f"{option}={unquote(str(value))}" for option, value in words.items() if value is not None]
    query = dict(parse_qsl(parts.query))
    if unknown := sorted(query.keys() - _VARIABLES.keys() - _OF_LONG_SESSIONS):
        raise StoreError(f"{program} cannot be told {unknown[0]} of the URL; write it into a service file of libpq")
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
