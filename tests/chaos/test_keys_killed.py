"""Sealing a root and changing its master key, killed at every step: the next run ends it, nothing is lost or left."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.engine.default import DefaultDialect
from tests.chaos.steps import Steps, deadly
from tests.faceloop.sealing_world import assert_sealed, copied, plain_root
from tests.facestore.key_world import SealedRoot, sealed_root, spelled

import facestore.keystore
from faceloop.runner import run_stage
from faceloop.upkeep.sealing import seal_root
from facestore.errors import ConfigError
from facestore.keymarker import Marker, without_old, write_marker
from facestore.keyrotation import rotate
from facestore.keys import open_keyring
from facestore.secretkeys import MASTER_KEY, NEW_MASTER_KEY

IS_LONG = bool(os.environ.get("FACELOOP_LONG"))
NEW_KEY = bytes(range(100, 132))
FACES = [f"face-{number}" for number in range(6)]
FILES = ((Path, ("rename", "replace", "unlink", "mkdir", "write_text")), (shutil, ("rmtree", "copyfile")))
STATEMENTS = ((DefaultDialect, ("do_execute", "do_commit")), (Path, ("write_text", "replace")))


def _is_killed(point: int, steps: Steps, work: Callable[[], object]) -> bool:
    """Do it in a child that is killed at `point`; False where it ended before."""
    child = os.fork()
    if child == 0:
        try:
            with deadly(point, steps):
                work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


def _rotation(root: SealedRoot) -> Callable[[], int]:
    both = {**root.environ, NEW_MASTER_KEY: spelled(NEW_KEY)}
    return lambda: rotate(root.path, new_key=NEW_KEY, new_key_file=None, environ=both)


def _opens(root: Path, environ: dict[str, str], sealed: dict[str, bytes]) -> bool:
    ring = open_keyring(root, environ)
    assert ring is not None
    try:
        return all(ring.unseal(face, "aligned", one) == face.encode() for face, one in sealed.items())
    finally:
        ring.close()


def _rotations(folder: Path, every: int) -> int:
    """Kill a rotation at every so-manieth step and end it by another; returns the kills."""
    point, killed = 1, 0
    while True:
        root = sealed_root(folder / str(point))
        ring = root.ring()
        ring.prepare(FACES)
        sealed = {face: ring.seal(face, "aligned", face.encode()) for face in FACES}
        ring.close()
        if not _is_killed(point, STATEMENTS, _rotation(root)):
            return killed
        killed += 1
        both = {**root.environ, NEW_MASTER_KEY: spelled(NEW_KEY)}
        assert _opens(root.path, both, sealed), point
        _rotation(root)()
        assert _opens(root.path, {MASTER_KEY: spelled(NEW_KEY)}, sealed), point
        with pytest.raises(ConfigError):
            root.ring()
        point += every


def test_a_rotation_of_the_master_key_is_killed_anywhere_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facestore.keystore, "_AT_ONCE", 2)  # more transactions
    assert _rotations(tmp_path, 1 if IS_LONG else 4) >= (25 if IS_LONG else 6)


def test_a_rotation_that_forgets_the_old_key_first_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: the marker names the new master key alone before data keys are wrapped anew."""

    def hasty(root: Path, marker: Marker) -> None:
        write_marker(root, without_old(marker) if marker.new_master_id else marker)

    monkeypatch.setattr("facestore.keyrotation.write_marker", hasty)
    with pytest.raises(ConfigError):
        _rotations(tmp_path, 1)


@pytest.mark.integration
@pytest.mark.skipif(not IS_LONG, reason="of make chaos: FACELOOP_LONG=1")
def test_sealing_a_root_is_killed_anywhere_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = plain_root(tmp_path / "made")
    point, killed = 1, 0
    while True:
        one = copied(made, tmp_path / str(point))
        monkeypatch.setenv(MASTER_KEY, sealed_root(one.work.root).environ[MASTER_KEY])
        if not _is_killed(point, FILES, lambda one=one: seal_root(one.work)):  # type: ignore[misc]
            break
        killed += 1
        seal_root(one.work)
        assert_sealed(one)
        assert run_stage(one.work, "pack").was_published_before
        shutil.rmtree(one.work.root)
        point += 8
    assert killed >= 18
