"""`faceloop decisions` and the artifact it makes, over a small table of faces."""

import json
import shutil
import threading
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from multiprocessing import get_context
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from faceloop import decision_tables
from faceloop.commands.decisions import app
from faceloop.decision_tables import export_decisions, with_decision_log, with_identity_log
from faceloop.runner import Workspace
from facestore.decisionlog import DecisionLog
from facestore.decisions import Contradiction, Decision, IdentityEvent, Review, decide, identity_event
from facestore.errors import ConfigError, DataError, StageError
from facestore.ids import sha256_hex
from facestore.publish import fresh_partial, publish, read_manifest, verify
from facestore.records import Face
from facestore.tables import read_table, write_table

from .runner_world import open_root, tree_of

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
FACES = [sha256_hex(bytes([number]))[:32] for number in range(4)]
A, B, C, D = FACES


def _face(face_id: str) -> Face:
    return Face(
        face_id=face_id, footage_id="m", subset="s", pts_ms=0, bbox=(0, 0, 1, 1), landmarks=(0.0,) * 10, det_score=1,
        tracklet_id=face_id, is_best_shot=True, size_px=1, sharpness=1, brightness=1, contrast=1, yaw=0, pitch=0,
        roll=0, occlusion=0, quality=1, crop_key=None, detector="d", rejected=None,
    )  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Workspace:
    """Four faces, published, and an empty log."""
    work = open_root(tmp_path / "root", tree_of(tmp_path / "source"))
    folder = work.path("faces")
    write_table(fresh_partial(folder, keep=False) / "faces.parquet", Face, [_face(face_id) for face_id in FACES])
    publish(folder, stage="detect", run_key="k", counts={}, inputs={})
    return work


def _call(work: Workspace, *arguments: str, fails: bool = False) -> Result:
    done = CliRunner().invoke(app, [*arguments, "--root", str(work.root)])
    if not fails and done.exception is not None:
        raise done.exception
    return done


def _add(work: Workspace, *arguments: str) -> str:
    return _call(work, "add", *arguments).stdout.strip()


def test_a_decision_is_added_listed_and_taken_back(root: Workspace) -> None:
    said = _add(root, "same", B, A, "--by", "ann", "--note", "same scar")
    (line,) = _call(root, "list", "--json").stdout.splitlines()
    shown = json.loads(line)
    assert (shown["decision_id"], shown["verb"], shown["state"], shown["annotator"]) == (said, "same", "stands", "ann")
    assert (shown["face_id"], shown["other_face_id"]) == tuple(sorted((A, B)))
    _call(root, "retract", said[:8], "--by", "bob")
    first, second = _call(root, "list").stdout.splitlines()
    assert first.startswith("retracted")
    assert "same scar" in first
    assert second.startswith("retract ")
    assert _call(root, "list", "--face", C).stdout == ""
    assert len(_call(root, "list", "--face", A[:6]).stdout.splitlines()) == 1


def test_every_verb_can_be_said(root: Workspace) -> None:
    _add(root, "same", A, B)
    _add(root, "different", A, C)
    _add(root, "is", A, "--identity", "person-1")
    _add(root, "not_a_face", D)
    _add(root, "attribute", A, "--name", "glasses", "--value", "yes", "--question", "q7")
    _add(root, "ignore", C)
    manifest = export_decisions(root)
    assert (manifest.counts["decisions"], manifest.counts["effective"]) == (6, 6)


def test_a_face_may_be_named_by_its_first_digits_when_they_are_its_own(root: Workspace) -> None:
    _add(root, "ignore", A[:6])
    assert [decision.face_id for decision in with_decision_log(root, lambda log: list(log.all()))] == [A]
    with pytest.raises(DataError, match="too short"):
        _add(root, "ignore", A[:5])
    with pytest.raises(DataError, match="no face 000000"):
        _add(root, "ignore", "000000")
    twins = [f"{A[:10]}{'0' * 22}", A]
    write_table(fresh_partial(root.path("faces"), keep=False) / "faces.parquet", Face, [_face(one) for one in twins])
    publish(root.path("faces"), stage="detect", run_key="k2", counts={}, inputs={})
    with pytest.raises(DataError, match="2 faces begin with"):
        _add(root, "ignore", A[:8])


def test_a_decision_without_its_subject_is_refused(root: Workspace) -> None:
    for wrong in (("same", A), ("is", A), ("ignore", A, B), ("attribute", A, "--name", "glasses")):
        with pytest.raises(DataError, match="needs"):
            _add(root, *wrong)
    with pytest.raises(DataError, match="decisions begin with"):
        _call(root, "retract", "abcdef")


def test_contradictions_are_proved_by_faces_and_end_with_exit_code_one(root: Workspace) -> None:
    assert _call(root, "conflicts").exit_code == 0
    _add(root, "same", A, B, "--by", "ann")
    _add(root, "same", B, C, "--by", "ann")
    wrong = _add(root, "different", A, C, "--by", "bob")
    done = _call(root, "conflicts", fails=True)
    assert done.exit_code == 1
    proof = done.stdout.splitlines()[0]
    assert proof in (f"chain: {A} – {B} – {C}", f"chain: {C} – {B} – {A}")
    assert done.stdout.count("set aside") == 1
    _call(root, "retract", wrong)
    assert _call(root, "conflicts").exit_code == 0


def _read(work: Workspace) -> dict[str, list[object]]:
    folder = work.path("decisions")
    verify(folder)
    return {
        "decisions": list(read_table(folder, "decisions", Decision)),
        "effective": list(read_table(folder, "effective", Decision)),
        "contradictions": list(read_table(folder, "contradictions", Contradiction)),
        "events": list(read_table(folder, "events", IdentityEvent)),
        "reviews": list(read_table(folder, "reviews", Review)),
    }


def _fill(work: Workspace) -> None:
    old = decide("same", face_id=A, other_face_id=B, annotator="ann", decided_at=NOON)
    new = decide("different", face_id=A, other_face_id=B, annotator="bob", decided_at=NOON + timedelta(seconds=1))
    named = [
        decide("is", face_id=face, identity_id=f"person-{face}", annotator="ann", decided_at=NOON) for face in (C, D)
    ]
    tie = decide("same", face_id=C, other_face_id=D, annotator="ann", decided_at=NOON)
    merge = identity_event(
        "merge", identity_id=f"person-{C}", other_identity_id=f"person-{D}", face_ids=(D,), annotator="ann",
        happened_at=NOON,
    )  # fmt: skip
    review = Review(
        face_id=A, identity_id=f"person-{C}", confidence=0.5, run_id="r", is_right=True, annotator="a", reviewed_at=NOON
    )
    with_decision_log(work, lambda log: log.append([old, new, tie, *named]))
    with_identity_log(work, lambda log: (log.append([merge]), log.append_reviews([review])))


def test_an_empty_log_is_an_artifact_with_empty_tables(root: Workspace) -> None:
    assert json.loads(_call(root, "export").stdout)["decisions"] == 0
    assert _read(root) == {"decisions": [], "effective": [], "contradictions": [], "events": [], "reviews": []}


def test_the_artifact_holds_the_logs_and_what_stands(root: Workspace) -> None:
    _fill(root)
    counts = export_decisions(root).counts
    tables = _read(root)
    assert {name: len(rows) for name, rows in tables.items()} == {
        "decisions": 5, "effective": 4, "contradictions": 1, "events": 1, "reviews": 1,
    }  # fmt: skip
    assert counts["decisions"] == sum(
        int(str(counts[what])) for what in ("effective", "retracts", "retracted", "superseded", "set_aside")
    )
    (dispute,) = tables["contradictions"]
    assert isinstance(dispute, Contradiction)
    assert (dispute.kind, dispute.face_ids) == ("pair", tuple(sorted((A, B))))  # the merged identities are one


def test_an_unchanged_log_is_not_written_again_and_a_changed_policy_is(root: Workspace, tmp_path: Path) -> None:
    _fill(root)
    first = export_decisions(root)
    stamp = (root.path("decisions") / "decisions.parquet").stat().st_mtime_ns
    assert export_decisions(root) == first
    assert (root.path("decisions") / "decisions.parquet").stat().st_mtime_ns == stamp
    other = open_root(root.root, tree_of(tmp_path / "source", "decisions.policy=adjudicate"))
    assert export_decisions(other).counts["effective"] == 3
    shutil.rmtree(root.path("decisions"))
    assert export_decisions(root) == first


def test_an_export_that_fails_leaves_the_published_one(root: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    _fill(root)
    before = export_decisions(root)
    _add(root, "ignore", A)

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(decision_tables, "write_table", fail)
        with pytest.raises(OSError, match="disk full"):
            export_decisions(root)
    assert read_manifest(root.path("decisions")) == before
    verify(root.path("decisions"))
    assert export_decisions(root).counts["decisions"] == 6


def _say_and_export_forever(work: Workspace) -> None:
    for second in count():
        said = decide("ignore", face_id=A, annotator="ann", decided_at=NOON + timedelta(seconds=second))
        with_decision_log(work, partial(_append, said))
        export_decisions(work)


def _append(said: Decision, log: DecisionLog) -> int:
    return log.append([said])


def test_an_export_killed_anywhere_loses_nothing_that_was_said_or_published(root: Workspace) -> None:
    said = 0
    for attempt in range(5):
        exporter = get_context("fork").Process(target=_say_and_export_forever, args=(root,))
        exporter.start()
        time.sleep(0.3 + 0.017 * attempt)
        exporter.kill()
        exporter.join()
        folder = root.path("decisions")
        assert attempt == 0 or folder.exists() or folder.with_name("decisions.old").exists()
        logged = with_decision_log(root, lambda log: len(list(log.all())))
        assert logged >= said
        said = logged
        assert export_decisions(root).counts["decisions"] == logged == len(_read(root)["decisions"])
    assert said > 0


def test_a_folder_of_somebody_else_is_never_replaced(root: Workspace) -> None:
    root.path("decisions").mkdir(parents=True)
    (root.path("decisions") / "thesis.txt").write_text("years of work")
    with pytest.raises(StageError, match="no artifact of ours"):
        export_decisions(root)
    assert (root.path("decisions") / "thesis.txt").read_text() == "years of work"


def test_exports_at_once_wait_for_one_another(root: Workspace) -> None:
    _fill(root)
    found = []
    threads = [threading.Thread(target=lambda: found.append(export_decisions(root))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert {manifest.digest for manifest in found} == {export_decisions(root).digest}


def test_a_wrong_policy_and_a_shared_folder_are_refused_before_work_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"decisions\.policy"):
        open_root(tmp_path, tree_of(tmp_path, "decisions.policy=loudest"))
    with pytest.raises(ConfigError, match="share a folder"):
        open_root(tmp_path / "r", tree_of(tmp_path / "source", "paths.decisions=faces"))
