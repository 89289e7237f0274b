"""Bar B15 in full: a person planted in every store is in none of them afterwards, killed at any step; others stay.

Short: two kills, an encrypted root, a bucket, PostgreSQL. FACELOOP_LONG=1: every point of plain and encrypted roots,
what a superuser has to do, mutants; in test_b15_outside.py a real DVC, a real Label Studio, a search of 1 GB.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from tests.chaos.erasure_judge import own_needles
from tests.chaos.erasure_kills import POINTS, killed_at
from tests.chaos.erasure_stores import data_of, in_bucket, in_postgres, left_in, owned_database, versioned_bucket
from tests.chaos.faults import run
from tests.chaos.postgres_cluster import Cluster, running_cluster
from tests.faceloop.erasing_world import (
    MEANS,
    NAME,
    NOW,
    STEPS,
    assert_clean,
    copy_of,
    erase,
    of_others,
    publish_people,
    start,
)
from tests.faceloop.mining_world import PERSON, face_id
from tests.facestore.s3_roles_world import credentials_of, settled

from faceloop.erasure import saga
from faceloop.erasure.buckets import search_buckets
from faceloop.erasure.certificate import verify_certificate
from faceloop.erasure.needles import Needles, search
from faceloop.erasure.saga import begin, find_waiting, go_on, search_everywhere
from faceloop.runner import Workspace
from facereview.asking.shelf_s3 import BucketShelf
from facestore.auditlog import AuditLog
from facestore.ciphers import Signer
from facestore.crops import CropReader
from facestore.errors import ErasureIncomplete, KeyShredded
from facestore.keys import KeyRing
from facestore.records import FaceEmbedding
from facestore.s3 import S3Bucket
from facestore.s3versions import versions_below
from facestore.tables import read_columns

pytestmark = pytest.mark.integration

IS_LONG = os.environ.get("FACELOOP_LONG") == "1"
long_only = pytest.mark.skipif(not IS_LONG, reason="its full form: FACELOOP_LONG=1")
SIGNED = replace(MEANS, signer=Signer(b"s" * 32))
SHORT = ("artifacts done", "certified")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return publish_people(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return publish_people(tmp_path_factory.mktemp("encrypted"), is_encrypted=True)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_cluster("fsync=off", "shared_buffers=16MB", "autovacuum=off") as started:
        yield started


@pytest.mark.parametrize("point", POINTS if IS_LONG else SHORT)
@pytest.mark.parametrize("root", ["plain", "encrypted"] if IS_LONG else ["plain"])
def test_killed_by_a_signal_at_any_point_and_called_again_it_ends_clean(
    root: str, point: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    work = copy_of(request.getfixturevalue(root), tmp_path)
    before, judge = of_others(work), own_needles(work)
    subject = face_id(1, 0)

    def die(_: object) -> None:
        killed_at(point)
        plan = begin(work, subject, by="eve", reason="person_asked", clock=lambda: NOW)
        go_on(work, plan.erasure_id, SIGNED)

    assert run(die).code == -signal.SIGKILL
    if point == "ended":  # its plan may not stay, and who asks again gets what was written
        (done,) = saga.status(work)
        written = go_on(work, done.erasure_id, SIGNED)
    else:
        plan = find_waiting(work, subject) or begin(work, subject, by="eve", reason="person_asked", clock=lambda: NOW)
        written = go_on(work, plan.erasure_id, SIGNED)
        assert_clean(work, plan, SIGNED)
    assert list((work.root / "erasures").glob("*/plan.json*")) == []
    assert search([work.root, tmp_path / "remote"], judge).held == ()
    assert of_others(work) == before
    found = verify_certificate(work, work.root / written.place)
    assert (found.holds, found.public_key) == (True, Signer(b"s" * 32).public_key().hex())
    (erasure,) = saga.status(work)
    assert tuple(erasure.steps) == STEPS  # the points above are all that there are
    log = AuditLog(work.ledger_url())
    assert [entry.action for entry in log.entries()].count("erase") == 1
    log.close()
    assert go_on(work, erasure.erasure_id, SIGNED) == written


def opened_from(backup: Path) -> set[int]:
    """Whose crops and vectors an old copy of the root gives, with the keys that there are now."""
    read: set[int] = set()
    crops = CropReader(backup / "crops")
    for face, person in PERSON.items():
        try:
            crops.jpeg("aligned", f"b000/{face}")
            crops.jpeg("context", f"b000/{face}")
            read.add(person)
        except KeyShredded:
            continue
    table = read_columns(backup / "embeddings", "faces", FaceEmbedding, ("face_id", "embedding"))
    return read | {PERSON[face] for face in table["face_id"].to_pylist()}


def test_an_old_copy_of_an_encrypted_root_gives_nothing_of_the_person_any_more(
    encrypted: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = copy_of(encrypted, tmp_path / "world")
    before, judge = of_others(work), own_needles(work)
    raw = Needles([needle for needle in judge.needles if not needle.isascii()])
    backup = tmp_path / "backup"
    shutil.copytree(work.root, backup, ignore=shutil.ignore_patterns("keys.sqlite3*", "*.bin", "*.npy", ".crops*"))
    monkeypatch.setenv("FACELOOP_KEYS", f"sqlite:///{work.root / 'keys.sqlite3'}")
    assert search([backup], raw).held == ()  # sealed: neither picture nor vector lies there in plain
    assert opened_from(backup) == {0, 1, 2, 3}
    plan = erase(work)
    assert_clean(work, plan)
    assert search([work.root, tmp_path / "world" / "remote"], judge).held == ()
    assert of_others(work) == before
    assert opened_from(backup) == {0, 2, 3}


@long_only
def test_without_shredding_keys_an_old_copy_is_read_as_before(
    encrypted: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant forgets the keys; the check above must see it."""
    work = copy_of(encrypted, tmp_path / "world")
    backup = tmp_path / "backup"
    shutil.copytree(work.root, backup, ignore=shutil.ignore_patterns("keys.sqlite3*"))
    monkeypatch.setenv("FACELOOP_KEYS", f"sqlite:///{work.root / 'keys.sqlite3'}")
    monkeypatch.setattr(KeyRing, "shred", lambda self, owners: 0)
    with pytest.raises(ErasureIncomplete):  # the key store names them; it stays, since it is the others', too
        erase(work)
    assert opened_from(backup) == {0, 1, 2, 3}


@pytest.fixture
def bucket(s3_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> S3Bucket:
    """A bucket that keeps versions."""
    return versioned_bucket(s3_environment, tmp_path, monkeypatch)


def test_of_a_bucket_no_version_no_mark_and_no_upload_of_the_person_is_left(
    plain: Workspace, bucket: S3Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = in_bucket(plain, bucket, tmp_path)
    before, judge = of_others(work), own_needles(work)
    assert len(left_in(bucket, judge)) > 6
    plan = start(work)
    assert any(name.startswith("s3://") for name in search_everywhere(work, plan, MEANS).held)
    with monkeypatch.context() as patch:  # with the rights of its role alone
        for name, value in credentials_of("erase", {"objects": str(work.external("objects"))}).items():
            patch.setenv(name, value)
        done = settled(lambda: go_on(work, plan.erasure_id, MEANS))
    assert_clean(work, plan)
    assert left_in(bucket, judge) == []
    assert of_others(work) == before
    assert "replicas of the bucket" in (work.root / done.place).read_text()


@long_only
@pytest.mark.parametrize("mutant", ["plain delete", "uploads stay"])
def test_a_bucket_cleared_by_halves_is_never_certified(
    mutant: str, plain: Workspace, bucket: S3Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = in_bucket(plain, bucket, tmp_path)
    if mutant == "plain delete":
        monkeypatch.setattr(S3Bucket, "remove_every_version", S3Bucket.remove)
    else:
        monkeypatch.setattr(S3Bucket, "abort", lambda self, upload, deadline=None: None)
    with pytest.raises(ErasureIncomplete):
        erase(work)
    monkeypatch.undo()


def test_pictures_laid_out_in_a_bucket_go_with_their_earlier_versions(bucket: S3Bucket) -> None:
    shelf = BucketShelf(bucket=bucket, prefix="shown/")
    for jpeg in (b"one", b"other"):
        shelf.put("a1", 0, jpeg)
        bucket.remove([key for key, _, _ in bucket.list("shown/a1/")])  # a mark; the bytes stay
    assert len(list(versions_below(bucket, "shown/a1/"))) == 4
    shelf.put("b2", 0, b"of others")
    shelf.remove("a1")
    assert [one.key.split("/")[1] for one in versions_below(bucket, "shown/")] == ["b2"]


def test_a_bucket_without_versions_is_searched_too_and_below_its_prefix_alone(bucket: S3Bucket) -> None:
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Suspended"})
    for key in ("mine/a", "mine/b", "not-mine/c"):
        bucket.put_bytes(key, b"x" * 50 + (b"" if key == "mine/b" else NAME.encode()), content_type="text/plain")
    found = search_buckets([f"s3://{bucket.name}/mine"], Needles([NAME.encode()]))
    assert (found.files, found.held) == (2, (f"s3://{bucket.name}/mine/a",))
    assert search_buckets([f"s3://{bucket.name}"], Needles([b"not-mine/"])).held == (f"s3://{bucket.name}/not-mine/c",)


def test_no_file_of_a_postgresql_server_holds_the_person_its_log_and_its_samples_included(
    plain: Workspace, cluster: Cluster, tmp_path: Path
) -> None:
    work = in_postgres(plain, owned_database(cluster, "whole", "app"), tmp_path)
    data = data_of(cluster)
    means = replace(MEANS, search_too=(data,))
    before, judge = of_others(work), own_needles(work)
    assert any("/pg_wal/" in name for name in search([data], judge).held)
    plan = erase(work, means)
    assert_clean(work, plan, means)
    assert search([data, work.root], judge).held == ()
    assert of_others(work) == before


@long_only
def test_who_is_no_superuser_gets_a_certificate_that_says_what_a_superuser_has_to_do(
    plain: Workspace, cluster: Cluster, tmp_path: Path
) -> None:
    work = in_postgres(plain, owned_database(cluster, "owned", "plain_owner"), tmp_path)
    data, judge = data_of(cluster), own_needles(work)
    plan = start(work)
    done = go_on(work, plan.erasure_id, MEANS)
    assert_clean(work, plan)
    paper = (work.root / done.place).read_text()
    assert "as a superuser: ALTER SYSTEM SET wal_recycle = off" in paper
    held = search([data], judge).held
    assert held  # and this is why
    assert {Path(name).parent.name for name in held} == {"pg_wal"}
    said = paper[paper.index("as a superuser: ") + len("as a superuser: ") :].split('"')[0].replace("then ", "")
    engine = create_engine(cluster.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in said.replace("three times SELECT pg_switch_wal(); CHECKPOINT", _THREE_TIMES).split(";"):
            connection.execute(text(statement))
    engine.dispose()
    assert search([data], judge).held == ()


_THREE_TIMES = ";".join(["SELECT pg_switch_wal(); CHECKPOINT"] * 3)


@long_only
@pytest.mark.parametrize("mutant", ["plain delete", "samples stay"])
def test_a_server_that_was_not_compacted_is_never_certified(
    mutant: str, plain: Workspace, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = in_postgres(plain, owned_database(cluster, mutant.replace(" ", "_"), "app"), tmp_path)
    if mutant == "plain delete":
        monkeypatch.setattr("faceloop.erasure.stores.compact", lambda url: "")
    else:
        monkeypatch.setattr("facestore.rowpurge._let_go_of_samples", lambda connection: "")
    with pytest.raises(ErasureIncomplete):
        erase(work, replace(MEANS, search_too=(data_of(cluster),)))
