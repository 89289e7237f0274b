"""A key for every face: crops, vectors and samples of a root that opted in are sealed, and destroying a key erases.

Words: a *data key* seals what belongs to one owner (a face, or for a tracklet's mean vector the tracklet); a *master
key* wraps data keys and lives outside the root; a *key ring* is both for one root. A root opts in with a file
`encryption.json`, which says where its data keys are; without that file everything is as it was.
"""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from facestore.errors import ConfigError, DataError, KeyShredded, StoreError
from facestore.keymarker import KEYS_URL, MARKER, Marker, keys_url, read_marker, write_marker
from facestore.secretkeys import MASTER_KEY, NEW_MASTER_KEY, read_secret

if TYPE_CHECKING:
    from facestore.ciphers import Cipher
    from facestore.keystore import KeyStore, WrappedKey

__all__ = ["MARKER", "KeyRing", "KeyShredded", "Marker", "init_keyring", "keyring_near", "open_keyring", "read_marker"]

DEFAULT_KEYS = "keys.sqlite3"
_PAYLOAD_VERSION = "1"
_CACHED_KEYS = 1 << 17  # opened in memory; about 100 MB at most
_AHEAD = 512  # keys that one question reads


class KeyRing:
    """Seals and opens payloads of one root. May be pickled and forked.

    An opened data key stays in memory with this object: a process that must not read what was shredded ends.
    """

    def __init__(self, root: Path, environ: Mapping[str, str]) -> None:
        """Raises ConfigError when no master key of this root is at hand."""
        self.root = root
        self._environ = environ
        self._ciphers: dict[str, Cipher] = {}
        self._ahead: dict[str, WrappedKey] = {}  # read with others, not asked for yet
        self._store: KeyStore | None = None
        self._pid = os.getpid()
        self._masters = _masters(read_marker(root), environ)

    def seal(self, face_id: str, kind: str, payload: bytes) -> bytes:
        """Sealed bytes, 29 longer than the payload, which only this owner and kind open again.

        A new owner's key is made and kept before this returns; `prepare` does it for many at once. Equal calls give
        equal bytes as long as the owner's key lives.
        """
        cipher = self._cipher(face_id)
        if cipher is None:
            self.prepare([face_id])
            cipher = self._cipher(face_id)
        if cipher is None:
            raise KeyShredded(face_id)  # destroyed this very moment
        return cipher.seal(_context(face_id, kind), payload)

    def unseal(self, face_id: str, kind: str, sealed: bytes) -> bytes:
        """The payload. Raises KeyShredded where the owner has no key, DataError where the bytes were changed."""
        cipher = self._cipher(face_id)
        if cipher is None:
            raise KeyShredded(face_id)
        try:
            return cipher.open(_context(face_id, kind), sealed)
        except DataError as error:
            raise DataError(f"{kind} of {face_id}: {error}") from error

    def prepare(self, face_ids: Collection[str]) -> None:
        """Have a key for each of these owners, in one transaction: a batch that is run again finds the same keys."""
        self.fetch(face_ids)
        if missing := sorted({face_id for face_id in face_ids if face_id not in self._ciphers}):
            from facestore.ciphers import fresh_key

            fresh = {face_id: self._wrapped(face_id, fresh_key(), self._newest()) for face_id in missing}
            self._keep(self._opened().add(fresh, self._refuse_outdated))

    def _refuse_outdated(self) -> None:
        if read_marker(self.root).master_id not in self._masters:
            raise ConfigError("the master key of this root was changed meanwhile; run again with the new one")

    def fetch(self, face_ids: Collection[str]) -> None:
        """Open the keys of these owners that are there, in few questions."""
        wanted = {face_id for face_id in face_ids if face_id not in self._ciphers}
        found = {face_id: self._ahead.pop(face_id) for face_id in wanted & set(self._ahead)}
        if wanted := wanted - set(found):
            found |= self._opened().find(wanted)
        self._keep(found)

    def _cipher(self, owner_id: str) -> "Cipher | None":
        """The owner's; with its key come its neighbours' in the order of ids, for whoever reads on at random."""
        cipher = self._ciphers.get(owner_id)
        if cipher is not None:
            return cipher
        wrapped = self._ahead.pop(owner_id, None)
        if wrapped is None:
            near = self._opened().neighbours(owner_id, _AHEAD)
            wrapped = near.pop(owner_id, None)
            if len(self._ahead) > _CACHED_KEYS:
                self._ahead.clear()
            self._ahead |= near
        if wrapped is not None:
            return self._keep({owner_id: wrapped})[owner_id]
        return None

    def shred(self, face_ids: Iterable[str]) -> int:
        """Destroy keys: face ids, and tracklet ids for their mean vectors. Idempotent; returns how many were there.

        Nothing opens what they sealed any more, in no copy. Call `purge` after the last.
        """
        owners = set(face_ids)
        for owner_id in owners:
            self._ciphers.pop(owner_id, None)
            self._ahead.pop(owner_id, None)
        return self._opened().remove(owners)

    def purge(self) -> None:
        """Leave no bytes of destroyed keys in the key store's files. Raises StoreError where it is read just now."""
        self._opened().purge()

    def known(self, face_ids: Iterable[str]) -> set[str]:
        """Those owners that have a key."""
        return set(self._opened().find(set(face_ids)))

    def destroyed(self, owner_ids: Collection[str]) -> set[str]:
        """Those owners whose key was destroyed.

        Raises StoreError where more have none than were ever destroyed: then the key store is not the one that sealed.
        """
        gone = {owner_id for owner_id in owner_ids if owner_id not in self._ciphers}
        if gone:
            gone -= self.known(gone)
        if gone and len(gone) > self._opened().destroyed():
            raise StoreError(
                f"{len(gone)} keys are missing and fewer were destroyed: these keys are not this root's; set "
                f"{KEYS_URL}, or bring the key store back from its backup"
            )
        return gone

    def counts(self) -> dict[str, int]:
        """Keys by the fingerprint of the master key that wraps them."""
        return self._opened().counts()

    def rewrap(self) -> int:
        """Wrap some keys under the new master key (see `keyrotation`); 0: all are."""
        newest = self._newest()

        def anew(owner_id: str, before: "WrappedKey") -> "WrappedKey":
            return self._wrapped(owner_id, self._unwrapped(owner_id, before), newest)

        return self._opened().rewrap(newest, anew)

    def end_rotation(self, then: Callable[[], None]) -> bool:
        """Do `then` if the newest master key wraps every key; no process adds one meanwhile."""
        return self._opened().end_rotation(self._newest(), then)

    def close(self) -> None:
        if self._store is not None and self._pid == os.getpid():
            self._store.close()
        self._store = None
        self._ciphers.clear()
        self._ahead.clear()

    def __getstate__(self) -> Path:
        return self.root

    def __setstate__(self, root: Path) -> None:
        self.__init__(root, os.environ)  # type: ignore[misc]  # keys do not travel: a worker reads them where it is

    def _opened(self) -> "KeyStore":
        if self._store is None or self._pid != os.getpid():  # a connection is not for a forked child
            from facestore.keystore import KeyStore

            self._store, self._pid = KeyStore(keys_url(self.root, read_marker(self.root), self._environ)), os.getpid()
        return self._store

    def _keep(self, found: Mapping[str, "WrappedKey"]) -> "dict[str, Cipher]":
        from facestore.ciphers import Cipher

        if len(self._ciphers) + len(found) > _CACHED_KEYS:
            self._ciphers.clear()
        opened = {owner_id: Cipher(self._unwrapped(owner_id, wrapped)) for owner_id, wrapped in found.items()}
        self._ciphers |= opened
        return opened

    def _newest(self) -> str:
        return next(reversed(self._masters))

    def _wrapped(self, owner_id: str, key: bytes, master_id: str) -> "WrappedKey":
        from facestore.keystore import WrappedKey

        return WrappedKey(master_id, self._masters[master_id].seal(_context(owner_id, "data key"), key))

    def _unwrapped(self, owner_id: str, wrapped: "WrappedKey") -> bytes:
        if wrapped.master_id not in self._masters:
            raise ConfigError(
                f"a key of this root is wrapped under master key {wrapped.master_id}, which is not at hand; set "
                f"{MASTER_KEY}, and while keys are rotated {NEW_MASTER_KEY} too"
            )
        return self._masters[wrapped.master_id].open(_context(owner_id, "data key"), wrapped.wrapped)


def open_keyring(root: Path, environ: Mapping[str, str] | None = None) -> KeyRing | None:
    """The key ring of a root; None where it is not encrypted. `environ`: this process's, unless given.

    Raises ConfigError when the root is encrypted and its master key is not at hand.
    """
    if not (root / MARKER).is_file():
        return None
    return KeyRing(root, os.environ if environ is None else environ)


def keyring_near(path: Path) -> KeyRing | None:
    """The key ring of the root that a path lies in, however deep; None where that root is not encrypted."""
    for folder in path.absolute().parents:
        if (folder / MARKER).is_file():
            return open_keyring(folder)
    return None


def init_keyring(root: Path, *, master_key: bytes, key_file: Path | None, keys: str = DEFAULT_KEYS) -> Marker:
    """Opt a root in: from now on what is written there is sealed. Raises ConfigError where it is already."""
    from facestore.ciphers import fingerprint

    if (root / MARKER).exists():
        raise ConfigError("this root is encrypted already; `faceloop keys rotate` changes its master key")
    if key_file is not None and key_file.resolve().is_relative_to(root.resolve()):
        raise ConfigError("the master key must not lie in the root that it protects; name a file elsewhere")
    root.mkdir(parents=True, exist_ok=True)
    named = str(key_file.resolve()) if key_file is not None else None
    marker = Marker(keys=keys, master_id=fingerprint(master_key), key_file=named)
    write_marker(root, marker)
    return marker


def _masters(marker: Marker, environ: Mapping[str, str]) -> dict[str, "Cipher"]:
    """Ciphers of the master keys that this root accepts now, the newest last."""
    from facestore.ciphers import Cipher, fingerprint

    accepted = [marker.master_id, *([marker.new_master_id] if marker.new_master_id else [])]
    files = [Path(file) for file in (marker.key_file, marker.new_key_file) if file]
    told = [read_secret(environ, name) for name in (MASTER_KEY, NEW_MASTER_KEY)]
    kept = [read_secret({}, MASTER_KEY, file) for file in files]
    found: dict[str, Cipher] = {}
    for secret in [*told, *kept]:
        if secret is not None and fingerprint(secret.key) in accepted:
            found[fingerprint(secret.key)] = Cipher(secret.key)
    if missing := [master_id for master_id in accepted if master_id not in found]:
        raise ConfigError(
            f"this root is encrypted and its master key {missing[0]} is not at hand; set "
            f"{NEW_MASTER_KEY if missing[0] == marker.new_master_id else MASTER_KEY} or the variable with _FILE behind "
            "it that names a key file"
        )
    return {master_id: found[master_id] for master_id in accepted}


def _context(owner_id: str, kind: str) -> bytes:
    return f"{owner_id}|{kind}|{_PAYLOAD_VERSION}".encode()
