"""A labelling server of our own on loopback: install it once, start it, wait until it answers, stop it.

`python -m facereview.labelstudio.local start|stop|status --folder FOLDER` is what `make labelstudio` calls.
"""

import argparse
import json
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from shutil import which

from facereview.labelstudio.install import LOCK, Say, cache_folder, install, new_database
from facereview.labelstudio.settings import ServerPlace, server_environment
from facereview.labelstudio.tokens import log_in, renews
from facestore.errors import FaceloopError, ServerAway, ServerError

ADMIN = "admin@faceloop.example"
_START_S = 240.0
_STOP_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """What `credentials.json` (mode 0600) in the server's folder holds. Whoever can read it is its administrator."""

    url: str
    email: str
    password: str
    token: str  # personal access token
    files: str  # folder whose pictures the server hands out
    pid: int


def install_server(say: Say, *, lock: Path = LOCK) -> Path:
    """The pinned server's command, installed into the user's cache if it was not. Raises ServerError."""
    beside = Path(sys.executable).with_name("uv")
    uv = beside if beside.is_file() else Path(which("uv") or "uv")
    return install(cache_folder(os.environ), lock=lock, uv=uv, python=Path(sys.executable), say=say)


def start_server(
    folder: Path,
    *,
    port: int | None = None,
    database_url: str | None = None,
    is_legacy_token: bool = False,
    say: Say = lambda line: None,
) -> RunningServer:
    """Start the server whose database lies in the folder (a new one, if there is none), mint a token, write
    credentials.json. One that runs there already is given back as it is. Without a port a free one is taken.

    Raises ServerError, with the end of the server's log, if it ends or does not answer within four minutes.
    """
    if (known := running(folder)) is not None:
        return known
    command = install_server(say)
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    place = ServerPlace(folder=folder, port=port or free_port(), database_url=database_url)
    place.files.mkdir(exist_ok=True, mode=0o700)
    if database_url is None:
        new_database(command.parents[2], folder)
    _refuse_taken(place)
    before = _read(folder)
    password = before.password if before else secrets.token_urlsafe(18)
    environment = server_environment(place, os.environ, email=ADMIN, password=password, is_legacy_token=is_legacy_token)
    pid = _spawn(command, place, environment)
    _write(
        folder, _server(place, password, token=before.token if before else "", pid=pid)
    )  # so that it can be stopped whatever follows
    try:
        _wait(place, pid, say)
        token = _token(place, before, password, is_legacy_token=is_legacy_token)
        server = _server(place, password, token=token, pid=pid)
    except FaceloopError:
        _end(pid)
        raise
    _write(folder, server)
    say(f"Label Studio answers at {server.url}; credentials: {_credentials(folder)}")
    return server


def stop_server(folder: Path) -> bool:
    """End the server of this folder; False if none runs. Its database and credentials stay."""
    known = running(folder)
    if known is None:
        return False
    _end(known.pid)
    return True


def running(folder: Path) -> RunningServer | None:
    """The server of this folder, if its process lives and is a Label Studio."""
    known = _read(folder.resolve())
    return known if known is not None and _is_ours(known.pid) else None


def is_up(url: str, timeout_s: float = 2.0) -> bool:
    """Whether /health answers."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = HTTPConnection(host, int(port), timeout=timeout_s)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def _token(place: ServerPlace, before: RunningServer | None, password: str, *, is_legacy_token: bool) -> str:
    # Minting voids the token that is in use elsewhere, so the old one stays as long as it works.
    if before is not None and before.token and renews(place.url, before.token):
        return before.token
    login = log_in(place.url, ADMIN, password)
    if is_legacy_token:
        login.allow_legacy_tokens(allowed=True)
    return login.mint()


def _spawn(command: Path, place: ServerPlace, environment: Mapping[str, str]) -> int:
    # A session of its own, so that it outlives us; nobody waits for it as a Popen would.
    arguments = [str(command), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(place.port)]
    appended = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(place.log), appended, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(arguments[0], arguments, dict(environment), file_actions=files, setsid=True)


def _wait(place: ServerPlace, pid: int, say: Say) -> None:
    begin = told = time.monotonic()
    while not is_up(place.url):
        now = time.monotonic()
        if not _is_there(pid):
            raise ServerError(f"Label Studio ended as it began; {_last_words(place)}")
        if now - begin > _START_S:
            raise ServerAway(
                f"Label Studio does not answer at {place.url} after {_START_S:.0f} s; {_last_words(place)}"
            )
        if now - told > 10:
            told = now
            say(f"waiting for {place.url} ({now - begin:.0f} s)")
        time.sleep(0.2)


def _last_words(place: ServerPlace) -> str:
    lines = place.log.read_text(errors="replace").strip().splitlines()[-12:]
    return f"its last words ({place.log}):\n" + "\n".join(lines)


def _refuse_taken(place: ServerPlace) -> None:
    # Label Studio itself would go to the next free port, where nobody looks for it.
    with socket.socket() as caller:
        if caller.connect_ex(("127.0.0.1", place.port)) == 0:
            raise ServerError(f"port {place.port} is taken by something else; give another port, or end what is there")


def _end(pid: int) -> None:
    for number, patience_s in ((signal.SIGTERM, _STOP_S), (signal.SIGKILL, 5.0)):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        until = time.monotonic() + patience_s
        while _is_there(pid) and time.monotonic() < until:
            time.sleep(0.05)


def _is_there(pid: int) -> bool:
    with suppress(ChildProcessError):  # started by another process, which nobody has to wait for
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    return Path(f"/proc/{pid}").exists()


def _is_ours(pid: int) -> bool:
    # A pid may have gone to another program since; what has ended but is not yet waited for has no command line.
    try:
        return b"label-studio" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _server(place: ServerPlace, password: str, *, token: str, pid: int) -> RunningServer:
    return RunningServer(url=place.url, email=ADMIN, password=password, token=token, files=str(place.files), pid=pid)


def _credentials(folder: Path) -> Path:
    return folder / "credentials.json"


def _read(folder: Path) -> RunningServer | None:
    path = _credentials(folder)
    if not path.is_file():
        return None
    try:
        return RunningServer(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ServerError(
            f"{path} is damaged ({error}); remove it and the database beside it, or restore it"
        ) from error


def _write(folder: Path, server: RunningServer) -> None:
    partial = _credentials(folder).with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with open(partial, "w", opener=lambda path, flags: os.open(path, flags | os.O_EXCL, 0o600)) as file:
        json.dump(asdict(server), file, indent=1)
    partial.replace(_credentials(folder))


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status; 1 with a sentence on standard error if it did not work."""
    parser = argparse.ArgumentParser(prog="python -m facereview.labelstudio.local", description=__doc__)
    parser.add_argument("action", choices=["install", "start", "stop", "status"])
    parser.add_argument("--folder", type=Path, default=Path("data/label-studio"), help="its database, log, credentials")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--database", help="postgresql://USER:PASSWORD@HOST:PORT/NAME; without it SQLite in the folder")
    options = parser.parse_args(arguments)
    say = _to_stderr
    try:
        match options.action:
            case "install":
                say(str(install_server(say)))
            case "start":
                start_server(options.folder, port=options.port, database_url=options.database, say=say)
            case "stop":
                say("stopped" if stop_server(options.folder) else "none was running")
            case _:
                known = running(options.folder)
                say(f"{known.url} (process {known.pid})" if known else "none is running")
                return 0 if known else 1
    except FaceloopError as error:
        say(str(error))
        return 1
    return 0


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
