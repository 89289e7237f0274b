"""The runner: keyed, staged, accounted, published whole; killed anywhere and run again, the same result."""

import shutil
from functools import wraps
from pathlib import Path

import pytest

from faceloop.decision_tables import export_decisions
from faceloop.runner import Workspace, hold, run_stage
from faceloop.stage import Report
from faceloop.stages import detect, embed, ingest
from facestore.crops import CropReader
from facestore.errors import ConfigError, LeaseHeld, StageError, StoreError
from facestore.ledger import Ledger
from facestore.publish import read_manifest
from facestore.records import Face
from facestore.tables import read_columns, read_table

from .runner_world import (
    counted,
    digests,
    digests_of,
    open_root,
    run_chain,
    tree_of,
)


def test_the_whole_chain_accounts_for_every_file_and_face(done: Workspace) -> None:
    before = run_chain(done)
    counts = before["ingest"].report
    assert counts.rejected == {"not_media": 1, "empty_file": 1}
    assert (counts.items_in, counts.published) == (8, 6)
    assert counts.figures["second_locations"] == 1
    faces = list(read_table(done.path("faces"), "faces", Face))
    report = before["detect"].report
    assert len(faces) == report.items_in == report.published + report.rejected.total()
    assert len({face.face_id for face in faces}) == len(faces)
    best = [face for face in faces if face.crop_key]
    assert len(best) == report.figures["crops"] == before["embed"].report.items_in > 4
    reader = CropReader(done.path("crops"))
    for face in best:
        for kind in ("aligned", "context"):
            payload = reader.jpeg(kind, str(face.crop_key))
            assert b"SECRET-CAMERA" not in payload
            assert b"Exif" not in payload


def test_a_second_run_does_nothing(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    times = {path: path.stat().st_mtime_ns for path in work.root.rglob("*.parquet")}
    with counted(monkeypatch, ingest) as a, counted(monkeypatch, detect) as b, counted(monkeypatch, embed) as c:
        outcomes = run_chain(work)
    assert a + b + c == []
    assert all(outcome.was_published_before and outcome.is_published for outcome in outcomes.values())
    assert {path: path.stat().st_mtime_ns for path in work.root.rglob("*.parquet")} == times


def test_a_changed_param_runs_its_stage_and_no_earlier_one(
    work: Workspace, face_source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digests(work)
    changed = open_root(work.root, tree_of(face_source, "detect.best_shots=1"))
    with counted(monkeypatch, ingest) as ingests, counted(monkeypatch, detect) as detects:
        outcomes = run_chain(changed)
    assert ingests == []
    assert len(detects) > 1
    assert outcomes["ingest"].was_published_before
    assert not outcomes["embed"].was_published_before
    after = digests(changed)
    assert {name for name in before if before[name] != after[name]} == {"faces", "crops", "embeddings"}


def test_face_ids_stay_when_the_detector_is_set_otherwise(work: Workspace, face_source: Path) -> None:
    before = set(read_columns(work.path("faces"), "faces", Face, ["face_id"])["face_id"].to_pylist())
    run_chain(open_root(work.root, tree_of(face_source, "detect.long_side_px=288", "detect.detail_long_side_px=288")))
    after = set(read_columns(work.path("faces"), "faces", Face, ["face_id"])["face_id"].to_pylist())
    assert len(before & after) >= 0.8 * len(before)


def test_a_published_artifact_that_lost_a_file_is_made_whole(work: Workspace, done: Workspace) -> None:
    next(iter(sorted(work.path("faces").glob("*/faces.parquet")))).unlink()
    with pytest.raises(StageError, match="lacks files"):
        run_stage(work, "embed")
    assert not run_stage(work, "detect").was_published_before
    assert digests(work) == digests(done)


def test_outputs_of_two_runs_are_not_mixed(work: Workspace, face_source: Path, tmp_path: Path) -> None:
    other = open_root(tmp_path / "other", tree_of(face_source, "detect.best_shots=1"))
    run_stage(other, "ingest")
    run_stage(other, "detect")
    shutil.rmtree(work.path("crops"))
    shutil.copytree(other.path("crops"), work.path("crops"))
    with pytest.raises(StageError, match="faces and crops come from different runs of detect"):
        run_stage(work, "embed")


def test_a_missing_input_names_what_to_do(tmp_path: Path, face_source: Path) -> None:
    with pytest.raises(StageError, match=r"detect: missing input .*footage; run the stage that makes it"):
        run_stage(open_root(tmp_path / "new", tree_of(face_source)), "detect")


def test_a_lost_item_stops_the_publication(ingested: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    real = detect.run

    @wraps(real)
    def losing(**arguments: object) -> Report:
        report = real(**arguments)  # type: ignore[arg-type]
        report.items_in += 1
        return report

    monkeypatch.setattr(detect, "run", losing)
    with pytest.raises(StageError, match="items came in"):
        run_stage(ingested, "detect")
    assert read_manifest(ingested.path("faces")) is None


@pytest.mark.parametrize(("name", "batches"), [
    ("detect", []),
    ("detect", ["b000"]),
    ("detect/b000", []),  # a batch is running elsewhere
    ("detect/b000", ["b000"]),
])  # fmt: skip
def test_two_runs_of_a_stage_at_once_are_refused(name: str, batches: list[str], work: Workspace) -> None:
    with hold(work, name), pytest.raises(LeaseHeld, match=f"{name} is already running"):
        run_stage(work, "detect", batches=batches)
    assert run_stage(work, "detect").was_published_before


def test_other_batches_and_other_stages_run_at_once(work: Workspace) -> None:
    batches = sorted(path.name for path in work.path("footage").iterdir() if path.is_dir())
    with hold(work, f"detect/{batches[0]}"):
        assert run_stage(work, "detect", batches=batches[1:]).was_published_before
        assert run_stage(work, "embed").was_published_before


def test_a_run_that_was_killed_before_its_ledger_line_gets_it_later(work: Workspace) -> None:
    assert Ledger(work.ledger_url()).latest("detect") is not None
    for path in work.root.glob("ledger.sqlite3*"):
        path.unlink()
    outcome = run_stage(work, "detect")
    line = Ledger(work.ledger_url()).latest("detect")
    assert outcome.was_published_before
    assert line is not None
    assert line.run_key == outcome.run_key
    assert set(line.outputs) == {"faces", "crops"}  # type: ignore[arg-type]


def test_the_ledger_says_what_a_run_read_wrote_and_counted(done: Workspace) -> None:
    line = Ledger(done.ledger_url()).latest("embed")
    assert line is not None
    faces, crops, embeddings = (digests(done)[name] for name in ("faces", "crops", "embeddings"))
    assert line.inputs == {"faces": faces, "crops": crops}
    assert line.outputs == {"embeddings": embeddings}
    assert line.counts == run_stage(done, "embed").report.counts()
    assert line.wall_s > 0


def test_an_object_store_that_fails_is_not_taken_for_bad_footage(tmp_path: Path, face_source: Path) -> None:
    work = open_root(tmp_path, tree_of(face_source))
    (tmp_path / "objects").write_text("a file where a folder should be")
    with pytest.raises(StoreError, match="cannot store media"):
        run_stage(work, "ingest")
    assert read_manifest(work.path("footage")) is None


def test_an_empty_source_runs_through(tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    work = open_root(tmp_path / "root", tree_of(tmp_path / "nothing"))
    assert all(outcome.is_published and outcome.report.items_in == 0 for outcome in run_chain(work).values())
    digests(work)
    assert run_chain(work)["embed"].was_published_before


def test_footage_that_was_taken_away_leaves_no_faces_behind(
    work: Workspace, face_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(face_source, tmp_path / "source")
    (tmp_path / "source" / "cam1.mp4").unlink()
    changed = open_root(work.root, tree_of(tmp_path / "source"))
    before = set(read_columns(work.path("faces"), "faces", Face, ["footage_id"])["footage_id"].to_pylist())
    with counted(monkeypatch, detect) as detects:
        run_chain(changed)
    after = set(read_columns(work.path("faces"), "faces", Face, ["footage_id"])["footage_id"].to_pylist())
    assert after < before
    assert len(before - after) == 1
    assert len(detects) <= 4


@pytest.mark.parametrize("override", ["paths.crops=faces", "paths.crops=faces/crops", "paths.ledger=footage/l.sqlite3"])
def test_artifacts_that_would_overwrite_each_other_are_refused(
    override: str, tmp_path: Path, face_source: Path
) -> None:
    with pytest.raises(ConfigError, match=r"paths\."):
        open_root(tmp_path, tree_of(face_source, override))


def test_a_root_may_have_any_name(tmp_path: Path, face_source: Path, done: Workspace) -> None:
    work = open_root(tmp_path / "it's a root, ä 100% #1?", tree_of(face_source))
    run_stage(work, "ingest")
    assert digests_of(work, "footage") == digests_of(done, "footage")
    assert any(work.root.iterdir())


def test_inputs_that_were_made_from_other_inputs_are_refused(work: Workspace, face_source: Path) -> None:
    changed = open_root(work.root, tree_of(face_source, "detect.best_shots=1"))
    run_stage(changed, "detect")
    with pytest.raises(StageError, match="faceloop decisions export"):
        run_stage(changed, "cluster")
    export_decisions(changed)
    with pytest.raises(StageError, match="embeddings was made from another version of faces; run embed again"):
        run_stage(changed, "cluster")


def test_a_source_where_an_artifact_goes_is_refused_and_stays(tmp_path: Path, face_source: Path) -> None:
    source = tmp_path / "footage"
    shutil.copytree(face_source, source)
    before = sorted(source.rglob("*"))
    for root in (tmp_path, source / "out", source):
        with pytest.raises(ConfigError, match="share a folder"):
            open_root(root, tree_of(source))
    assert sorted(source.rglob("*")) == before


def test_a_folder_that_is_no_artifact_is_never_replaced(tmp_path: Path, face_source: Path) -> None:
    (tmp_path / "footage").mkdir()
    (tmp_path / "footage" / "holiday.jpg").write_bytes(b"dear")
    with pytest.raises(StageError, match="no artifact of ours"):
        run_stage(open_root(tmp_path, tree_of(face_source)), "ingest")
    assert (tmp_path / "footage" / "holiday.jpg").read_bytes() == b"dear"


def test_a_lost_object_store_is_filled_by_running_ingest_again(work: Workspace) -> None:
    shutil.rmtree(work.root / "objects")
    assert run_stage(work, "ingest").was_published_before
    assert not (work.root / "objects").exists()
    assert not run_stage(work, "ingest", again=True).was_published_before
    assert run_stage(work, "detect", again=True).report.published > 0
