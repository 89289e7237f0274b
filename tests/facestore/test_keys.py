"""A key for every face: sealing, shredding, rotating."""

import os
import pickle
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.facestore.key_world import SealedRoot, sealed_root, spelled

import facestore.ciphers
from facestore import keyrotation
from facestore.ciphers import OVERHEAD_BYTES, Cipher
from facestore.errors import ConfigError, DataError, KeyShredded
from facestore.keymarker import write_marker
from facestore.keyrotation import rotate
from facestore.keys import MARKER, KeyRing, Marker, init_keyring, keyring_near, open_keyring, read_marker
from facestore.keystore import KeyStore, WrappedKey
from facestore.secretkeys import MASTER_KEY, NEW_MASTER_KEY, read_secret, write_secret

NEW_KEY = bytes(range(100, 132))


@pytest.fixture
def root(tmp_path: Path) -> SealedRoot:
    return sealed_root(tmp_path / "root")


@settings(max_examples=60)
@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=20), st.binary(max_size=20))
def test_what_was_sealed_opens_for_its_context_only(one: bytes, other: bytes, here: bytes, there: bytes) -> None:
    cipher = Cipher(bytes(32))
    sealed = cipher.seal(here, one)
    assert cipher.open(here, sealed) == one
    assert len(sealed) == len(one) + OVERHEAD_BYTES
    assert sealed == cipher.seal(here, one)
    assert (cipher.seal(there, other)[:13] == sealed[:13]) == ((here, one) == (there, other))  # nonces
    if here != there:
        with pytest.raises(DataError):
            cipher.open(there, sealed)
    with pytest.raises(DataError):
        Cipher(bytes([1] * 32)).open(here, sealed)


@settings(max_examples=60)
@given(st.binary(max_size=100), st.data())
def test_any_changed_byte_is_refused(payload: bytes, data: st.DataObject) -> None:
    sealed = bytearray(Cipher(bytes(32)).seal(b"face", payload))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(DataError):
        Cipher(bytes(32)).open(b"face", bytes(sealed))


def test_a_run_that_comes_again_gives_equal_bytes(root: SealedRoot) -> None:
    first, second = root.ring(), root.ring()
    sealed = first.seal("face", "aligned", b"picture")
    assert second.seal("face", "aligned", b"picture") == sealed
    assert second.unseal("face", "aligned", sealed) == b"picture"


def test_faces_and_kinds_do_not_share_what_they_seal(root: SealedRoot) -> None:
    ring = root.ring()
    sealed = {ring.seal(face, kind, b"same") for face in ("a", "b") for kind in ("aligned", "context")}
    assert len(sealed) == 4
    with pytest.raises(DataError):
        ring.unseal("a", "context", ring.seal("a", "aligned", b"same"))


def test_a_root_that_did_not_opt_in_has_no_keys(tmp_path: Path) -> None:
    assert open_keyring(tmp_path, {}) is None
    assert keyring_near(tmp_path / "crops" / "b000") is None


def test_a_folder_deep_in_a_root_finds_its_keys(root: SealedRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MASTER_KEY, root.environ[MASTER_KEY])
    found = keyring_near(root.path / "release" / "train" / "shard-00000.lmdb")
    assert found is not None
    assert found.unseal("face", "sample", root.ring().seal("face", "sample", b"x")) == b"x"


def test_without_the_master_key_an_encrypted_root_is_refused(root: SealedRoot) -> None:
    with pytest.raises(ConfigError, match=MASTER_KEY):
        open_keyring(root.path, {})
    with pytest.raises(ConfigError, match=MASTER_KEY):
        open_keyring(root.path, {MASTER_KEY: spelled(NEW_KEY)})


def test_what_was_shredded_never_opens_again_and_others_do(root: SealedRoot) -> None:
    ring = root.ring()
    sealed = {face: ring.seal(face, "aligned", face.encode()) for face in ("a", "b", "c")}
    assert ring.shred(["a", "b", "unknown"]) == 2
    assert ring.shred(["a", "b"]) == 0
    ring.purge()
    for one in (ring, root.ring()):
        assert one.known(["a", "b", "c"]) == {"c"}
        assert one.unseal("c", "aligned", sealed["c"]) == b"c"
        for face in ("a", "b"):
            with pytest.raises(KeyShredded) as caught:
                one.unseal(face, "aligned", sealed[face])
            assert caught.value.owner_id == face
    assert pickle.loads(pickle.dumps(caught.value)).owner_id == "b"  # noqa: S301
    ring.seal("a", "aligned", b"a")  # a new key, for who comes back
    with pytest.raises(DataError):
        ring.unseal("a", "aligned", sealed["a"])


def _wrapped_bytes(root: SealedRoot, face: str) -> bytes:
    return KeyStore(f"sqlite:///{root.path / 'keys.sqlite3'}").find([face])[face].wrapped


def _is_in_files(root: SealedRoot, needle: bytes) -> bool:
    return any(needle in path.read_bytes() for path in root.path.glob("keys.sqlite3*"))


def test_no_byte_of_a_shredded_key_is_left_in_the_files(root: SealedRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaves_bytes(face: str) -> bool:
        ring = root.ring()
        ring.prepare([face, *(f"other-{number}" for number in range(50))])
        needle = _wrapped_bytes(root, face)
        assert _is_in_files(root, needle)
        ring.shred([face])
        ring.purge()
        return _is_in_files(root, needle)

    assert not leaves_bytes("first")
    monkeypatch.setattr(KeyStore, "purge", lambda self: None)  # the mutant: rows are deleted, and no more
    assert leaves_bytes("second")


def test_many_keys_cost_one_transaction_and_come_back_whole(root: SealedRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()
    add = KeyStore.add

    def counted(self: KeyStore, *words: Any) -> dict[str, WrappedKey]:
        calls["add"] += 1
        return add(self, *words)

    monkeypatch.setattr(KeyStore, "add", counted)
    faces = [f"{number:032x}" for number in range(3_000)]
    ring = root.ring()
    ring.prepare(faces)
    sealed = [ring.seal(face, "aligned", face.encode()) for face in faces]
    assert calls["add"] == 1
    again = root.ring()
    assert [again.unseal(face, "aligned", one).decode() for face, one in zip(faces, sealed, strict=True)] == faces


def test_two_that_make_the_same_key_at_once_agree(root: SealedRoot) -> None:
    first, second = root.ring(), root.ring()
    first.fetch(["face"])
    second.fetch(["face"])  # both saw that there is none
    assert second.seal("face", "aligned", b"x") == first.seal("face", "aligned", b"x")


def test_a_ring_goes_to_a_worker_without_its_keys(root: SealedRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MASTER_KEY, root.environ[MASTER_KEY])
    ring = root.ring()
    sealed = ring.seal("face", "aligned", b"x")
    travelled = pickle.dumps(ring)
    assert root.environ[MASTER_KEY].encode() not in travelled
    assert bytes(range(32)) not in travelled
    assert pickle.loads(travelled).unseal("face", "aligned", sealed) == b"x"  # noqa: S301


def test_a_forked_child_opens_the_store_anew(root: SealedRoot) -> None:
    ring = root.ring()
    sealed = ring.seal("face", "aligned", b"x")
    other = root.ring()
    other.prepare(["another"])
    if (child := os.fork()) == 0:
        os._exit(0 if other.unseal("face", "aligned", sealed) == b"x" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_another_master_key_opens_everything_and_the_old_one_nothing(root: SealedRoot) -> None:
    sealed = root.ring().seal("face", "aligned", b"x")
    both = {**root.environ, NEW_MASTER_KEY: spelled(NEW_KEY)}
    assert rotate(root.path, new_key=NEW_KEY, new_key_file=None, environ=both) == 1
    assert rotate(root.path, new_key=NEW_KEY, new_key_file=None, environ=both) == 0
    with pytest.raises(ConfigError):
        root.ring()
    ring = open_keyring(root.path, {MASTER_KEY: spelled(NEW_KEY)})
    assert ring is not None
    assert ring.unseal("face", "aligned", sealed) == b"x"
    assert list(ring.counts()) == [read_marker(root.path).master_id]


def test_a_rotation_that_was_killed_goes_on_and_both_keys_work_meanwhile(
    root: SealedRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = [f"{number:04d}" for number in range(4_500)]
    ring = root.ring()
    ring.prepare(faces)
    sealed = [ring.seal(face, "aligned", face.encode()) for face in faces]
    both = {**root.environ, NEW_MASTER_KEY: spelled(NEW_KEY)}
    rewrap, calls = KeyRing.rewrap, Counter[str]()

    def killed(self: KeyRing) -> int:
        calls["rewrap"] += 1
        if calls["rewrap"] == 2:
            raise KeyboardInterrupt
        return rewrap(self)

    monkeypatch.setattr(KeyRing, "rewrap", killed)
    with pytest.raises(KeyboardInterrupt):
        rotate(root.path, new_key=NEW_KEY, new_key_file=None, environ=both)
    monkeypatch.undo()
    between = open_keyring(root.path, both)
    assert between is not None
    assert len(between.counts()) == 2
    assert [between.unseal(face, "aligned", one).decode() for face, one in zip(faces, sealed, strict=True)] == faces
    with pytest.raises(ConfigError, match="begun"):
        rotate(root.path, new_key=bytes(32), new_key_file=None, environ=both)
    assert rotate(root.path, new_key=NEW_KEY, new_key_file=None, environ=both) == 2_500
    after = open_keyring(root.path, {MASTER_KEY: spelled(NEW_KEY)})
    assert after is not None
    assert [after.unseal(face, "aligned", one).decode() for face, one in zip(faces, sealed, strict=True)] == faces


def test_a_rotation_that_was_killed_before_it_emptied_the_journal_does_so_when_it_is_run_again(
    root: SealedRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.ring().prepare(["face"])
    both = {**root.environ, NEW_MASTER_KEY: spelled(NEW_KEY)}
    purge, calls = KeyRing.purge, Counter[str]()

    def killed(self: KeyRing) -> None:
        calls["purge"] += 1
        if calls["purge"] == 1:
            raise KeyboardInterrupt
        purge(self)

    monkeypatch.setattr(KeyRing, "purge", killed)
    with pytest.raises(KeyboardInterrupt):
        rotate(root.path, new_key=NEW_KEY, new_key_file=None, environ=both)
    assert rotate(root.path, new_key=NEW_KEY, new_key_file=None, environ=both) == 0
    assert calls["purge"] == 2


def test_a_process_of_before_a_rotation_makes_no_keys_that_nobody_opens(root: SealedRoot) -> None:
    before = root.ring()
    rotate(root.path, new_key=NEW_KEY, new_key_file=None, environ={**root.environ, NEW_MASTER_KEY: spelled(NEW_KEY)})
    with pytest.raises(ConfigError, match="run again"):
        before.seal("face", "aligned", b"x")


def test_a_key_that_comes_as_a_rotation_ends_is_refused(root: SealedRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not kept under a master key that nobody accepts any more, which is for ever."""
    before = root.ring()
    both = {**root.environ, NEW_MASTER_KEY: spelled(NEW_KEY)}
    add = KeyStore.add

    def late(self: KeyStore, *words: Any) -> dict[str, WrappedKey]:
        rotate(root.path, new_key=NEW_KEY, new_key_file=None, environ=both)
        return add(self, *words)

    monkeypatch.setattr(KeyStore, "add", late)
    with pytest.raises(ConfigError, match="run again"):
        before.prepare(["face"])
    after = open_keyring(root.path, {MASTER_KEY: spelled(NEW_KEY)})
    assert after is not None
    assert after.counts() == {}


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_key_that_comes_before_the_old_master_key_goes_is_wrapped_anew(
    root: SealedRoot, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    before = root.ring()
    both = {**root.environ, NEW_MASTER_KEY: spelled(NEW_KEY)}
    rewrap, sealed = KeyRing.rewrap, list[bytes]()

    def then_another(self: KeyRing) -> int:
        done = rewrap(self)
        if not done and not sealed:
            sealed.append(before.seal("face", "aligned", b"x"))
        return done

    def then_die(path: Path, marker: Marker) -> None:
        write_marker(path, marker)
        if marker.new_master_id is None:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(KeyRing, "rewrap", then_another)
        if is_killed:
            patch.setattr(keyrotation, "write_marker", then_die)
        with pytest.raises(KeyboardInterrupt) if is_killed else nullcontext():
            rotate(root.path, new_key=NEW_KEY, new_key_file=None, environ=both)
    rotate(root.path, new_key=NEW_KEY, new_key_file=None, environ=both)
    after = open_keyring(root.path, {MASTER_KEY: spelled(NEW_KEY)})
    assert after is not None
    assert after.unseal("face", "aligned", sealed[0]) == b"x"


def test_a_master_key_lies_outside_the_root_and_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "master.key"
    key = write_secret(file)
    assert file.stat().st_mode & 0o777 == 0o600
    found = read_secret({f"{MASTER_KEY}_FILE": str(file)}, MASTER_KEY)
    assert found is not None and found.key == key
    assert spelled(key) not in repr(found) and repr(key) not in repr(found)
    with pytest.raises(ConfigError, match="already"):
        write_secret(file)
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod"):
        read_secret({f"{MASTER_KEY}_FILE": str(file)}, MASTER_KEY)
    with pytest.raises(ConfigError, match="32 bytes"):
        read_secret({MASTER_KEY: spelled(b"short")}, MASTER_KEY)
    with pytest.raises(ConfigError, match="elsewhere"):
        init_keyring(tmp_path, master_key=key, key_file=file)
    assert not (tmp_path / MARKER).exists()


def test_one_key_for_all_would_be_noticed(root: SealedRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: keys that are not of their own let who has one face's key open another's."""

    def opens_anothers(one: KeyRing, names: tuple[str, str]) -> bool:
        sealed = one.seal(names[0], "aligned", b"x")
        one.prepare(names)
        stored = KeyStore(f"sqlite:///{root.path / 'keys.sqlite3'}").find(names)
        theirs = Cipher(one._unwrapped(names[1], stored[names[1]]))
        try:
            return theirs.open(f"{names[0]}|aligned|1".encode(), sealed) == b"x"
        except DataError:
            return False

    assert not opens_anothers(root.ring(), ("a", "b"))
    monkeypatch.setattr(facestore.ciphers, "fresh_key", lambda: bytes(32))
    assert opens_anothers(root.ring(), ("c", "d"))


@pytest.mark.integration
def test_keys_live_in_postgresql_too(tmp_path: Path, postgres_url: str) -> None:
    root = sealed_root(tmp_path / "root", keys=postgres_url)
    ring = root.ring()
    sealed = ring.seal("face", "aligned", b"x")
    assert root.ring().unseal("face", "aligned", sealed) == b"x"
    assert ring.shred(["face"]) == 1
    ring.purge()
    with pytest.raises(KeyShredded):
        root.ring().unseal("face", "aligned", sealed)
    ring.close()
