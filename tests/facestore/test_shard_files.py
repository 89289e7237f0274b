"""Files that LMDB must never see: cut short, made up, on a full disk. Nobody is killed, and nothing is half there."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pytest

from facestore.errors import ShardCorrupt, StoreError
from facestore.images import encode_jpeg
from facestore.lmdbfile import COMMIT_RECORDS, LmdbReader, LmdbWriter
from facestore.lmdbpages import check_pages
from facestore.seal import seal, unseal
from facestore.shardindex import INDEX
from facestore.shards import ShardReader, write_shards

from .test_shards import _label, _picture, _samples

PATCHES = 3_000 if os.environ.get("FACELOOP_LONG") else 600
RECORDS = 60

# Reads every variant of a database that a folder holds, and says what came of it. `trusting`: without our own look.
CHILD = """
import sys
from pathlib import Path
import facestore.lmdbfile as lmdbfile
from facestore.errors import ShardCorrupt
from facestore.seal import unseal

if sys.argv[2] == "trusting":
    lmdbfile.check_file = lambda path, stamp=None: None
for path in sorted(Path(sys.argv[1]).glob("*.lmdb")):
    try:
        reader = lmdbfile.LmdbReader(path)
        wrong = 0
        for row in range(int(sys.argv[3])):
            header, payload = unseal(reader.get(b"%04d" % row), str(row))
            wrong += (header, bytes(payload)) != ({"row": row}, b"%d" % row * (row * 40))
        whole = len(list(reader.items()))
        print(path.stem, "wrong" if wrong else "right", flush=True)
    except ShardCorrupt:
        print(path.stem, "refused", flush=True)
"""


def _database(path: Path) -> bytes:
    """Short records inside of pages, and long ones on pages of their own, on more than one level."""
    with LmdbWriter(path) as writer:
        for row in range(RECORDS):
            writer.put(b"%04d" % row, seal({"row": row}, b"%d" % row * (row * 40)))
    return path.read_bytes()


def _read_in_child(folder: Path, how: str) -> tuple[int, list[str]]:
    done = subprocess.run(  # our own interpreter and script
        [sys.executable, "-c", CHILD, str(folder), how, str(RECORDS)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.splitlines()


def _truncations(good: bytes) -> Iterator[bytes]:
    yield from (good[: len(good) * part // 20] for part in range(20))
    yield from (good[:-1], good[:-4096], good[:4096], good[:8192], good[:152])


def _patches(good: bytes, count: int) -> Iterator[bytes]:
    """Bytes of the two meta pages and of page heads; half of them set to what hurts most."""
    draw = random.Random(7)
    pages = len(good) // 4096
    for _ in range(count):
        page = draw.choice([0, 1, draw.randrange(pages)])
        spoiled = bytearray(good)
        place = page * 4096 + draw.randrange(152 if page < 2 else 64)
        width = draw.choice([1, 2, 4, 8])
        spoiled[place : place + width] = draw.choice([b"\xff" * width, b"\0" * width, draw.randbytes(width)])
        yield bytes(spoiled)


def _fill(folder: Path, variants: Iterator[bytes]) -> int:
    folder.mkdir()
    count = 0
    for number, payload in enumerate(variants):
        (folder / f"{number:05d}.lmdb").write_bytes(payload)
        count += 1
    return count


@pytest.mark.integration
def test_a_database_cut_short_anywhere_is_refused_and_kills_nobody(tmp_path: Path) -> None:
    good = _database(tmp_path / "good.lmdb")
    count = _fill(tmp_path / "cut", _truncations(good))
    code, told = _read_in_child(tmp_path / "cut", "checked")
    assert (code, len(told)) == (0, count)
    assert {line.split()[1] for line in told} == {"refused"}


@pytest.mark.integration
def test_mutant_who_lets_lmdb_open_a_file_cut_short_is_killed(tmp_path: Path) -> None:
    good = _database(tmp_path / "good.lmdb")
    _fill(tmp_path / "cut", iter([good[: len(good) // 2 // 4096 * 4096]]))
    code, told = _read_in_child(tmp_path / "cut", "trusting")
    assert (code, told) == (-signal.SIGBUS, [])


@pytest.mark.integration
def test_patched_pages_are_refused_or_harmless_and_kill_nobody(tmp_path: Path) -> None:
    good = _database(tmp_path / "good.lmdb")
    count = _fill(tmp_path / "patched", _patches(good, PATCHES))
    code, told = _read_in_child(tmp_path / "patched", "checked")
    assert (code, len(told)) == (0, count)
    found = [line.split()[1] for line in told]
    assert "wrong" not in found
    assert found.count("refused") > count / 3  # the rest hit bytes that say nothing


def test_what_we_write_passes(tmp_path: Path) -> None:
    _database(tmp_path / "some.lmdb")
    check_pages(tmp_path / "some.lmdb")
    with LmdbWriter(tmp_path / "none.lmdb"):
        pass
    check_pages(tmp_path / "none.lmdb")
    with LmdbWriter(tmp_path / "many.lmdb", map_bytes=1 << 16) as writer:
        for row in range(3 * COMMIT_RECORDS):
            writer.put(b"%06d" % row, b"x" * (row % 3_000))
    check_pages(tmp_path / "many.lmdb")


def test_a_map_that_asks_for_a_place_in_memory_is_refused(tmp_path: Path) -> None:
    """LMDB's fixed map would lay the file over whatever lies at an address that the file names."""
    spoiled = bytearray(_database(tmp_path / "a.lmdb"))
    for page in (0, 4096):
        spoiled[page + 16 + 24 + 4] |= 1
    (tmp_path / "a.lmdb").write_bytes(spoiled)
    with pytest.raises(ShardCorrupt, match="kind"):
        LmdbReader(tmp_path / "a.lmdb").get(b"0001")


def test_a_full_map_grows_and_loses_nothing(tmp_path: Path) -> None:
    """And growing is as repeatable as everything else."""
    for name, map_bytes in (("tiny", 1 << 14), ("again", 1 << 14), ("wide", 1 << 26)):
        with LmdbWriter(tmp_path / name, map_bytes=map_bytes) as writer:
            for row in range(5_000):
                writer.put(b"%06d" % row, b"%d" % row * 300)
    assert (tmp_path / "tiny").read_bytes() == (tmp_path / "again").read_bytes()
    assert (tmp_path / "tiny").stat().st_size == (tmp_path / "wide").stat().st_size
    reader = LmdbReader(tmp_path / "tiny")
    assert len(reader) == 5_000
    assert all(reader.get(b"%06d" % row) == b"%d" % row * 300 for row in range(0, 5_000, 37))


def test_a_key_twice_is_found_after_the_map_grew(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="twice"), LmdbWriter(tmp_path / "a", map_bytes=1 << 14) as writer:
        for row in range(50):
            writer.put(b"%d" % row, b"x" * 2_000)
        writer.put(b"7", b"y")


def test_a_shard_ends_before_it_outgrows_its_bytes(tmp_path: Path) -> None:
    record_bytes = len(seal({}, encode_jpeg(_picture(3), 95))) + 120
    written = write_shards(tmp_path, _samples(7), 100, bytes_per_shard=3 * record_bytes)
    sizes = [sum(1 for place in written if place.shard == name) for name in sorted({place.shard for place in written})]
    assert len(sizes) > 2 and sum(sizes) == 7
    reader = ShardReader(tmp_path, verify_files=True)
    assert [reader[row].label for row in range(7)] == [_label(row) for row in range(7)]


def test_shards_are_written_where_address_space_is_short(tmp_path: Path) -> None:
    code = (
        "import resource; from pathlib import Path; from facestore.lmdbfile import LmdbWriter\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({2 << 30}, {2 << 30}))\n"
        f"with LmdbWriter(Path({str(tmp_path / 'a.lmdb')!r})) as writer: writer.put(b'1', b'x')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert LmdbReader(tmp_path / "a.lmdb").get(b"1") == b"x"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root mounts a small disk")
    made = subprocess.run([mount, "-t", "tmpfs", "-o", "size=8m", "none", disk], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"no small disk here: {made.stderr.decode().strip()}")
    yield disk
    subprocess.run([shutil.which("umount") or "umount", disk], check=True)


@pytest.mark.integration
def test_a_full_disk_is_an_error_that_leaves_nothing_behind(small_disk: Path) -> None:
    split = small_disk / "train"
    write_shards(split, _samples(5), 3)
    before = sorted(path.name for path in split.iterdir())

    def endless() -> Iterator[tuple[object, bytes]]:
        row = 0
        while True:
            yield _label(row), os.urandom(20_000)
            row += 1

    other = small_disk / "val"
    with pytest.raises(StoreError, match="disk space"):
        write_shards(other, endless(), 100)  # type: ignore[arg-type]
    assert list(other.iterdir()) == []
    assert sorted(path.name for path in split.iterdir()) == before
    assert ShardReader(split, verify_files=True)[4].label == _label(4)
    write_shards(other, _samples(5), 3)
    assert len(ShardReader(other, verify_files=True)) == 5


def test_lmdb_is_the_one_that_was_hardened() -> None:
    """2.1 is the release against crafted files, in the wheels' own LMDB only."""
    major, minor = (int(part) for part in re.findall(r"\d+", lmdb.__version__)[:2])
    assert (major, minor) >= (2, 1)
    assert lmdb.version() >= (0, 9, 33)
    with Path("/proc/self/maps").open() as maps:
        assert not [line for line in maps if re.search(r"liblmdb[^/]*\.so", line)]


def _with_page(good: bytes, place: int, payload: bytes) -> bytes:
    return good[:place] + payload + good[place + len(payload) :]


SPOILS: dict[str, Callable[[bytes], bytes]] = {
    "magic": lambda good: _with_page(good, 16, b"\0\0\0\0"),
    "version": lambda good: _with_page(good, 20, b"\2"),
    "page size": lambda good: _with_page(good, 40, b"\1"),
    "last page": lambda good: _with_page(good, 4096 + 16 + 24 + 96, b"\xff\xff"),
    "empty": lambda _: b"",
    "text": lambda _: b"not a database\n" * 1_000,
}


@pytest.mark.parametrize("name", SPOILS)
def test_each_lie_of_a_meta_page_is_named(name: str, tmp_path: Path) -> None:
    good = _database(tmp_path / "a.lmdb")
    (tmp_path / "a.lmdb").write_bytes(SPOILS[name](good))
    with pytest.raises(ShardCorrupt, match=r"a\.lmdb"):
        unseal(LmdbReader(tmp_path / "a.lmdb").get(b"0001"), "1")


def test_an_index_in_another_spelling_is_refused(tmp_path: Path) -> None:
    write_shards(tmp_path, _samples(3), 3)
    (tmp_path / INDEX).write_text((tmp_path / INDEX).read_text() + " ")
    with pytest.raises(ShardCorrupt, match="as it was written"):
        ShardReader(tmp_path)
