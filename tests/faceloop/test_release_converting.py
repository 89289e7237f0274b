"""Other formats and back: the same pictures to the byte, the same classes; what is hostile in them is refused."""

import contextlib
import io
import json
import shutil
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.progress import SilentProgress
from faceloop.release.converting import Format, convert_from, convert_to
from faceloop.release.imagefolder import read_imagefolder
from faceloop.release.plain_samples import PlainSample, checked
from faceloop.release.recordio import KEYS, RECORDS, read_recordio, write_recordio
from faceloop.release.webdataset import read_webdataset, write_webdataset
from facestore.errors import DataError, StageError
from facestore.images import encode_jpeg
from facestore.publish import fresh_partial, publish, verify
from facestore.records import ReleaseSample
from facestore.releasechanges import add_tombstones
from facestore.shards import ShardReader
from facestore.tables import read_table

from .release_world import released
from .runner_world import ROOT

FORMATS: tuple[Format, ...] = ("recordio", "imagefolder", "webdataset")
MAGIC = struct.pack("<I", 0xCED7230A)
JPEG = encode_jpeg(np.full((112, 112, 3), 90, np.uint8), 80)


def _pictures(release: Path, split: str = "train") -> list[tuple[int, bytes]]:
    reader = ShardReader(release / split)
    return sorted((label.class_index, jpeg) for label, jpeg in (reader.jpeg(row) for row in range(len(reader))))


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_round_trip_keeps_pictures_and_classes(kind: Format, tmp_path: Path) -> None:
    release = released(tmp_path / "root").path("release")
    told = convert_to(kind, release, "train", tmp_path / "out", SilentProgress())
    assert (told.samples, told.classes) == (12, 2)
    back = convert_from(kind, tmp_path / "out", tmp_path / "back", SilentProgress(), samples_per_shard=5)
    assert back == told
    assert _pictures(tmp_path / "back") == _pictures(release)
    verify(tmp_path / "back")
    table = list(read_table(tmp_path / "back", "samples", ReleaseSample))
    assert sorted(row.class_index for row in table) == [0] * 6 + [1] * 6
    convert_to(kind, release, "train", tmp_path / "again", SilentProgress())
    assert _files(tmp_path / "again") == _files(tmp_path / "out")


@pytest.mark.parametrize("kind", FORMATS)
def test_what_was_taken_out_of_a_release_does_not_leave_it(kind: Format, tmp_path: Path) -> None:
    release = tmp_path / "release"
    staging = fresh_partial(release, keep=False)
    shutil.copytree(released(tmp_path / "root").path("release"), staging, dirs_exist_ok=True)
    (staging / "manifest.json").write_text('{"release":"r1","lineage":{"footage":[]}}')
    publish(release, stage="pack", run_key="k", counts={}, inputs={})
    before = _pictures(release)
    assert add_tombstones(release, ["person-a-2"], "erased") == 1
    convert_to(kind, release, "train", tmp_path / "out", SilentProgress())
    convert_from(kind, tmp_path / "out", tmp_path / "back", SilentProgress(), samples_per_shard=5)
    left = _pictures(tmp_path / "back")
    assert len(left) == 11 and set(left) < set(before)


@pytest.mark.parametrize("kind", FORMATS)
def test_no_id_and_no_name_leaves_with_a_conversion(kind: Format, tmp_path: Path) -> None:
    release = released(tmp_path / "root").path("release")
    convert_to(kind, release, "val", tmp_path / "out", SilentProgress())
    for name, payload in _files(tmp_path / "out").items():
        assert "person" not in name and b"person" not in payload


PAYLOADS = st.lists(
    st.lists(st.sampled_from([MAGIC, MAGIC[:2], b"x", b"yz", JPEG[:7], b""]), max_size=6).map(b"".join), max_size=5
)


@given(PAYLOADS, st.lists(st.integers(0, 3), min_size=5, max_size=5))
@settings(deadline=None, max_examples=60)
def test_any_bytes_come_back_from_recordio_even_its_own_magic(payloads: list[bytes], classes: list[int]) -> None:
    samples = [
        PlainSample(class_index=index, jpeg=payload)
        for index, payload in zip(sorted(classes[: len(payloads)]), payloads, strict=True)
    ]
    with TemporaryDirectory() as name:
        write_recordio(Path(name), samples, count=len(samples), classes=4)
        assert list(read_recordio(Path(name))) == samples


def _independent_records(folder: Path) -> list[tuple[int, float, tuple[float, ...], bytes]]:
    """Read by key as the published format says, without our reader: (key, label, array label, rest)."""
    blob = (folder / RECORDS).read_bytes()
    found = []
    for line in (folder / KEYS).read_text().splitlines():
        key, at = (int(word) for word in line.split("\t"))
        magic, word = struct.unpack_from("<II", blob, at)
        assert (magic, word >> 29) == (0xCED7230A, 0)
        payload = blob[at + 8 : at + 8 + word]
        flag, label, _, _ = struct.unpack_from("<IfQQ", payload)
        found.append((key, label, struct.unpack_from(f"<{flag}f", payload, 24), payload[24 + 4 * flag :]))
    return found


def test_recordio_is_laid_out_as_insightface_reads_it(tmp_path: Path) -> None:
    samples = [PlainSample(class_index=index, jpeg=b"picture%d" % place) for place, index in enumerate([0, 0, 2, 2, 2])]
    write_recordio(tmp_path, samples, count=5, classes=3)
    found = {key: (label, labels, rest) for key, label, labels, rest in _independent_records(tmp_path)}
    assert found[0][1] == (6.0, 9.0)  # samples are 1 … 5, classes 6 … 8
    assert [(found[key][0], found[key][2]) for key in range(1, 6)] == [
        (float(sample.class_index), sample.jpeg) for sample in samples
    ]
    ranges = [found[key][1] for key in range(6, 9)]
    assert ranges[0] == (1.0, 3.0) and ranges[1][0] == ranges[1][1] and ranges[2] == (3.0, 6.0)
    assert (tmp_path / "property").read_text() == "3,112,112\n"


def _tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for member, payload in members:
            member.size = len(payload)
            tar.addfile(member, io.BytesIO(payload))


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


LABEL = b'{"class_index":0}'
HOSTILE: dict[str, list[tuple[tarfile.TarInfo, bytes]]] = {
    "up and out": [(_member("../a.jpg"), JPEG), (_member("../a.json"), LABEL)],
    "absolute": [(_member("/etc/a.jpg"), JPEG), (_member("/etc/a.json"), LABEL)],
    "backslash": [(_member("..\\a.jpg"), JPEG), (_member("..\\a.json"), LABEL)],
    "symbolic link": [(_member("a.jpg", tarfile.SYMTYPE, "/etc/passwd"), b""), (_member("a.json"), LABEL)],
    "hard link": [(_member("a.jpg", tarfile.LNKTYPE, "/etc/passwd"), b""), (_member("a.json"), LABEL)],
    "device": [(_member("a.jpg", tarfile.CHRTYPE), b""), (_member("a.json"), LABEL)],
    "pipe": [(_member("a.jpg", tarfile.FIFOTYPE), b"")],
    "script": [(_member("a.sh"), b"rm")],
    "pickle": [(_member("a.jpg"), JPEG), (_member("a.pyd"), b"x")],
    "large": [(_member("a.jpg"), b"\xff\xd8" + bytes(1 << 21)), (_member("a.json"), LABEL)],
    "two labels": [(_member("a.jpg"), JPEG), (_member("b.json"), LABEL)],
    "no label": [(_member("a.jpg"), JPEG)],
    "deep": [(_member("a.jpg"), JPEG), (_member("a.json"), b"[" * 100_000)],
    "no number": [(_member("a.jpg"), JPEG), (_member("a.json"), b'{"class_index":true}')],
    "no class": [(_member("a.jpg"), JPEG), (_member("a.json"), b"{}")],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tar_is_refused_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    _tar(tmp_path / "in/0.tar", *HOSTILE[name])
    before = _files(tmp_path)
    with pytest.raises(DataError):
        convert_from("webdataset", tmp_path / "in", tmp_path / "out", SilentProgress(), samples_per_shard=5)
    assert _files(tmp_path) == before


def test_a_tar_cut_anywhere_is_refused_or_shorter_by_whole_samples(tmp_path: Path) -> None:
    samples = [PlainSample(class_index=index, jpeg=JPEG) for index in range(4)]
    write_webdataset(tmp_path, samples)
    good = (tmp_path / "000000.tar").read_bytes()
    refused = 0
    for size in range(0, len(good), 1 + len(good) // 60):
        (tmp_path / "000000.tar").write_bytes(good[:size])
        try:
            found = list(read_webdataset(tmp_path))
            assert found == samples[: len(found)]
        except DataError:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("place", range(0, 120, 7))
def test_a_spoilt_recordio_is_an_error_or_other_samples_and_never_a_crash(place: int, tmp_path: Path) -> None:
    write_recordio(tmp_path, [PlainSample(class_index=0, jpeg=JPEG)] * 3, count=3, classes=1)
    blob = bytearray((tmp_path / RECORDS).read_bytes())
    for spoilt in (blob[:place], blob[:place] + b"\xff\xff\xff\xff" + blob[place + 4 :]):
        (tmp_path / RECORDS).write_bytes(spoilt)
        with contextlib.suppress(DataError):
            assert len(list(read_recordio(tmp_path))) <= 5


SMALL = encode_jpeg(np.zeros((64, 64, 3), np.uint8), 80)
AT = JPEG.index(b"\xff\xc0")
NO_CROPS: dict[str, PlainSample] = {
    "another size": PlainSample(class_index=0, jpeg=SMALL),
    "a header that promises 60,000 pixels": PlainSample(
        class_index=0, jpeg=JPEG[: AT + 5] + b"\xea\x60\xea\x60" + JPEG[AT + 9 :]
    ),
    "no picture": PlainSample(class_index=0, jpeg=b"GIF89a"),
    "nothing": PlainSample(class_index=0, jpeg=b""),
    "a head alone": PlainSample(class_index=0, jpeg=JPEG[:4]),
    "a class below zero": PlainSample(class_index=-1, jpeg=JPEG),
}


@pytest.mark.parametrize("name", NO_CROPS)
def test_what_is_no_crop_is_refused(name: str) -> None:
    with pytest.raises(DataError):
        checked(NO_CROPS[name], "sample 0")
    good = PlainSample(class_index=3, jpeg=JPEG)
    assert checked(good, "sample 0") is good


def _link_file(folder: Path) -> None:
    (folder / "0").mkdir()
    (folder / "0/a.jpg").symlink_to("/etc/passwd")


def _link_folder(folder: Path) -> None:
    (folder / "0").symlink_to("/etc")


def _stray(folder: Path) -> None:
    (folder / "notes.txt").write_text("x")


@pytest.mark.parametrize("spoil", [_link_file, _link_folder, _stray, lambda _: None])
def test_an_imagefolder_with_anything_else_is_refused(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    spoil(tmp_path)
    with pytest.raises(DataError):
        list(read_imagefolder(tmp_path))


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    release = released(tmp_path / "root").path("release")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(StageError, match="not empty"):
        convert_to("imagefolder", release, "train", tmp_path / "out", SilentProgress())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_picture_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_webdataset(tmp_path / "in", [PlainSample(class_index=0, jpeg=JPEG)] * 2)
    with pytest.raises(DataError, match="more than once"):
        convert_from("webdataset", tmp_path / "in", tmp_path / "out", SilentProgress(), samples_per_shard=5)


def test_the_command_converts_and_a_new_root_pulls_what_came_back(tmp_path: Path) -> None:
    released(tmp_path / "root")
    options = ["--root", str(tmp_path / "root"), "--params", str(ROOT / "params.yaml")]

    def told(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["release", *arguments])
        return result.exit_code, result.stdout

    assert told("convert", str(tmp_path / "tar"), "--to", "webdataset", *options)[0] == 0
    back = ("--from", "webdataset", "--out", str(tmp_path / "back"))
    code, text = told("convert", str(tmp_path / "tar"), *back, *options)
    assert (code, json.loads(text)) == (0, {"classes": 2, "samples": 12})
    assert told("convert", str(tmp_path / "tar"), *options)[0] != 0
    version = json.loads((tmp_path / "back/manifest.json").read_text())["release"]
    other = ["--root", str(tmp_path / "other"), "--params", str(ROOT / "params.yaml")]
    code, text = told("pull", version, "--from", str(tmp_path / "back"), *other)
    assert (code, json.loads(text)["samples"]) == (0, 12)
