"""Keyed references: what stands for a person or a file where neither may be named.

A plain hash of an id could be tried out by whoever has candidates; these need a secret, the *pepper*, which lies in no
artifact. Whoever loses it can tell no more which file was erased, and nothing else.
"""

import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from facestore.errors import ConfigError
from facestore.publish import sync_path

PEPPER = "FACELOOP_PEPPER"  # hex, at least 32 digits
PEPPER_FILE = ".pepper"  # of the root; never part of an artifact, a release or a backup of them
_BYTES = 32
_FEWEST_BYTES = 16


def subject_ref(pepper: bytes, key: str) -> str:
    """HMAC-SHA256 (RFC 2104) of an id, a name or a sha256 under the pepper: 64 hex digits, equal for equal keys."""
    return hmac.digest(pepper, key.encode(), "sha256").hex()


def read_pepper(root: Path, environ: Mapping[str, str] | None = None) -> bytes:
    """The pepper of a root: from the environment, else from its file, which is made once, readable by its owner alone.

    Raises ConfigError for one that is no hex or too short.
    """
    if told := (os.environ if environ is None else environ).get(PEPPER):
        return _checked(told, PEPPER)
    path = root / PEPPER_FILE
    if not path.is_file():
        _make(path)
    return _checked(path.read_text(encoding="ascii"), PEPPER_FILE)


def _checked(text: str, where: str) -> bytes:
    try:
        pepper = bytes.fromhex(text.strip())
    except ValueError:
        pepper = b""
    if len(pepper) < _FEWEST_BYTES:
        raise ConfigError(f"{where} holds no pepper: at least {2 * _FEWEST_BYTES} hex digits; put back the right one")
    return pepper


def _make(path: Path) -> None:
    """Of several that come at once the first one's stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(waiting, path)
        except FileExistsError:
            return
        sync_path(path.parent)
    finally:
        waiting.unlink(missing_ok=True)
