"""Model files as verified bytes: what was hashed is what is loaded."""

import hashlib
from pathlib import Path

from facestore.errors import ModelCorrupt


def sha256_of(content: bytes) -> str:
    """Lower-case hex sha256."""
    return hashlib.sha256(content).hexdigest()


def read_bytes(path: Path) -> bytes:
    """A model file whole; raises ModelCorrupt where it is missing or cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelCorrupt(f"model file {path} cannot be read ({error.strerror}); install the pack again") from error


def read_verified(path: Path, *, sha256: str) -> bytes:
    """A model file whole, its sha256 checked on the very bytes returned; raises ModelCorrupt."""
    content = read_bytes(path)
    if (found := sha256_of(content)) != sha256:
        raise ModelCorrupt(f"{path}: sha256 {found}, the pack says {sha256}; install the pack again")
    return content
