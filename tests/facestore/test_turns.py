"""Turns: one process at a time, on SQLite and on PostgreSQL, and a killed one holds nobody up."""

import subprocess
import sys
import threading
import time

import pytest

from facestore.reviewlog import ReviewLog

HOLDER = """
import sys, time
from facestore.reviewlog import ReviewLog
log = ReviewLog(sys.argv[1])
with log.alone("push"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_one_waits_its_turn_and_gets_it_when_the_first_is_killed(url: str) -> None:
    log = ReviewLog(url)
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, url], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    entered = threading.Event()

    def enter() -> None:
        with log.alone("push"):
            entered.set()

    waiting = threading.Thread(target=enter)
    waiting.start()
    with log.alone("pull"):  # other work has turns of its own
        time.sleep(0.2)
    assert not entered.is_set()
    holder.kill()
    holder.wait()
    holder.stdout.close()
    waiting.join(30)
    assert entered.is_set()
    log.close()


def test_a_turn_that_failed_is_free_again(url: str) -> None:
    log = ReviewLog(url)
    for _ in range(3):
        with pytest.raises(ValueError, match="x"), log.alone("push"):
            raise ValueError("x")
    log.close()
