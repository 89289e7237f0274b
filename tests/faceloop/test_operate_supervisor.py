"""Parts are started, started again with patience, and ended whole, whatever they left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faceloop.operate.deployment import end, leftovers, one_at_a_time, standing_up
from faceloop.operate.parts import Part
from faceloop.operate.place import Place, place_of
from faceloop.operate.processes import MARK, Process, end_all, find_process, in_session, lives, marked, tell
from faceloop.operate.standing import PartState, read_standing
from faceloop.operate.supervisor import Supervisor
from facestore.errors import DataError, LeaseHeld

SLEEP = (sys.executable, "-S", "-c", "import time; time.sleep(600)")
DIES = (sys.executable, "-S", "-c", "raise SystemExit(3)")
_PARENT = """
import os, signal, subprocess, sys, time
{first}
subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
os.fork()
print("here", flush=True)
time.sleep(600)
"""
PARENT = (sys.executable, "-S", "-c", _PARENT.format(first=""))  # a child in its session, one with a session of its own
DEAF = (sys.executable, "-S", "-c", _PARENT.format(first="signal.signal(signal.SIGTERM, signal.SIG_IGN)"))


def until(is_so: Callable[[], bool], patience_s: float = 15.0) -> None:
    end_at = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < end_at, "it did not come about"
        time.sleep(0.02)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = place_of(tmp_path)
    made.logs.mkdir()
    yield made
    end_all(lambda: marked(made.folder), grace_s=0.0)


def part(place: Place, name: str, argv: tuple[str, ...]) -> Part:
    return Part(name=name, argv=argv, environment={**os.environ, MARK: str(place.folder)})


class Watched:
    """A supervisor in a thread."""

    def __init__(self, place: Place, *parts: Part) -> None:
        self.said: list[str] = []
        self.place, self.told = place, threading.Event()
        own = find_process(os.getpid())
        assert own is not None
        self.supervisor = Supervisor(place, parts, own=own, say=self.said.append)
        self.thread = threading.Thread(target=self.supervisor.watch, args=(self.told.wait,))

    def __enter__(self) -> "Watched":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.told.set()
        self.thread.join()
        self.supervisor.end(grace_s=1.0)

    def states(self) -> dict[str, PartState]:
        found = read_standing(self.place)
        return {one.name: one for one in found.parts} if found else {}

    def process(self, name: str) -> Process:
        until(lambda: name in self.states() and self.states()[name].process is not None)
        found = self.states()[name].process
        assert found is not None
        return found


def test_a_part_that_is_killed_comes_back_and_is_counted(place: Place) -> None:
    with Watched(place, part(place, "one", SLEEP), part(place, "other", SLEEP)) as watched:
        first, other = watched.process("one"), watched.process("other")
        os.kill(first.pid, signal.SIGKILL)
        until(lambda: watched.states()["one"].restarts == 1 and watched.states()["one"].process is not None)
        assert watched.process("one") != first
        assert (watched.process("other"), watched.states()["other"].restarts) == (other, 0)
        assert any("one ended with -9" in line for line in watched.said)
    assert marked(place.folder) == []


def test_a_part_that_dies_at_once_waits_longer_each_time(place: Place) -> None:
    with Watched(place, part(place, "bad", DIES)) as watched:
        until(lambda: len([line for line in watched.said if "ended with 3" in line]) == 2)
    waits = [line.split("starts again in ")[1].split(" s")[0] for line in watched.said if "starts again" in line]
    assert waits == ["1", "2"]


def test_what_a_dead_part_left_in_its_session_ends_and_what_has_its_own_session_goes_on(place: Place) -> None:
    with Watched(place, part(place, "parent", PARENT)) as watched:
        first = watched.process("parent")
        until(lambda: len(in_session(first.pid)) == 2)
        until(lambda: len(marked(place.folder)) == 3)
        (apart,) = set(marked(place.folder)) - set(in_session(first.pid))
        os.kill(first.pid, signal.SIGKILL)
        until(lambda: watched.states()["parent"].restarts == 1)
        assert in_session(first.pid) == []
        assert lives(apart), "a training job outlives the scheduler that started it"


def test_deaf_parts_are_killed_and_nothing_of_the_deployment_is_left(place: Place) -> None:
    with Watched(place, part(place, "deaf", DEAF)) as watched:
        watched.process("deaf")
        until(lambda: (place.logs / "deaf.log").read_text() == "here\n" * 2)
        assert len(marked(place.folder)) == 3
    assert len(marked(place.folder)) == 1, "the supervisor ends sessions, …"
    place.standing.unlink()
    assert end(place) == 1, "… down ends the rest, deaf as it is"
    assert (leftovers(place), standing_up(place)) == (0, None)


def test_down_finds_what_survived_a_killed_supervisor(place: Place) -> None:
    lone = subprocess.Popen(DEAF, env={**os.environ, MARK: str(place.folder)}, start_new_session=True, stdout=-3)
    stranger = subprocess.Popen(SLEEP, env={**os.environ, MARK: f"{place.folder}2"}, start_new_session=True)
    try:
        until(lambda: leftovers(place) == 3)
        place.standing.write_text("{ damaged")
        with pytest.raises(DataError, match="damaged"):
            read_standing(place)
        assert end(place) >= 1
        assert leftovers(place) == 0
        assert lone.wait(5) == -signal.SIGKILL
        assert stranger.poll() is None, "another deployment is not touched"
    finally:
        stranger.kill()
        stranger.wait()


def test_a_process_id_that_was_given_out_again_is_another_process() -> None:
    own = find_process(os.getpid())
    assert own is not None
    earlier = Process(pid=own.pid, started=own.started - 1)
    assert lives(own)
    assert not lives(earlier)
    tell(earlier, signal.SIGKILL)  # or this test would end here
    assert own.pid not in {found.pid for found in marked(Path("/nowhere"))}


def test_up_and_down_of_one_folder_take_turns(place: Place) -> None:
    with one_at_a_time(place), pytest.raises(LeaseHeld, match="just now"), one_at_a_time(place):
        pass
    with one_at_a_time(place):
        pass
