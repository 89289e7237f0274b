"""Bar B20: a database that crashes, is locked, or migrates under its writers loses nothing that was acknowledged.

The history is checked, not the code: what writers were told is kept must be there, once. Each check is run against a
variant that must fail it.
"""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.chaos.postgres_cluster import Cluster, running_cluster
from tests.facestore.filling import fill
from tests.facestore.later_revision import later_revisions

from facestore.backups import drill, states_at
from facestore.catalogue import open_catalogue
from facestore.decisionlog import DecisionLog
from facestore.decisions import decide
from facestore.errors import SchemaRefused, StoreError
from facestore.ledger import Ledger
from facestore.migrations import migrate

IS_LONG = bool(os.environ.get("FACELOOP_LONG"))
CRASHES = 10 if IS_LONG else 2
MIGRATIONS = 5 if IS_LONG else 2
WRITERS = 4 if IS_LONG else 2
ROWS_OF_A_WRITER = 150 if IS_LONG else 25
ROWS_OF_A_TABLE = 2_000 if IS_LONG else 50
START = datetime(2026, 5, 1, tzinfo=UTC)
PATIENCE_S = 120

pytestmark = pytest.mark.integration

# Says `ready`, then the name of each decision once it is kept; ends when it is killed, or after `rows`.
WRITER = """
import sys
from datetime import UTC, datetime
from facestore.catalogue import open_catalogue, writing
from facestore.decisionlog import DecisionLog, insert_decisions
from facestore.decisions import decide
url, name, rows, kind = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
log = DecisionLog(url)
engine = open_catalogue(url, "log")
print("ready", flush=True)
for number in range(rows):
    face = f"{name} {number}"
    said = decide("ignore", face_id=face, annotator=name, decided_at=datetime(2026, 5, 1, tzinfo=UTC))
    if kind == "before":  # the mutant: acknowledged before it is committed
        with writing(engine, "append") as session:
            insert_decisions(session, [said])
            print(face, flush=True)
            sys.stdin.readline()
    else:
        log.append([said])
        print(face, flush=True)
print("end", flush=True)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as started:
        yield started


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("cluster").url)
    return f"sqlite:///{tmp_path / 'catalogue.sqlite3'}"


def _faces(url: str) -> list[str]:
    log = DecisionLog(url)
    found = [str(decision.face_id) for decision in log.all()]
    log.close()
    return found


def _lost_and_doubled(url: str, acknowledged: set[str]) -> tuple[set[str], int]:
    faces = _faces(url)
    return acknowledged - set(faces), len(faces) - len(set(faces))


class _Storm:
    """Threads that append one decision after the other, and come again with the same one while the server is away."""

    def __init__(self, url: str, name: str, writers: int) -> None:
        self.acknowledged: set[str] = set()
        self.failures: list[BaseException] = []
        self.refusals = 0
        self.is_up = threading.Event()
        self.is_up.set()
        self._url, self._name = url, name
        self._is_over = threading.Event()
        self._news = threading.Condition()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(writers)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, more: int) -> None:
        with self._news:
            target = len(self.acknowledged) + more
            assert self._news.wait_for(lambda: self.failures or len(self.acknowledged) >= target, PATIENCE_S)

    def end(self) -> None:
        self._is_over.set()
        self.is_up.set()
        for thread in self._threads:
            thread.join()
        assert self.failures == []

    def _write(self, writer: int) -> None:
        log = DecisionLog(self._url)
        try:
            number = 0
            while not self._is_over.is_set():
                face = f"{self._name} {writer} {number}"
                said = decide("ignore", face_id=face, annotator="ann", decided_at=START)
                try:
                    log.append([said])
                except StoreError:
                    self.refusals += 1
                    self.is_up.wait(PATIENCE_S)
                    continue
                number += 1
                with self._news:
                    self.acknowledged.add(face)
                    self._news.notify_all()
        except BaseException as error:  # a thread's error must reach the test
            with self._news:
                self.failures.append(error)
                self._news.notify_all()
        finally:
            log.close()


def _crash_under_writers(cluster: Cluster, name: str, crashes: int) -> _Storm:
    storm = _Storm(cluster.url, name, writers=3)
    try:
        for _ in range(crashes):
            storm.wait_for(20)
            storm.is_up.clear()
            cluster.crash()
            cluster.start()
            storm.is_up.set()
        storm.wait_for(5)
    finally:
        storm.end()
    return storm


def test_a_server_that_crashes_under_its_writers_loses_nothing_acknowledged(cluster: Cluster) -> None:
    storm = _crash_under_writers(cluster, "crash", CRASHES)
    assert storm.refusals > 0, "no writer noticed a crash"
    assert len(storm.acknowledged) >= 20 * CRASHES
    assert _lost_and_doubled(cluster.url, storm.acknowledged) == (set(), 0)


def test_a_server_that_answers_before_it_has_written_is_caught() -> None:
    """The mutant: synchronous_commit=off. The same storm and the same check find what is missing."""
    with running_cluster("synchronous_commit=off", "wal_writer_delay=10s") as careless:
        DecisionLog(careless.url).close()
        storm = _crash_under_writers(careless, "careless", 2)
        lost, _ = _lost_and_doubled(careless.url, storm.acknowledged)
    assert lost


class _Writer:
    """A process that says what is kept; killed without a word."""

    def __init__(self, url: str, name: str, rows: int, kind: str = "after") -> None:
        words = [sys.executable, "-c", WRITER, url, name, str(rows), kind]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.acknowledged: list[str] = []
        assert self._line() == "ready"

    def hear(self, more: int) -> None:
        """Wait until so many more are kept, or it has come to its end."""
        for _ in range(more):
            line = self._line()
            if line == "end":
                return
            self.acknowledged.append(line)

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.endswith("\n"), f"the writer failed with {self.process.wait(PATIENCE_S)}"
        return line.rstrip("\n")

    def kill(self) -> None:
        self.process.kill()
        said, _ = self.process.communicate()
        self.acknowledged += [line for line in said.split("\n")[:-1] if line != "end"]


def _hold_locks(url: str, is_over: threading.Event, failures: list[str]) -> None:
    """Somebody else who locks the whole file again and again, as a backup program or a person at a shell does."""
    path = url.removeprefix("sqlite:///")
    try:
        while not is_over.is_set():
            with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as connection:
                connection.execute("BEGIN EXCLUSIVE")
                connection.execute("COMMIT")
    except sqlite3.Error as error:
        failures.append(str(error))


def test_a_storm_of_locks_and_kills_on_sqlite_loses_nothing_acknowledged(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'storm.sqlite3'}"
    is_over, failures = threading.Event(), list[str]()
    DecisionLog(url).close()
    lockers = [threading.Thread(target=_hold_locks, args=(url, is_over, failures)) for _ in range(2)]
    for locker in lockers:
        locker.start()
    writers = [_Writer(url, f"w{number}", ROWS_OF_A_WRITER) for number in range(WRITERS)]
    try:
        for writer in writers[1:]:  # killed in the middle of its work; another does all of it again
            writer.hear(ROWS_OF_A_WRITER // 3)
            writer.kill()
        again = [_Writer(url, f"w{number}", ROWS_OF_A_WRITER) for number in range(1, WRITERS)]
        for writer in [writers[0], *again]:
            writer.hear(ROWS_OF_A_WRITER + 1)
        writers += again
    finally:
        is_over.set()
        for thread in lockers:
            thread.join()
        for writer in writers:
            writer.kill()
    acknowledged = {face for writer in writers for face in writer.acknowledged}
    assert failures == []
    assert len(acknowledged) == WRITERS * ROWS_OF_A_WRITER
    assert _lost_and_doubled(url, acknowledged) == (set(), 0)
    assert set(_faces(url)) == acknowledged


def test_who_acknowledges_before_the_commit_is_caught(tmp_path: Path) -> None:
    """The mutant: killed between its word and the commit, it has promised what is not there."""
    url = f"sqlite:///{tmp_path / 'early.sqlite3'}"
    writer = _Writer(url, "early", 3, kind="before")
    writer.hear(1)
    writer.kill()
    assert _lost_and_doubled(url, set(writer.acknowledged)) == ({"early 0"}, 0)


def test_revisions_go_up_and_down_under_a_live_writer(url: str, tmp_path: Path) -> None:
    """A process with the catalogue open goes on; one that opens it meanwhile is refused."""
    later = later_revisions(tmp_path / "later")
    writer = _Writer(url, "live", 10**9)
    try:
        for _ in range(MIGRATIONS):
            writer.hear(5)
            assert migrate(url, to="0002", versions=later).after == "0002"
            writer.hear(5)
            with pytest.raises(SchemaRefused, match="does not know"):
                Ledger(url)
            assert migrate(url, to="0001", versions=later).after == "0001"
        writer.hear(5)
        assert writer.process.poll() is None
    finally:
        writer.kill()
    acknowledged = set(writer.acknowledged)
    assert len(acknowledged) >= 10 * MIGRATIONS
    assert _lost_and_doubled(url, acknowledged) == (set(), 0)


def test_a_restored_catalogue_is_the_one_that_was_saved(url: str, request: pytest.FixtureRequest) -> None:
    if url.startswith("postgresql"):  # one that nobody else wrote to
        own = request.getfixturevalue("own_cluster")
        url = own.url
    engine = open_catalogue(url, "log")
    written = fill(engine, ROWS_OF_A_TABLE, seed=20)
    engine.dispose()
    before = states_at(url)
    done = drill(url)
    assert sum(state.rows for state in done.restored) == written
    assert done.restored == done.backup.tables == before == states_at(url)


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    with running_cluster() as started:
        yield started


def test_a_drill_that_finds_a_row_missing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: a backup that leaves out what came last."""
    url = f"sqlite:///{tmp_path / 'catalogue.sqlite3'}"
    engine = open_catalogue(url, "log")
    fill(engine, 3, seed=21)
    engine.dispose()

    def lossy(copy: Callable[..., None]) -> Callable[..., None]:
        def without_the_last(connection: object, file: Path) -> None:
            copy(connection, file)
            with closing(sqlite3.connect(file)) as damaged, damaged:
                damaged.execute("DELETE FROM review_hint WHERE hint_id = 3")

        return without_the_last

    from facestore import backups

    monkeypatch.setattr(backups, "_copy_online", lossy(backups._copy_online))
    with pytest.raises(StoreError, match="table review_hint should hold 3 rows and holds 2"):
        drill(url)
