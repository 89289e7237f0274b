"""Another master key for a root: data keys are wrapped anew, nothing that they sealed is touched.

While it runs both master keys open the root; afterwards the old one is refused. Killed in between, it is run again.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from facestore.ciphers import fingerprint
from facestore.errors import ConfigError
from facestore.keymarker import read_marker, without_old, write_marker
from facestore.keys import KeyRing


def rotate(root: Path, *, new_key: bytes, new_key_file: Path | None, environ: Mapping[str, str]) -> int:
    """Wrap every data key under the new master key; returns how many were wrapped now.

    `environ` holds both keys, where no file does. Raises ConfigError where another rotation was begun and not ended,
    or a key is not at hand.
    """
    marker, new_id = read_marker(root), fingerprint(new_key)
    if new_id == marker.master_id:  # a rotation that ended, or was killed before it emptied the key store's journal
        ring = KeyRing(root, environ)
        try:
            ring.purge()
        finally:
            ring.close()
        return 0
    if marker.new_master_id not in (None, new_id):
        raise ConfigError(f"a rotation to master key {marker.new_master_id} was begun; end that one first")
    if new_key_file is not None and new_key_file.resolve().is_relative_to(root.resolve()):
        raise ConfigError("the master key must not lie in the root that it protects; name a file elsewhere")
    named = str(new_key_file.resolve()) if new_key_file is not None else None
    write_marker(root, replace(marker, new_master_id=new_id, new_key_file=named))
    ring, done = KeyRing(root, environ), 0
    try:
        is_over = False
        while not is_over:  # a process that began before may add a key under the old one until the marker forgets it
            while wrapped := ring.rewrap():
                done += wrapped
            is_over = ring.end_rotation(lambda: write_marker(root, without_old(read_marker(root))))
        ring.purge()
    finally:
        ring.close()
    return done
