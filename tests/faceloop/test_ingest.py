"""ingest: every file is published, known already, or rejected with its reason; none stops the run."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from faceloop.params import read_params, section
from faceloop.progress import SilentProgress
from faceloop.stage import Context, Report, Stopwatch
from faceloop.stages import ingest
from facestore.errors import ConfigError
from facestore.ids import media_key
from facestore.objects import FolderStore
from facestore.records import Footage, Rejection
from facestore.tables import read_table

ROOT = Path(__file__).parents[2]
ClipMaker = Callable[..., Path]
Frames = Callable[[int], list[npt.NDArray[np.uint8]]]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


def _ingest(source: Path | str, out: Path, *overrides: str) -> tuple[Report, list[Footage], list[Rejection]]:
    tree = read_params(ROOT / "params.yaml", overrides)
    out.mkdir(exist_ok=True)
    context = Context(
        objects=FolderStore(out / "objects", may_link=True),
        progress=SilentProgress(),
        stopwatch=Stopwatch(),
        threads=1,
        run_key="k",
        previous={"footage": None},
    )
    params = section(tree, "ingest", ingest.Params)
    report = ingest.run(source=str(source), footage=out / "footage", params=params, context=context)
    report.check("ingest")
    published = list(read_table(out / "footage", "footage", Footage))
    return report, published, list(read_table(out / "footage", "rejections", Rejection))


def _photo(path: Path, level: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), (level, level, level)).save(path, "PNG")
    return path


BAD = {
    "empty.mp4": (b"", "empty_file"),
    "notes.jpg": (b"these are notes", "not_media"),
    "list.mp4": (b"#EXTM3U\nhttp://127.0.0.1:9/x.ts", "not_media"),
    "concat.mp4": (b"ffconcat version 1.0\nfile secret", "not_media"),
    "cut.png": (b"\x89PNG\r\n\x1a\n\x00\x00", "corrupt_media"),
    "broken.mkv": (b"\x1aE\xdf\xa3" + bytes(900), "corrupt_media"),
    "broken.mp4": (b"\x00\x00\x00\x20ftypisom" + bytes(900), "corrupt_media"),
}


def test_bad_files_are_rejected_with_their_reasons_and_stop_nothing(source: Path, tmp_path: Path) -> None:
    for name, (payload, _) in BAD.items():
        (source / name).write_bytes(payload)
    _photo(source / "good.png")
    report, published, rejections = _ingest(source, tmp_path / "out")
    assert [footage.uri for footage in published] == ["good.png"]
    assert {rejection.item: rejection.reason for rejection in rejections} == {
        n: reason for n, (_, reason) in BAD.items()
    }
    assert report.items_in == len(BAD) + 1


def test_the_same_bytes_under_two_names_are_one_footage_with_two_locations(source: Path, tmp_path: Path) -> None:
    for name in ("z.png", "a/first.png", "b/caf\u00e9.png", "b/cafe\u0301.png"):
        _photo(source / name)
    report, (footage,), _ = _ingest(source, tmp_path / "out")
    assert footage.locations == ("a/first.png", "b/cafe\u0301.png", "b/caf\u00e9.png", "z.png")
    assert footage.uri == "a/first.png"
    assert (report.published, report.figures["footage"], report.figures["second_locations"]) == (4, 1, 3)


def test_twins_in_unicode_with_other_bytes_are_two_footages(source: Path, tmp_path: Path) -> None:
    _photo(source / "caf\u00e9.png", 10)
    _photo(source / "cafe\u0301.png", 20)
    _, published, _ = _ingest(source, tmp_path / "out")
    assert {footage.uri for footage in published} == {"caf\u00e9.png", "cafe\u0301.png"}


def test_a_name_that_is_not_utf_8_is_ingested(source: Path, tmp_path: Path) -> None:
    _photo(source / "folder \udcfe" / "x.png").rename(source / "folder \udcfe" / "\udcff.png")
    _, (footage,), _ = _ingest(source, tmp_path / "out")
    assert footage.uri == r"folder \xfe/\xff.png"
    assert footage.subset == r"folder \xfe"


def test_stored_bytes_are_those_of_the_source_and_no_links(source: Path, tmp_path: Path) -> None:
    _photo(source / "real.png")
    (source / "a link.png").symlink_to("real.png")
    _, (footage,), _ = _ingest(source, tmp_path / "out")
    stored = tmp_path / "out" / "objects" / media_key(footage.footage_id)
    assert not stored.is_symlink()
    assert stored.read_bytes() == (source / "real.png").read_bytes()


def test_the_manifest_speaks_before_the_folder(source: Path, tmp_path: Path) -> None:
    _photo(source / "cam 1" / "a.png", 1)
    _photo(source / "cam 1" / "b.png", 2)
    _photo(source / "top.png", 3)
    (source / "sources.csv").write_text("path,subset,consent_id\ncam 1/a.png,door,c-1\nno such.png,x,\n")
    report, published, _ = _ingest(source, tmp_path / "out")
    by_name = {footage.uri: footage for footage in published}
    assert {name: footage.subset for name, footage in by_name.items()} == {
        "cam 1/a.png": "door", "cam 1/b.png": "cam 1", "top.png": "source",
    }  # fmt: skip
    assert by_name["cam 1/a.png"].consent_id == "c-1"
    assert report.items_in == 3
    assert report.figures["manifest_rows_without_file"] == 1


def test_a_wrong_manifest_stops_before_any_work(source: Path, tmp_path: Path) -> None:
    _photo(source / "a.png")
    (source / "sources.csv").write_text("file,subset\na.png,x\n")
    with pytest.raises(ConfigError, match="unknown key 'file'"):
        _ingest(source, tmp_path / "out")
    assert not (tmp_path / "out" / "objects").exists()


def test_the_whole_source_may_be_one_subset(source: Path, tmp_path: Path) -> None:
    _photo(source / "a" / "a.png", 1)
    _photo(source / "b" / "b.png", 2)
    _, published, _ = _ingest(source, tmp_path / "out", "ingest.subset_from=source")
    assert {footage.subset for footage in published} == {"source"}


def test_ignored_files_are_not_counted_as_input(source: Path, tmp_path: Path) -> None:
    _photo(source / "a.png")
    (source / "truth.json").write_text("{}")
    (source / "Thumbs.db").write_bytes(b"x")
    report, _, rejections = _ingest(source, tmp_path / "out")
    assert (report.items_in, report.figures["ignored"], rejections) == (1, 2, [])


def test_batches_depend_on_the_bytes_alone(
    source: Path, tmp_path: Path, make_clip: ClipMaker, moving_square: Frames
) -> None:
    for number in range(12):
        _photo(source / f"{number}.png", number)
    make_clip(source / "clip.mp4", moving_square(10))
    _, first, _ = _ingest(source, tmp_path / "one")
    renamed = tmp_path / "renamed"
    for number, path in enumerate(sorted(source.iterdir(), reverse=True)):
        _ = shutil.copyfile(path, _folder(renamed) / f"{number:02d}")
    _, second, _ = _ingest(renamed, tmp_path / "two")
    assert {f.footage_id: f.batch for f in first} == {f.footage_id: f.batch for f in second}
    assert len({f.batch for f in first}) > 2
    assert [f.footage_id for f in first] == [f.footage_id for f in second]


def _folder(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


@pytest.mark.integration
def test_a_bucket_gives_the_same_footage_as_a_folder(
    source: Path, tmp_path: Path, s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from facestore.s3 import S3Bucket

    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    _photo(source / "cam 1" / "it's.png", 1)
    _photo(source / "人.png", 2)
    (source / "notes.jpg").write_text("notes")
    bucket, _ = S3Bucket.from_url("s3://ingest-test")
    bucket.client.create_bucket(Bucket=bucket.name)
    for path in source.rglob("*.*"):
        bucket.client.upload_file(str(path), bucket.name, "source/" + path.relative_to(source).as_posix())
    try:
        assert _ingest("s3://ingest-test/source", tmp_path / "bucket")[1:] == _ingest(source, tmp_path / "folder")[1:]
    finally:
        bucket.client.close()
