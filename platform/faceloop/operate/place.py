"""Where a deployment on one machine lives: its folder, its ports, its secrets. Made once, kept for ever."""

import json
import os
import secrets
import socket
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from facestore.errors import ConfigError
from facestore.publish import write_whole

HOST = "127.0.0.1"  # nothing listens to another machine
USERS = {"admin": "admin", "robot": "op", "viewer": "viewer"}  # of Airflow, and their roles
_FIRST_PORT, _LAST_PORT, _BLOCK = 8080, 49_000, 10
Kept = TypeVar("Kept", "Ports", "Keys")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The folder of a deployment, absolute, and what lies where in it."""

    folder: Path

    @property
    def params(self) -> Path:
        return self.folder / "params.yaml"

    @property
    def root(self) -> Path:
        """What the platform publishes."""
        return self.folder / "root"

    @property
    def inbox(self) -> Path:
        """Where people drop footage."""
        return self.folder / "inbox"

    @property
    def airflow(self) -> Path:
        return self.folder / "airflow"

    @property
    def metadata(self) -> Path:
        """Airflow's own database."""
        return self.airflow / "airflow.db"

    @property
    def passwords(self) -> Path:
        return self.airflow / "passwords.json"

    @property
    def labels(self) -> Path:
        """Label Studio's database, pictures and credentials."""
        return self.folder / "label-studio"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def standing(self) -> Path:
        """Which parts run now."""
        return self.folder / "standing.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Kept, because projects in Label Studio remember where the webhook listens."""

    airflow: int
    labels: int
    webhook: int
    metrics: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Secrets of a deployment. Whoever can read their file is its administrator."""

    fernet: str
    session: str
    jwt: str
    webhook: str
    passwords: dict[str, str]  # by user


def place_of(folder: Path) -> Place:
    return Place(folder=folder.resolve())


def kept_ports(place: Place, base: int | None) -> Ports:
    """The ports of last time; else those from `base` on; else the first four neighbours that are free from 8080 on.

    Raises ConfigError for a base that is not that of last time: projects in Label Studio know the old webhook.
    """
    path = place.folder / "ports.json"
    ports = _kept(path, lambda: _ports(_free_block() if base is None else base), Ports)
    if base is not None and ports.airflow != base:
        raise ConfigError(
            f"{place.folder} has its ports from {ports.airflow} on, not {base}, and Label Studio's projects know them; "
            "leave out --port-base, or take another folder"
        )
    return ports


def refuse_taken(ports: Ports) -> None:
    """Raises ConfigError naming a port on which something else listens."""
    for name, port in asdict(ports).items():
        if not _is_free(port):
            raise ConfigError(
                f"port {port} (for {name}) is taken by another program; end it, or take another folder and --port-base"
            )


def kept_keys(place: Place) -> Keys:
    return _kept(place.folder / "keys.json", _new_keys, Keys)


def write_private(path: Path, text: str) -> None:
    """The whole text or nothing of it, for its owner only."""
    write_whole(path, text, mode=0o600)


def _kept(path: Path, make: Callable[[], Kept], kind: type[Kept]) -> Kept:
    if not path.is_file():
        write_private(path, json.dumps(asdict(make()), indent=1))
    try:
        return kind(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} is damaged ({error}); restore it, or move the folder away and begin anew") from error


def _new_keys() -> Keys:
    return Keys(
        fernet=urlsafe_b64encode(os.urandom(32)).decode(),
        session=secrets.token_urlsafe(32),
        jwt=secrets.token_urlsafe(48),
        webhook=secrets.token_urlsafe(32),
        passwords={user: secrets.token_urlsafe(12) for user in USERS},
    )


def _ports(base: int) -> Ports:
    return Ports(airflow=base, labels=base + 1, webhook=base + 2, metrics=base + 3)


def _free_block() -> int:
    for base in range(_FIRST_PORT, _LAST_PORT, _BLOCK):
        if all(_is_free(port) for port in asdict(_ports(base)).values()):
            return base
    raise ConfigError(f"no four free ports between {_FIRST_PORT} and {_LAST_PORT}; give --port-base")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what just ended does not count
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
