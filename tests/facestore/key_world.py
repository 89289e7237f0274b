"""A root that is encrypted, and the master key that opens it."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from facestore.keys import KeyRing, init_keyring, open_keyring
from facestore.secretkeys import MASTER_KEY


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedRoot:
    """`environ` says the master key."""

    path: Path
    environ: Mapping[str, str]

    def ring(self) -> KeyRing:
        found = open_keyring(self.path, self.environ)
        assert found is not None
        return found


def spelled(key: bytes) -> str:
    return base64.b64encode(key).decode()


def sealed_root(path: Path, master_key: bytes = bytes(range(32)), keys: str = "keys.sqlite3") -> SealedRoot:
    init_keyring(path, master_key=master_key, key_file=None, keys=keys)
    return SealedRoot(path=path, environ={MASTER_KEY: spelled(master_key)})
