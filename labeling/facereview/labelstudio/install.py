"""The pinned labelling server in an environment of its own, and an empty database of it: both made once and kept.

Folder: `env/` the environment, `template/` an empty database after its migrations (which take a minute), `ready` the
sha256 of the lock that it was made from. A lock on the folder makes a second process wait for the first.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from facestore.errors import ServerError

VERSION = "1.23.2"
LOCK = Path(__file__).parents[3] / "requirements" / "label-studio.lock"
_DATABASE = "label_studio.sqlite3"
_SLOWEST_S = 1_800.0
Say = Callable[[str], None]


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where the installation is kept, outside any repository: under XDG_CACHE_HOME, or ~/.cache."""
    root = environment.get("XDG_CACHE_HOME") or str(Path(environment.get("HOME", "~")).expanduser() / ".cache")
    return Path(root) / "faceloop" / f"label-studio-{VERSION}"


def install(folder: Path, *, lock: Path, uv: Path, python: Path, say: Say) -> Path:
    """Install what the lock names, by hash, and migrate an empty database, if that has not been done from this very
    lock. Returns the server's command.

    Raises ServerError with the end of the tool's output if one of them fails.
    """
    if not lock.is_file():
        raise ServerError(f"{lock} is not there; run from a checkout, or name the lock of the labelling server")
    sha256 = hashlib.sha256(lock.read_bytes()).hexdigest()
    ready, command = folder / "ready", folder / "env" / "bin" / "label-studio"
    with _alone(folder, say):
        if ready.is_file() and ready.read_text().strip() == sha256 and command.is_file():
            return command
        ready.unlink(missing_ok=True)
        say(f"installing Label Studio {VERSION} into {folder} (once)")
        env = folder / "env"
        _run([uv, "venv", "-q", "--clear", "--python", python, env], os.environ, "make an environment for Label Studio")
        _run(
            [
                uv,
                "pip",
                "install",
                "-q",
                "--no-deps",
                "--require-hashes",
                "--python",
                env / "bin" / "python",
                "-r",
                lock,
            ],
            os.environ,
            "install Label Studio",
        )
        say("migrating an empty database (once, about a minute)")
        _migrate(command, folder)
        ready.write_text(sha256 + "\n")
    return command


def new_database(folder: Path, data: Path) -> None:
    """A copy of the empty database as `data`, unless one is there."""
    if not (data / _DATABASE).exists():
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = data / f"{_DATABASE}.partial"
        shutil.copyfile(folder / "template" / _DATABASE, partial)
        partial.chmod(0o600)
        partial.replace(data / _DATABASE)


def _migrate(command: Path, folder: Path) -> None:
    template, partial = folder / "template", folder / "template.partial"
    for old in (template, partial):
        shutil.rmtree(old, ignore_errors=True)
    partial.mkdir(mode=0o700)
    settings = {
        "PATH": os.defpath,
        "HOME": str(partial),
        "LABEL_STUDIO_BASE_DATA_DIR": str(partial),
        "LABEL_STUDIO_DJANGO_DB": "sqlite",
        "LABEL_STUDIO_SENTRY_DSN": "",
        "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
        "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
        "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
    }
    _run([command, "version"], settings, "migrate an empty database")
    for other in partial.iterdir():  # a secret key and empty folders: every copy makes its own
        if other.name != _DATABASE:
            shutil.rmtree(other) if other.is_dir() else other.unlink()
    partial.rename(template)


def _run(command: list[str | Path], environment: Mapping[str, str], what: str) -> None:
    try:
        done = subprocess.run(
            command, env=dict(environment), capture_output=True, text=True, timeout=_SLOWEST_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerError(f"could not {what}: {error}; run it again") from error
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise ServerError(f"could not {what} (exit {done.returncode}); its last words:\n{tail}")


@contextmanager
def _alone(folder: Path, say: Say) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another process that installs Label Studio")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
