"""Roles of a bucket on a real server: each may do what its work needs, and every other call is refused."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from tests.facestore.audit_world import anchored_log
from tests.facestore.s3_roles_world import KEYS, credentials_of, settled

from facereview.asking.shelf_s3 import BucketShelf
from facestore.auditanchors import put_anchor, read_anchors
from facestore.auditchain import AuditHead
from facestore.errors import StoreError
from facestore.ids import media_key, sha256_hex
from facestore.objects import BucketStore
from facestore.s3 import S3Bucket
from facestore.s3roles import ROLES, Place, Role
from facestore.s3versions import read_version, versions_below
from facestore.sources import BucketSource

pytestmark = pytest.mark.integration
PLACES: tuple[Place, ...] = ("objects", "source", "pictures", "anchors")
PART_BYTES = 5 << 20
KNOWN, DOOMED = (media_key(sha256_hex(payload)) for payload in (b"known", b"doomed"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """One with something in each place, and the credentials of each role."""

    places: Mapping[Place, str]
    credentials: Mapping[Role, Mapping[str, str]]
    head: AuditHead
    folder: Path
    chance: Random = field(default_factory=lambda: Random(7))

    opened: dict[str, S3Bucket] = field(default_factory=dict)  # by who: a client costs a fifth of a second

    def _bucket(self) -> S3Bucket:
        who = os.environ[KEYS[0]]
        if who not in self.opened:
            self.opened[who], _ = S3Bucket.from_url(self.places["objects"])
        return self.opened[who]

    def store(self) -> BucketStore:
        return BucketStore(self._bucket(), "objects/")

    def shelf(self) -> BucketShelf:
        return BucketShelf(bucket=self._bucket(), prefix="pictures/")

    def file(self, payload: bytes) -> tuple[str, Path]:
        path = self.folder / sha256_hex(payload)
        path.write_bytes(payload)
        return media_key(path.name), path

    def some(self, size: int) -> tuple[str, Path]:
        return self.file(self.chance.randbytes(size))


@pytest.fixture(scope="module")
def made(s3_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """The bucket keeps versions; roles are users of the server, each with its policy."""
    folder = tmp_path_factory.mktemp("roles")
    name = f"roles-{os.getpid()}"
    places = {place: f"s3://{name}/{place}" for place in PLACES}
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in s3_environment.items():
            patch.setenv(variable, value)
        bucket, _ = S3Bucket.from_url(f"s3://{name}")
        bucket.make()
        credentials = {role: credentials_of(role, places) for role in ROLES}
        log, head = anchored_log(folder / "log.sqlite3", 3)
        log.close()
        yield Bucket(places=places, credentials=credentials, head=head, folder=folder)
        bucket.client.close()


@pytest.fixture
def bucket(made: Bucket, s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """As it was in the beginning, whatever a role took away."""
    for variable, value in s3_environment.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr("facestore.s3objects.SINGLE_PUT_BYTES", 1 << 20)
    monkeypatch.setattr("facestore.s3objects.PART_BYTES", PART_BYTES)
    versions, client = {"Status": "Enabled"}, made.store().bucket.client
    client.put_bucket_versioning(Bucket=made.store().bucket.name, VersioningConfiguration=versions)
    for payload in (b"known", b"doomed"):
        made.store().put(*made.file(payload))
    made.shelf().begin()
    made.shelf().put("q0", 0, b"\xff\xd8 a picture")
    put_anchor(made.places["anchors"], made.head)
    made.store().bucket.put_bytes("source/clip.mp4", b"footage", content_type="video/mp4")
    return made


def _put(one: Bucket) -> None:
    assert one.store().put(*one.some(40))


def _put_in_parts(one: Bucket) -> None:
    assert one.store().put(*one.some(PART_BYTES + 9))


def _put_again(one: Bucket) -> None:
    assert not one.store().put(*one.file(b"known"))


def _read(one: Bucket) -> None:
    one.store().check(KNOWN)


def _read_by_link(one: Bucket) -> None:
    try:
        with urlopen(one.store().link(KNOWN, 60), timeout=10) as answer:  # noqa: S310  # ours
            assert answer.read() == b"known"
    except HTTPError as error:
        raise StoreError(f"the link says {error.code}: AccessDenied") from error


def _list(one: Bucket) -> None:
    assert KNOWN in {stored.key for stored in one.store().listed(0.0)}


def _read_versions(one: Bucket) -> None:
    store = one.store()
    for version in versions_below(store.bucket, store.prefix):
        assert version.is_mark or b"".join(read_version(store.bucket, version))


def _list_all(one: Bucket) -> None:
    assert list(one.store().bucket.list(""))


def _list_all_versions(one: Bucket) -> None:
    assert list(versions_below(one.store().bucket, ""))


def _remove(one: Bucket) -> None:
    one.store().remove([DOOMED])


def _take_in(one: Bucket) -> None:
    source = BucketSource(one.store().bucket, "source/")
    (found,) = source.locations()
    with source.local(found) as path:
        assert path.read_bytes() == b"footage"


def _look_at_pictures(one: Bucket) -> None:
    shelf = one.shelf()
    wanted, deadline = {"Key": f"{shelf.prefix}shelf.txt"}, shelf.bucket.patience.deadline()
    shelf.bucket.call("get_object", "look at a picture", deadline, wanted)


def _shelve(one: Bucket) -> None:
    one.shelf().put("q1", 0, b"\xff\xd8 a picture")


def _take_off(one: Bucket) -> None:
    one.shelf().remove("q0")


def _anchor(one: Bucket) -> None:
    put_anchor(one.places["anchors"], one.head)


def _read_anchors(one: Bucket) -> None:
    assert list(read_anchors(one.places["anchors"])) == [one.head]


def _remove_anchors(one: Bucket) -> None:
    one.store().bucket.remove([f"anchors/audit/{one.head.entries:012d}/{'0' * 64}"])


def _stop_keeping_versions(one: Bucket) -> None:
    bucket = one.store().bucket
    stopped = {"VersioningConfiguration": {"Status": "Suspended"}}
    bucket.call("put_bucket_versioning", "stop keeping versions", bucket.patience.deadline(), stopped)


Call = Callable[[Bucket], None]
CALLS: tuple[Call, ...] = (
    _put, _put_in_parts, _put_again, _read, _read_by_link, _list, _read_versions, _take_in,
    _look_at_pictures, _shelve, _take_off, _anchor, _read_anchors, _remove_anchors, _stop_keeping_versions, _list_all,
    _list_all_versions, _remove,
)  # fmt: skip
FINDING: frozenset[Call] = frozenset({_list, _list_all})  # names: to tell a missing object from a forbidden one
READING: frozenset[Call] = FINDING | {_read, _read_by_link, _put_again}  # what is there is not written again
MAY: Mapping[Role, frozenset[Call]] = {
    "ingest": READING | {_put, _put_in_parts, _take_in},
    "read": READING,
    "repair": READING | {_put, _put_in_parts},
    "label": READING | {_look_at_pictures, _shelve, _take_off},
    "show": frozenset({_look_at_pictures}),
    "anchor": FINDING | {_anchor, _read_anchors},
    "sweep": READING | {_remove},
    "erase": READING | {_read_versions, _look_at_pictures, _take_off, _remove},
}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_its_work_needs_and_nothing_else(
    role: Role, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in bucket.credentials[role].items():
        monkeypatch.setenv(variable, value)
    known = next(call for call in CALLS if call in MAY[role])
    settled(lambda: known(bucket))
    done, refused = set(), set()
    for call in CALLS:
        try:
            call(bucket)
        except StoreError as error:
            assert "AccessDenied" in str(error) or "Access Denied" in str(error) or "403" in str(error), call.__name__
            refused.add(call)
        else:
            done.add(call)
    assert {call.__name__ for call in done} == {call.__name__ for call in MAY[role]}
    assert len(done) + len(refused) == len(CALLS)


def test_who_may_do_everything_is_refused_nothing(bucket: Bucket) -> None:
    for call in CALLS:
        call(bucket)
