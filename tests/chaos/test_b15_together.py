"""Bar B15 in one root: a person in every store at once, erased by one command, killed at any step.

FACELOOP_LONG=1: servers of others; some points of an erasure and every store left out. FACELOOP_EVERY_POINT=1: all 24.
"""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.chaos.erasure_judge import own_needles
from tests.chaos.erasure_kills import POINTS
from tests.chaos.erasure_stores import versioned_bucket
from tests.chaos.erasure_together import SIGNING_KEY, Everything, publish_all
from tests.chaos.postgres_cluster import Cluster, running_cluster
from tests.faceloop.erasing_world import STEPS, of_others
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.erasure import saga, stores
from faceloop.erasure.needles import Needles, Searched
from faceloop.runner import Workspace
from facereview.labelstudio.local import RunningServer
from facestore.ciphers import Signer
from facestore.errors import ErasureIncomplete
from facestore.keys import KeyRing
from facestore.s3 import S3Bucket

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.environ.get("FACELOOP_LONG") != "1", reason="servers of others: FACELOOP_LONG=1"),
]
SOME = ("labelling done", "media done", "copies done", "catalogue done", "certified", "ended")
SWEPT = POINTS if os.environ.get("FACELOOP_EVERY_POINT") == "1" else SOME
KILLS = [("labelling done", "certified"), *((point,) for point in SWEPT)]
SETTINGS = ("fsync=off", "shared_buffers=16MB", "autovacuum=off", "max_wal_size=64MB", "min_wal_size=32MB")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return publish_all(tmp_path_factory.mktemp("together"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster(*SETTINGS) as started:
        yield started


@pytest.fixture
def world(
    built: Workspace,
    cluster: Cluster,
    label_studio: RunningServer,
    s3_environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Everything]:
    bucket = versioned_bucket(s3_environment, tmp_path, monkeypatch)
    made = Everything(built, tmp_path / "project", cluster, bucket, label_studio)
    for name, value in made.environ.items():
        monkeypatch.setenv(name, value)
    yield made
    made.close()


def assert_ended(world: Everything, judge: Needles) -> None:
    assert world.held(judge) == set()
    (erasure,) = saga.status(world.work)
    assert (erasure.state, tuple(erasure.steps)) == ("done", STEPS)
    paper = world.paper()
    steps, left = paper["steps"], " ".join(map(str, paper["left"]))  # type: ignore[call-overload]
    assert isinstance(steps, dict)
    assert tuple(sorted(steps)) == tuple(sorted(STEPS))
    assert "bucket" in left
    assert "PostgreSQL" in left
    verified = world.call(
        "erase", "verify", str(next(world.work.root.glob("erasures/*/certificate.json"))), *world.root_words()
    )
    assert verified.code == 0, verified.error
    assert Signer(SIGNING_KEY).public_key().hex() in verified.out


@pytest.mark.parametrize("points", KILLS, ids="+".join)
def test_one_command_takes_the_person_from_every_store_of_one_root_and_nobody_else(
    points: tuple[str, ...], world: Everything
) -> None:
    judge, others, desk = own_needles(world.work), of_others(world.work), world.desk.of_others()
    assert world.held(judge) == {*world.stores(), "bucket"} | {"elsewhere"}
    rows = world.rows_of_others(judge)
    assert len(desk) > 0
    for point in points:
        assert world.call(*world.words, killed_at=point).code == -signal.SIGKILL
    done = world.call(*world.words)
    assert done.code == 0, done.error
    assert_ended(world, judge)
    assert of_others(world.work) == others
    assert world.desk.of_others() == desk
    after = world.rows_of_others(judge)
    assert {name: found - after[name] for name, found in rows.items() if found - after[name]} == {}


Patch = Callable[[pytest.MonkeyPatch], None]


def patched(place: object, name: str, with_what: object) -> Patch:
    return lambda patch: patch.setattr(place, name, with_what)


LEFT_OUT: dict[str, Patch] = {
    "Label Studio": patched(saga, "clear_labelling", lambda *_: {"tasks": 0}),
    "PostgreSQL": patched(stores, "compact", lambda url: ""),
    "bucket": patched(S3Bucket, "remove_every_version", S3Bucket.remove),
    "remote of DVC": patched(saga, "clear_copies", lambda needles, places: {}),
    "keys": patched(KeyRing, "shred", lambda self, owners: 0),
}


@pytest.mark.parametrize("left_out", [("Label Studio", "PostgreSQL"), *((one,) for one in LEFT_OUT)])
def test_a_store_that_was_left_out_is_found_by_the_search_and_nothing_is_certified(
    left_out: tuple[str, ...], world: Everything, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = own_needles(world.work)
    searched: list[Searched] = []

    def search_everywhere(*words: object) -> Searched:
        searched.append(real(*words))  # type: ignore[arg-type]
        return searched[-1]

    real = saga.search_everywhere
    with monkeypatch.context() as patch:
        patch.setattr(saga, "search_everywhere", search_everywhere)
        for name in left_out:
            LEFT_OUT[name](patch)
        done = CliRunner().invoke(app, world.words)
    assert isinstance(done.exception, ErasureIncomplete), done.output
    assert set(left_out) <= world.named_by(searched[-1].held)
    assert world.held(judge) >= set(left_out) - {"keys"}  # keys tell nobody's id, but can be used
    assert list(world.work.root.glob("erasures/*/certificate.json")) == []
    ended = world.call(*world.words)
    assert ended.code == 0, ended.error
    assert_ended(world, judge)
