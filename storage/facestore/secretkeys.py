"""Where secret keys come from: the environment, or a file that only its owner reads. Never from a root.

A key is 32 bytes, written as base64. It is not logged, and no error names it.
"""

import base64
import binascii
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from facestore.errors import ConfigError

KEY_BYTES = 32
MASTER_KEY, NEW_MASTER_KEY, SIGNING_KEY = "FACELOOP_MASTER_KEY", "FACELOOP_NEW_MASTER_KEY", "FACELOOP_SIGNING_KEY"
_FILE = "_FILE"  # FACELOOP_MASTER_KEY_FILE names a file that holds the same


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretKey:
    """32 secret bytes, and where they came from."""

    key: bytes = field(repr=False)
    came_from: str


def read_secret(environ: Mapping[str, str], name: str, default_file: Path | None = None) -> SecretKey | None:
    """The key in variable NAME, else in the file that NAME_FILE names, else in `default_file`; None where none is.

    Raises ConfigError for a key that is not 32 bytes of base64, a missing file that was named by the environment, and
    a file that others may read.
    """
    if text := environ.get(name, "").strip():
        return SecretKey(key=_decoded(text, name), came_from=name)
    if named := environ.get(name + _FILE, "").strip():
        return _read_file(Path(named), f"{name}{_FILE}")
    if default_file is not None and default_file.is_file():
        return _read_file(default_file, default_file.name)
    return None


def write_secret(path: Path) -> bytes:
    """Make a key file, readable by its owner only; returns the key. Raises ConfigError where something is there."""
    key = secrets.token_bytes(KEY_BYTES)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(base64.b64encode(key) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
    except FileExistsError as error:
        raise ConfigError(f"{path.name} is there already; a key is never written over: name another file") from error
    except OSError as error:
        raise ConfigError(f"cannot write the key file: {error.strerror}; name a file in a folder of yours") from error
    return key


def _read_file(path: Path, what: str) -> SecretKey:
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"the key file of {what} cannot be read; name one that holds 32 bytes as base64") from error
    if mode & 0o077:
        raise ConfigError(f"the key file of {what} may be read by others; run `chmod 600` on it")
    return SecretKey(key=_decoded(text, what), came_from=what)


def _decoded(text: str, what: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{what} does not hold {KEY_BYTES} bytes as base64; make one with `faceloop keys init`")
    return key
