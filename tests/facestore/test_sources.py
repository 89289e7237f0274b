"""Sources: every file of a folder or bucket is listed once, by a name that leads back to it, and nothing else is."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facestore.errors import ConfigError
from facestore.s3 import S3Bucket
from facestore.sources import FolderSource, Source, open_source

ODD_NAMES = [
    "plain.mp4",
    "with space.mp4",
    'it\'s "quoted" `$(x)`.mp4',
    "caf\u00e9.jpg",  # NFC
    "cafe\u0301.jpg",  # NFD, another file
    "line\nbreak.jpg",
    "back\\slash.jpg",
    "looks like \\xff.jpg",
    "..two dots",
    "-rf",
    "人物/相册 1/😀.jpg",
    "%2e%2e%2fescape?.jpg",
]
HIDDEN = [".hidden.jpg", ".git/config", "a/.DS_Store", "a/.thumbs/x.jpg"]


def _fill(root: Path, names: list[str]) -> None:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number)


def _contents(source: Source) -> dict[str, bytes]:
    found = {}
    for location in source.locations():
        assert location.path not in found
        with source.local(location) as path:
            found[location.path] = path.read_bytes()
            assert len(found[location.path]) == location.size_bytes
    return found


def test_odd_names_are_listed_sorted_and_lead_to_their_bytes(tmp_path: Path) -> None:
    names = [name for name in ODD_NAMES if not name.startswith(".")]
    _fill(tmp_path, names)
    found = _contents(open_source(str(tmp_path)))
    assert list(found) == sorted(found)
    assert found == {name.replace("\\", "\\x5c"): b"%d" % number for number, name in enumerate(names)}


def test_names_that_are_not_utf_8_keep_apart_from_names_that_look_like_them(tmp_path: Path) -> None:
    (tmp_path / "folder \udcfe").mkdir()
    for raw, payload in ((b"\xff.jpg", b"1"), (rb"\xff.jpg", b"2"), (b"folder \xfe/\xff.jpg", b"3")):
        (tmp_path / os.fsdecode(raw)).write_bytes(payload)
    found = _contents(FolderSource(tmp_path))
    assert found == {r"\xff.jpg": b"1", r"\x5cxff.jpg": b"2", r"folder \xfe/\xff.jpg": b"3"}
    for name in found:
        name.encode("utf-8")  # can be stored in any table


@given(
    names=st.sets(
        st.binary(min_size=1, max_size=12).filter(lambda raw: not raw.startswith(b".") and not set(raw) & {0, 0x2F}),
        max_size=6,
    )
)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_names_stay_apart_and_lead_back(names: set[bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("any")
    for name in names:
        (root / os.fsdecode(name)).write_bytes(name)
    assert set(_contents(FolderSource(root)).values()) == names


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    _fill(tmp_path, [*HIDDEN, "a/seen.jpg"])
    assert list(_contents(FolderSource(tmp_path))) == ["a/seen.jpg"]


def test_links_that_leave_the_source_or_lead_nowhere_are_passed_over(tmp_path: Path) -> None:
    root = tmp_path / "source"
    _fill(root, ["in/real.jpg"])
    _fill(tmp_path, ["secret.txt", "private/photo.jpg"])
    (root / "out.jpg").symlink_to(tmp_path / "secret.txt")
    (root / "up.jpg").symlink_to("../secret.txt")
    (root / "folder").symlink_to(tmp_path / "private")
    (root / "loop.jpg").symlink_to("loop.jpg")
    (root / "dangling.jpg").symlink_to("nothing.jpg")
    (root / "inside.jpg").symlink_to("in/real.jpg")
    os.mkfifo(root / "pipe.mp4")
    assert _contents(FolderSource(root)) == {"in/real.jpg": b"0", "inside.jpg": b"0"}


def test_a_source_that_is_a_link_itself_is_followed(tmp_path: Path) -> None:
    _fill(tmp_path / "real", ["a.jpg"])
    (tmp_path / "link").symlink_to("real")
    assert _contents(open_source(f"file://{tmp_path / 'link'}")) == {"a.jpg": b"0"}


def test_the_version_tells_a_changed_file(tmp_path: Path) -> None:
    _fill(tmp_path, ["a.jpg", "b.jpg"])
    before = list(FolderSource(tmp_path).locations())
    os.utime(tmp_path / "b.jpg", ns=(1, 1))
    after = list(FolderSource(tmp_path).locations())
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_an_empty_folder_has_no_locations(tmp_path: Path) -> None:
    assert list(open_source(str(tmp_path)).locations()) == []


@pytest.mark.parametrize("name", ["nothing", "file"])
def test_a_source_that_is_no_folder_is_a_config_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is not a folder"):
        open_source(str(tmp_path / name))


@pytest.fixture
def bucket(s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Bucket]:
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    opened, _ = S3Bucket.from_url(f"s3://source-{os.getpid()}")
    opened.client.create_bucket(Bucket=opened.name)
    yield opened
    opened.client.close()


@pytest.mark.integration
def test_a_bucket_is_a_source_like_a_folder(bucket: S3Bucket) -> None:
    names = [name for name in ODD_NAMES if "\\" not in name and not name.startswith("..")]
    for number, name in enumerate(names):
        bucket.client.put_object(Bucket=bucket.name, Key=f"in box/{name}", Body=b"%d" % number)
    for name in [*HIDDEN, "folder/"]:
        bucket.client.put_object(Bucket=bucket.name, Key=f"in box/{name}", Body=b"")
    bucket.client.put_object(Bucket=bucket.name, Key="in box too/x.jpg", Body=b"not below the prefix")
    source = open_source(f"s3://{bucket.name}/in box")
    assert _contents(source) == {name: b"%d" % number for number, name in enumerate(names)}
    before = {location.path: location.version for location in source.locations()}
    bucket.client.put_object(Bucket=bucket.name, Key="in box/plain.mp4", Body=b"changed")
    after = {location.path: location.version for location in source.locations()}
    assert {name for name in before if before[name] != after[name]} == {"plain.mp4"}
