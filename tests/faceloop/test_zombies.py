"""A run that was stopped, taken for dead and woken up again changes nothing that another did meanwhile."""

import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import create_engine, text

from faceloop.runner import Workspace

from .lease_world import (
    DONE,
    LOST,
    OUTS,
    Running,
    kill_all,
    leased,
    leftovers,
    own_database,
    start,
    why,
    worked,
    writers,
)
from .runner_world import digests_of

pytestmark = pytest.mark.integration

LEASE_S = 0.3
IN_MARKS = ("mark", "mark", "shelf", "shelf")  # renames of a batch: its marks, then to the shelf under the fence
RENAMES = (*IN_MARKS, *IN_MARKS, "manifest", "manifest", *["publish"] * 8)  # two batches, then both artifacts
FENCED = {"shelf", "publish"}
MOMENTS = (0, 1, 2, 3, 8, 9, 10, 11, 13, 17)  # of 18; the others repeat these for the second batch and artifact
RESUMES = int(os.environ.get("FACELOOP_ZOMBIES", "10"))


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    yield
    kill_all()


@pytest.fixture
def root(ingested: Workspace) -> Workspace:
    """Something is published already, by run `first`, under another key."""
    for batch in ("b000", "b002"):
        assert (ingested.path("footage") / batch).is_dir()
    work = leased(ingested, LEASE_S)
    first = start(work, "first")
    assert first.ended(30) == DONE, why(work)
    return work


def _newer(work: Workspace, version: int = 0) -> Workspace:
    """With params under which nothing is published yet."""
    detect = work.tree["detect"]
    assert isinstance(detect, dict)
    return replace(work, tree={**work.tree, "detect": {**detect, "best_shots": 10 + version}})


def _overtake(work: Workspace, late: Running, within_s: float) -> tuple[bool, int | None]:
    """Another run, until it ends or was kept waiting so long; then the late one wakes.

    Whether the other ended before, and how the late one did.
    """
    prompt = start(work, "prompt", wait_s=60)
    has_ended = prompt.ended(within_s) == DONE
    before = digests_of(work, *OUTS) if has_ended else []
    late.send(signal.SIGCONT)
    ends = late.ended(60), prompt.ended(60)
    assert ends[1] == DONE, why(work)
    assert ends[0] in (DONE, LOST), why(work)
    if has_ended:
        assert digests_of(work, *OUTS) == before, "the late one changed what the prompt one published"
    return has_ended, ends[0]


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: f"{moment}-{RENAMES[moment]}")
def test_a_run_stopped_before_any_of_its_renames_publishes_nothing_late(moment: int, root: Workspace) -> None:
    work = _newer(root)
    late = start(work, "late", stop_at=moment)
    assert late.wait_until_stopped(), why(work)
    if RENAMES[moment] in FENCED:
        assert _overtake(work, late, within_s=0.8)[0] is False
    else:
        assert _overtake(work, late, within_s=60) == (True, LOST)
    found = writers(work)
    assert found["b000"] == ("late" if moment >= 2 else "prompt")  # put on the shelf by the late one, and kept
    if RENAMES[moment] != "shelf":  # after that either may do the other batch
        assert found["b002"] == ("late" if moment >= 6 else "prompt")
    assert leftovers(work) == []
    assert start(work, "again").ended(30) == DONE
    assert worked(work)["again b000"] + worked(work)["again b002"] == 0


def test_runs_stopped_at_random_moments_publish_nothing_late(root: Workspace) -> None:
    chance = random.Random(5)
    stops = overtaken = 0
    began = time.monotonic()
    undisturbed = _begun(_newer(root, 1_000))
    assert undisturbed.ended(30) == DONE, why(root)
    seconds = time.monotonic() - began  # of a whole run on this machine
    while stops < RESUMES or overtaken < RESUMES // 2:  # a busy machine stops many of them too late
        assert stops < 20 * RESUMES, f"{overtaken} of {stops} were overtaken"
        work = _newer(root, stops)
        stops += 1
        late = _begun(work)
        time.sleep(seconds * chance.random())
        late.send(signal.SIGSTOP)
        overtaken += _overtake(work, late, within_s=2.0)[1] == LOST
        assert set(writers(work).values()) <= {"late", "prompt"}
        assert leftovers(work) == []


def _begun(work: Workspace) -> Running:
    """A slow run that works on its first batch by now."""
    known = worked(work)
    late = start(work, "late", pause_s=0.01)
    while worked(work) == known:
        time.sleep(0.001)
    return late


@pytest.mark.parametrize("moment", [10, 11])
def test_a_server_that_ended_the_session_of_a_stopped_run_does_not_let_it_publish_late(
    moment: int, ingested: Workspace, postgres_url: str
) -> None:
    """The one way to lose a turn unnoticed. It stops with one artifact to be put in place: before it, and after."""
    with own_database(postgres_url) as url:
        _end_its_session(leased(ingested, LEASE_S, url), moment)


def _end_its_session(work: Workspace, moment: int) -> None:
    late = start(work, "late", stop_at=moment)
    assert late.wait_until_stopped(), why(work)
    prompt = start(work, "prompt", wait_s=60)
    assert prompt.ended(0.8) is None
    engine = create_engine(work.ledger_url())
    with engine.begin() as session:
        turn = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        ended = session.execute(text(turn)).scalar_one()
    engine.dispose()
    assert ended == 1
    assert prompt.ended(60) == DONE, why(work)
    before = digests_of(work, *OUTS)
    late.send(signal.SIGCONT)
    assert late.ended(30) == LOST, why(work)
    assert digests_of(work, *OUTS) == before
    assert set(writers(work)) == {"b000", "b002"}
    assert leftovers(work) == []
