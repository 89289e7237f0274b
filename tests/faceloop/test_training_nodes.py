"""Training on several machines, as processes of this one: who comes, who is refused, who is gone; what comes out."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from faceloop.runner import Workspace, run_stage
from faceloop.training.launching import JOB
from faceloop.training.nodes import attend, lead
from faceloop.training.roll_call import INVITATION, Invitation, Line, RollCall
from faceloop.vision.packs import load_pack
from facestore.errors import ConfigError, StageError

from .training_release import released_to_train
from .training_world import ROOT

PATIENCE_S = 60.0  # of what is sure to come
TWO_STEPS = (
    "train.start=scratch", "train.batch_size=8", "train.schedule.epochs=2", "train.workers=0", "train.device=cpu",
    "train.freeze_batchnorm=false", "train.architecture.dimension=32", "train.checkpoint_every=1",
)  # fmt: skip


@pytest.fixture
def callers() -> Iterator[list[Line]]:
    """Those who say hello; their connections are closed afterwards."""
    lines: list[Line] = []
    yield lines
    for line in lines:
        line.close()


def _hello(callers: list[Line], roll: RollCall, token: str, node: int) -> Line:
    line = Line(socket.create_connection(("127.0.0.1", roll.invitation.port)))
    callers.append(line)
    line.say(token=token, node=node)
    return line


@contextmanager
def _called(folder: Path, nodes: int) -> Iterator[tuple[RollCall, Thread]]:
    """A roll call that gathers in a thread."""
    with RollCall(folder, "127.0.0.1", "key", nodes=nodes, ranks=1, threads=1) as roll:
        thread = Thread(target=roll.gather, args=(PATIENCE_S,))
        thread.start()
        yield roll, thread


def test_whoever_is_not_invited_or_comes_twice_is_sent_away_and_the_rest_go_off_together(
    tmp_path: Path, callers: list[Line]
) -> None:
    with _called(tmp_path, 3) as (roll, gathering):
        invitation = Invitation.read(tmp_path)
        assert invitation == roll.invitation
        assert (tmp_path / INVITATION).stat().st_mode & 0o077 == 0
        assert _hello(callers, roll, "wrong", 1).hear(PATIENCE_S) is None
        first = _hello(callers, roll, roll.invitation.token, 1)
        assert first.hear(PATIENCE_S) == {"welcome": 1}
        assert _hello(callers, roll, roll.invitation.token, 1).hear(PATIENCE_S) == {"no": "node 1 is there already"}
        assert "nodes are 0 to 2" in str(_hello(callers, roll, roll.invitation.token, 3).hear(PATIENCE_S))
        second = _hello(callers, roll, roll.invitation.token, 2)
        assert second.hear(PATIENCE_S) == {"welcome": 1}
        gathering.join(PATIENCE_S)
        roll.start(lambda: None)
        roll.dismiss()
        for line in (first, second):
            assert [line.hear(PATIENCE_S), line.hear(PATIENCE_S)] == [{"go": 1}, {"done": 1}]
    assert Invitation.read(tmp_path) is None
    assert first.hear(PATIENCE_S) is None


def test_a_stranger_who_says_nonsense_holds_nobody_up(tmp_path: Path, callers: list[Line]) -> None:
    with _called(tmp_path, 2) as (roll, gathering):
        stranger = socket.create_connection(("127.0.0.1", roll.invitation.port))
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        callers.append(Line(stranger))
        assert callers[0].hear(PATIENCE_S) is None
        assert _hello(callers, roll, roll.invitation.token, 1).hear(PATIENCE_S) == {"welcome": 1}
        gathering.join(PATIENCE_S)


@pytest.mark.parametrize("has_words", [True, False])
def test_a_node_that_fails_or_vanishes_is_noticed_and_named(
    tmp_path: Path, callers: list[Line], has_words: bool
) -> None:
    failed = Event()
    with _called(tmp_path, 2) as (roll, gathering):
        line = _hello(callers, roll, roll.invitation.token, 1)
        gathering.join(PATIENCE_S)
        roll.start(failed.set)
        if has_words:
            line.say(ended=1, why="out of memory")
        else:
            line.close()
        assert failed.wait(PATIENCE_S)
        if has_words:
            assert (roll.why(0), roll.fault) == (None, "node 1: out of memory")
        else:
            assert str(roll.why(0)).startswith("node 1 of 2 is gone")


def test_machines_that_do_not_come_are_named(tmp_path: Path) -> None:
    with (
        RollCall(tmp_path, "127.0.0.1", "key", nodes=3, ranks=1, threads=1) as roll,
        pytest.raises(StageError, match=r"2 of 3 nodes did not come in 0.01 s: node 1, 2"),
    ):
        roll.gather(0.01)


def test_a_machine_that_nobody_called_says_so_and_an_attempt_that_was_killed_is_passed_over(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no training began in 0 s"):
        attend(tmp_path, 1, patience_s=0.0, say=lambda _: None)
    with RollCall(tmp_path, "127.0.0.1", "key", nodes=2, ranks=1, threads=1) as roll:
        left = roll.invitation
    (tmp_path / "key").mkdir()
    (tmp_path / "key" / JOB).touch()
    left.write(tmp_path)
    with pytest.raises(StageError, match="no training began in 0 s"):
        attend(tmp_path, 1, patience_s=0.0, say=lambda _: None)


@pytest.mark.parametrize(
    ("environ", "said"),
    [({}, "FACELOOP_TRAIN_ADDRESS"), ({"FACELOOP_TRAIN_ADDRESS": "a", "FACELOOP_TRAIN_PATIENCE_S": "b"}, "'b'")],
)
def test_what_the_first_machine_must_be_told_is_named(tmp_path: Path, environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        lead(tmp_path, run_key="k", nodes=2, ranks=1, threads=1, environ=environ, say=lambda _: None)


def test_a_batch_is_shared_by_the_ranks_of_all_machines(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"batch_size 8 must be a multiple of ranks × accumulate × nodes = 3"):
        released_to_train(tmp_path, *TWO_STEPS, "train.nodes=3")
    work = released_to_train(tmp_path, *TWO_STEPS, "train.nodes=2", "train.ranks=2")
    with pytest.raises(StageError, match=r"4 ranks for 2 identities"):
        run_stage(work, "train")


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    work = released_to_train(tmp_path_factory.mktemp("ranks"), *TWO_STEPS, "train.ranks=2")
    run_stage(work, "train")
    return work


@pytest.mark.integration
def test_two_ranks_train_one_candidate(two_ranks: Workspace) -> None:
    training = json.loads((two_ranks.path("candidate") / "training.json").read_bytes())
    assert (training["ranks"], training["classes"], training["steps"]) == (2, 2, 2)
    assert (
        load_pack(str(two_ranks.path("candidate")), accept_licence=None, insightface_root=None).recogniser is not None
    )


def _node(root: Path) -> "subprocess.Popen[str]":
    words = ["train-node", "--node", "1", "--wait", "300", "--root", str(root), "--params", str(ROOT / "params.yaml")]
    return subprocess.Popen(
        [sys.executable, "-c", "from faceloop.cli import main; main()", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.integration
def test_two_machines_train_the_weights_of_two_ranks_also_after_one_of_them_was_killed(
    two_ranks: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACELOOP_TRAIN_ADDRESS", "127.0.0.1")
    work = released_to_train(tmp_path, *TWO_STEPS, "train.nodes=2")
    with _node(tmp_path) as node:

        def kill_once_it_is_in() -> None:
            for line in node.stderr or ():
                if "node 1 of 2" in line:
                    node.kill()

        killer = Thread(target=kill_once_it_is_in)
        killer.start()
        with pytest.raises(StageError, match=r"node 1 of 2 is gone"):
            run_stage(work, "train")
        killer.join()
    assert not work.path("candidate").exists()
    (folder,) = (path for path in (tmp_path / "training").iterdir() if path.is_dir())
    (done,) = (two_ranks.root / "training").iterdir()
    shutil.copytree(done / "step-00000001", folder / "step-00000001")  # as if it had come so far
    with _node(tmp_path) as node:
        run_stage(work, "train")
        out, _ = node.communicate()
    assert (node.returncode, json.loads(out)) == (0, {"stage": "train", "node": 1, "state": "done"})
    assert json.loads((folder / "curve.jsonl").read_text().splitlines()[0])["step"] == 2  # it did go on
    for name in ("weights.safetensors", "classifier.safetensors", "optimiser.safetensors", "model.onnx"):
        assert (two_ranks.path("candidate") / name).read_bytes() == (work.path("candidate") / name).read_bytes()


@pytest.mark.integration
def test_no_rank_outlives_a_launcher_that_was_killed(tmp_path: Path) -> None:
    """Two ranks that wait for their job for ever (it is a pipe that nobody writes to)."""
    os.mkfifo(tmp_path / JOB)
    start = (
        "import sys; from pathlib import Path; from faceloop.training.launching import run_ranks\n"
        "run_ranks(Path(sys.argv[1]), 2, print)"
    )
    with subprocess.Popen([sys.executable, "-c", start, str(tmp_path)], stderr=subprocess.DEVNULL) as launcher:
        _wait_for(tmp_path, 4)  # it, torchrun, two ranks
        launcher.kill()
    _wait_for(tmp_path, 0)


@pytest.mark.integration
def test_a_launcher_that_is_asked_to_end_takes_torchrun_along(tmp_path: Path) -> None:
    """SIGTERM, as `faceloop` hears it; a process that sleeps stands for torchrun."""
    start = (
        "import os, signal, subprocess, sys\n"
        "from faceloop.cli import _end; from faceloop.training.launching import Torchrun\n"
        "signal.signal(signal.SIGTERM, _end)\n"
        "leash = 'import os, sys, time; from faceloop.training.launching import end_with_parent as end;'\n"
        "sleeping = [sys.executable, '-c', leash + 'end(int(sys.argv[2])); time.sleep(600)', sys.argv[1]]\n"
        "child = subprocess.Popen([*sleeping, str(os.getpid())], stdout=subprocess.PIPE, text=True)\n"
        "Torchrun(child).listen(print)"
    )
    with subprocess.Popen([sys.executable, "-c", start, str(tmp_path)], stderr=subprocess.DEVNULL) as launcher:
        _wait_for(tmp_path, 2)
        launcher.terminate()
    assert launcher.returncode == 128 + signal.SIGTERM
    _wait_for(tmp_path, 0)


def _wait_for(folder: Path, processes: int) -> None:
    until = time.monotonic() + 600
    while (found := _processes_on(folder)) != processes:
        assert time.monotonic() < until, f"{found} processes, not {processes}"
        time.sleep(0.05)


def _processes_on(folder: Path) -> int:
    """How many processes have it as an argument."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += str(folder).encode() in path.read_bytes().split(b"\0")
        except OSError:
            continue
    return found
