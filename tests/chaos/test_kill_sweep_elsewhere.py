"""Bars B1 and B3 where the catalogue is on PostgreSQL and the store a bucket: killed before or after any request.

Short: 6 points, none of an erasure. FACELOOP_LONG=1: 240 points and 30 pairs. FACELOOP_POINTS: other numbers a part.
"""

import functools
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine.default import DefaultDialect
from tests.chaos import parts
from tests.chaos.accounting import Receipts
from tests.chaos.faults import Ended, Work, run
from tests.chaos.parts import World
from tests.chaos.postgres_cluster import Cluster, running_cluster
from tests.chaos.steps import Steps, deadly
from tests.chaos.sweeping import tried, without_a_unique_key

from facestore import decisionlog
from facestore.ledger import Ledger
from facestore.s3 import S3Bucket

pytestmark = pytest.mark.integration

IS_LONG = os.environ.get("FACELOOP_LONG") == "1"
POINTS = int(os.environ.get("FACELOOP_POINTS", "60" if IS_LONG else "2"))  # of each part
PAIRS = 30 if IS_LONG else 1
BUCKET, TEMPLATE = "killed", "made"
REQUESTS: Steps = ((S3Bucket, ("_once",)), (DefaultDialect, ("do_execute", "do_executemany", "do_commit")))
FILES: Steps = ((Path, ("rename", "replace")), (os, ("fsync",)))
NAMES = ["ingest", "pack", "decisions", *["erase"] * IS_LONG]  # the last: seconds a run


@dataclass(frozen=True, slots=True)
class Kill:
    """Before the so-manieth step, or when that is done and its answer is not yet seen."""

    point: int
    is_after: bool

    def __call__(self, work: Work, _: Path) -> Ended:
        def to_the_death(receipts: Receipts) -> None:
            with deadly(self.point, REQUESTS + FILES, is_after=self.is_after):
                work(receipts)

        ended = run(to_the_death)
        return replace(ended, is_fired=ended.code == -signal.SIGKILL)


class Elsewhere:
    """Worlds, each with a database and a prefix of its own."""

    def __init__(self, cluster: Cluster, bucket: S3Bucket) -> None:
        self._bucket, self._url, self._made = bucket, cluster.url, 0
        self._create(f"CREATE DATABASE {TEMPLATE}")
        Ledger(self._url_of(TEMPLATE)).close()

    def _create(self, statement: str) -> None:
        engine = create_engine(self._url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()

    def _url_of(self, name: str) -> str:
        return self._url.replace("@/postgres", f"@/{name}")

    @contextmanager
    def world(self, name: str, folder: Path, before: Callable[[str], None] = lambda _: None) -> Iterator[World]:
        self._made += 1
        place = f"w{self._made}"
        self._create(f"CREATE DATABASE {place} TEMPLATE {TEMPLATE}")
        url, objects = self._url_of(place), f"s3://{BUCKET}/{place}"
        overrides = (f"paths.ledger={url}", f"paths.objects={objects}")
        made = {
            "ingest": lambda: parts.ingest(folder, *overrides),
            "pack": lambda: parts.pack(folder, *overrides),
            "decisions": lambda: parts.decisions(folder, before, url),
            "erase": lambda: parts.erasing(folder, *overrides),
        }
        with made[name]() as world:
            yield replace(world, left=lambda: [*world.left(), *self._left_in(place, world)])
        self._create(f"DROP DATABASE {place} WITH (FORCE)")

    def _left_in(self, place: str, world: World) -> list[str]:
        """Uploads that are open, and an object more than there are files with bytes of their own."""
        keys = [key for key, _, _ in self._bucket.list(f"{place}/")]
        expected = 3 if "twin.png" in world.wanted else 0
        left = [f"upload of {upload.key}" for upload in self._bucket.started_uploads(f"{place}/")]
        return left if len(keys) == expected else [*left, f"{len(keys)} objects, not {expected}"]

    def part(
        self, name: str, before: Callable[[str], None] = lambda _: None
    ) -> Callable[[Path], AbstractContextManager[World]]:
        return lambda folder: self.world(name, folder, before)

    @functools.cache  # noqa: B019  # as long as its cluster
    def steps_of(self, name: str, folder: Path) -> int:
        with self.world(name, folder / "first") as world:
            world.work(Receipts())  # here: the children inherit what it imports
        with self.world(name, folder / "counted") as world, deadly(0, REQUESTS + FILES) as done:
            world.work(Receipts())
        return done["steps"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster("fsync=off", "shared_buffers=16MB", "autovacuum=off") as started:
        yield started


@pytest.fixture(scope="module")
def elsewhere(cluster: Cluster, s3_environment: dict[str, str]) -> Iterator[Elsewhere]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_environment.items():
            patch.setenv(name, value)
        bucket, _ = S3Bucket.from_url(f"s3://{BUCKET}")
        bucket.make()
        yield Elsewhere(cluster, bucket)


def kills(elsewhere: Elsewhere, name: str, folder: Path, count: int) -> list[Kill]:
    """So many points of a part, evenly."""
    steps = elsewhere.steps_of(name, folder / name)
    every = [Kill(point, is_after) for point in range(1, steps + 1) for is_after in (False, True)]
    return [every[number * len(every) // count] for number in range(count)] if count < len(every) else every


@pytest.mark.parametrize("name", NAMES)
def test_a_kill_around_any_request_loses_and_doubles_nothing(name: str, elsewhere: Elsewhere, tmp_path: Path) -> None:
    chosen = kills(elsewhere, name, tmp_path, POINTS)
    fired, bad = 0, []
    for kill in chosen:
        met, ends, wrong = tried(elsewhere.part(name), [kill])
        fired += met
        bad += [(kill, ends, wrong)] if wrong else []
    assert bad == []
    assert fired >= 0.9 * len(chosen)


def test_a_kill_while_recovering_from_a_kill_loses_and_doubles_nothing(elsewhere: Elsewhere, tmp_path: Path) -> None:
    every, chance = {name: kills(elsewhere, name, tmp_path, 1 << 30) for name in NAMES}, random.Random(3)
    both, bad = 0, []
    for number in range(4 * PAIRS):
        name = NAMES[number % len(NAMES)]
        pair = chance.choices(every[name], k=2)
        met, ends, wrong = tried(elsewhere.part(name), pair)
        both += met == 2
        bad += [(name, pair, ends, wrong)] if wrong else []
        if both == PAIRS:
            break
    assert bad == []
    assert both == PAIRS


def test_the_sweep_finds_a_logwithout_a_unique_key(
    elsewhere: Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = elsewhere.steps_of("decisions", tmp_path)
    monkeypatch.setattr(decisionlog, "known_ids", lambda *_: set())
    met, _, wrong = tried(elsewhere.part("decisions", without_a_unique_key), [Kill(steps // 2, is_after=True)])
    assert met == 1
    assert any("doubled" in one for one in wrong), wrong
