"""The report: what it counts, that it escapes, that it needs nothing else, and that equal roots give equal files."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from faceloop.params import default_params_path, read_params
from faceloop.progress import SilentProgress
from faceloop.reports.build import LIMITS, ReportFiles, build_report
from faceloop.reports.material import Shot
from faceloop.reports.people import SheetLimits, pictured
from faceloop.reports.truth import TruthSpec
from faceloop.runner import open_workspace
from facestore.errors import StageError
from facestore.ids import JsonValue
from facestore.ledger import Ledger, StageRun
from facestore.publish import fresh_partial, publish, verify

from .report_world import HOSTILE, World, face

FOLDERS = TruthSpec(file=None, except_file=None)


class Reader(HTMLParser):
    """Tags, addresses and text of a page as a browser sees them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = dict(attrs)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href", "action", "srcset", "data"}]
        self.handlers += [name for name in named if name.startswith("on")]
        if tag == "img":
            self.images.append(named)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReportFiles]:
    yield build_report(World().write(tmp_path_factory.mktemp("root")), truth=None)


@pytest.fixture(scope="module")
def page(built: ReportFiles) -> str:
    return built.page.read_text(encoding="utf-8")


def test_the_page_needs_nothing_from_anywhere(page: str) -> None:
    seen = Reader(page)
    assert all(address.startswith(("data:image/jpeg;base64,", "#")) for address in seen.addresses)
    assert not {"script", "link", "iframe", "object", "embed"} & set(seen.tags)
    assert "://" not in page
    assert not re.search(r"@import|url\(", page)
    assert "default-src 'none'" in page


def test_hostile_names_are_shown_and_never_run(page: str) -> None:
    seen = Reader(page)
    assert seen.handlers == []
    for name in (HOSTILE, '<img src=x onerror="1">.mp4', "naïve “name”.jpg"):
        assert name in seen.text
        assert escape(name) in page.replace("&#34;", "&quot;").replace("&#39;", "&#x27;")
    assert "<b>bold</b>" in seen.text, "the detail too is text"


def test_every_picture_has_words_for_those_who_do_not_see_it(page: str) -> None:
    images = Reader(page).images
    assert len(images) >= 9, "four shots of each identity, one unknown tracklet"
    assert all(image.get("alt") and image.get("width") for image in images)


def test_the_sentence_counts_what_the_tables_hold(built: ReportFiles, page: str) -> None:
    expected = (
        "In 5 videos (10 s) we accepted 15 faces in 5 tracklets, from which came 2 identities; "
        "3 faces stay unknown; 3 files need a look."
    )
    assert expected in page
    assert built.summary.splitlines()[0] == expected


def test_every_file_set_aside_is_named_with_its_reason(page: str) -> None:
    text = Reader(page).text
    for reason in ("empty_file", "corrupt_media", "fewer_frames_than_promised", "41 of 50 frames decoded"):
        assert reason in text


def test_metrics_are_flat_and_equal_the_tables(built: ReportFiles) -> None:
    metrics = json.loads(built.metrics.read_text(encoding="utf-8"))
    assert all(isinstance(value, int | float) for value in metrics.values())
    expected = {
        "ingest.in": 7,
        "ingest.published": 5,
        "ingest.rejected": 2,
        "ingest.rejected.empty_file": 1,
        "detect.in": 16,
        "detect.rejected.too_small": 1,
        "identify.pending.singleton": 3,
        "identities": 2,
        "unknown_faces": 3,
        "unknown_tracklets": 1,
        "tracklets": 5,
        "files_set_aside": 3,
        "release.train.samples": 8,
        "release.train.identities": 2,
    }
    assert {name: metrics[name] for name in expected} == expected
    assert not any(name.startswith("truth.") for name in metrics)


def test_truth_adds_scores_to_metrics_and_page(tmp_path: Path) -> None:
    files = build_report(World().write(tmp_path), truth=FOLDERS)
    metrics = json.loads(files.metrics.read_text(encoding="utf-8"))
    assert metrics["truth.people"] == 0, "videos have no folder truth"
    assert "Against the truth" in files.page.read_text(encoding="utf-8")


def test_plots_are_pictures(built: ReportFiles) -> None:
    assert [path.name for path in built.plots] == [
        "losses.png",
        "quality.png",
        "similarity.png",
        "size.png",
        "timing.png",
    ]
    for path in built.plots:
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 100


def test_equal_roots_give_equal_files(built: ReportFiles, tmp_path: Path) -> None:
    again = build_report(World().write(tmp_path), truth=None)
    for first, second in zip(
        (built.page, built.metrics, *built.plots), (again.page, again.metrics, *again.plots), strict=True
    ):
        assert first.read_bytes() == second.read_bytes(), first.name


def test_the_order_of_table_rows_does_not_matter(built: ReportFiles, tmp_path: Path) -> None:
    world = World()
    world.faces.reverse()
    world.footage.reverse()
    world.rejections.reverse()

    # The crop pictures of this world follow the order of faces: leave them out of the comparison.
    def without_pictures(files: ReportFiles) -> str:
        return re.sub(r'src="data:[^"]*"', "", files.page.read_text(encoding="utf-8"))

    assert without_pictures(build_report(world.write(tmp_path), truth=None)) == without_pictures(built)


def test_the_report_is_published_whole(built: ReportFiles) -> None:
    verify(built.directory)


def test_low_confidence_faces_are_marked_and_shown_even_when_there_are_many(tmp_path: Path) -> None:
    world = World()
    world.confidence = 0.6
    text = build_report(world.write(tmp_path), truth=None).page.read_text(encoding="utf-8")
    assert text.count('<figure class="low">') == 8, "every identified shot"
    assert ", low confidence" in text


def test_stages_that_have_not_run_are_named(tmp_path: Path) -> None:
    files = build_report(World().write(tmp_path, upto="crops"), truth=None)
    assert "Not run yet: embed, cluster, identify, select, pack" in files.summary
    assert "No identities yet" in files.page.read_text(encoding="utf-8")


def test_without_footage_there_is_no_report(tmp_path: Path) -> None:
    work = open_workspace(tmp_path, read_params(default_params_path()), threads=1, progress=SilentProgress())
    with pytest.raises(StageError, match="run ingest first"):
        build_report(work, truth=None)


def test_an_empty_source_gives_a_report_that_says_so(tmp_path: Path) -> None:
    world = World(footage=[], rejections=[], faces=[], templates=[], identity_of_face={})
    files = build_report(world.write(tmp_path), truth=FOLDERS)
    assert files.summary.startswith("In no footage we accepted 0 faces")
    assert "://" not in files.page.read_text(encoding="utf-8")


def test_pictures_stop_at_their_budget_and_the_page_says_so(tmp_path: Path) -> None:
    files = build_report(World().write(tmp_path), truth=None, limits=replace(LIMITS, picture_bytes=1))
    text = files.page.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg") == 1
    assert "no picture" in text
    assert "room for pictures is used up" in files.summary


def test_a_lost_crop_store_leaves_the_page_whole(tmp_path: Path) -> None:
    world = World()
    work = world.write(tmp_path)
    (work.path("crops") / "b000" / "crops.lmdb").unlink()
    files = build_report(work, truth=None)
    assert "could not be read from the crop stores" in files.summary


def test_replaced_inputs_are_called_out_of_date(tmp_path: Path) -> None:
    work = World().write(tmp_path)
    fresh_partial(work.path("clusters"), keep=False)
    counts: dict[str, JsonValue] = {"in": 0, "published": 0, "rejected": {}, "pending": {}}
    publish(work.path("clusters"), stage="cluster", run_key="newer", counts=counts, inputs={})
    ledger = Ledger(work.ledger_url())
    ledger.record(
        StageRun(
            run_key="newer",
            stage="cluster",
            params={},
            inputs={"faces": "another digest"},
            outputs={},
            counts={},
            timings={},
            published_at=datetime(2026, 1, 2, tzinfo=UTC),
            wall_s=1.0,
        )
    )
    ledger.close()
    assert "Out of date: cluster ran on inputs" in build_report(work, truth=None).summary


def test_a_sheet_keeps_room_for_its_least_sure_face() -> None:
    shots = [
        Shot(
            face_id=f"f{n}",
            tracklet_id="t",
            footage_id="c",
            subset="s",
            pts_ms=n,
            size_px=80.0,
            quality=1 - n / 10,
            crop_key=f"b/f{n}",
            cluster_id=0,
            identity_id="person-1",
            state="proposed",
            confidence=0.2 if n == 9 else 0.9,
        )
        for n in range(10)
    ]
    limits = SheetLimits(identities=1, shots_per_identity=4, least_sure_per_identity=1, unknown=1, low_confidence=0.5)
    assert [shot.face_id for shot in pictured(shots, limits)] == ["f0", "f1", "f2", "f9"]


def test_a_face_left_out_of_an_identity_is_not_its_own_unknown_person(tmp_path: Path) -> None:
    world = World()
    world.identity_of_face["t0f1"] = None
    files = build_report(world.write(tmp_path), truth=None)
    metrics = json.loads(files.metrics.read_text(encoding="utf-8"))
    assert (metrics["unknown_faces"], metrics["unknown_tracklets"]) == (4, 1)


def test_faces_without_a_crop_count_but_are_not_pictured(tmp_path: Path) -> None:
    world = World()
    world.faces.append(face(0, 5, has_crop=False))
    world.identity_of_face["t0f5"] = "person-aaaaaaaaaaaaaaaa"
    files = build_report(world.write(tmp_path), truth=None)
    assert "7 faces · 2 tracklets" in files.page.read_text(encoding="utf-8")
