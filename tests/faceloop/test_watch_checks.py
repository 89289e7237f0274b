"""Data-quality checks: all pass on a sound root; each thing that is spoilt fails the check of its name, and only it."""

from contextlib import closing
from pathlib import Path

import pytest

from faceloop.runner import Workspace
from faceloop.watch.checks import Check, check_all, complain, passed_figures
from facestore import tables
from facestore.errors import StageError
from facestore.measurements import Measurements
from facestore.records import Assignment, Face, FaceEmbedding, Identity, Reading

from . import watch_world
from .runner_world import open_root
from .watch_world import IDS, Tables, put, value, watched_root

SOUND = ("loop.checks.largest_identity_share=0.7",)


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    return watched_root(tmp_path / "root", *SOUND)


def checked(work: Workspace) -> list[Check]:
    with closing(Measurements(work.ledger_url())) as log:
        return check_all(work, log)


def failed(work: Workspace) -> list[str]:
    return [check.name for check in checked(work) if check.state == "failed"]


def put_faces(work: Workspace, faces: list[Face], readings: int = 2) -> None:
    rows = [watch_world.reading(number) for number in range(readings)]
    tables: Tables = {"faces": (Face, faces), "readings": (Reading, rows)}
    put(work, "faces", tables, rejected=1)


def put_vectors(work: Workspace, vectors: list[FaceEmbedding], published: int = 6) -> None:
    counts = {"in": published, "published": published}
    put(work, "embeddings", {"faces": (FaceEmbedding, vectors)}, text=watch_world.CONTRACT, counts=counts)


def put_labels(work: Workspace, labels: list[Assignment], sizes: tuple[int, ...] = (3, 2)) -> None:
    tables: Tables = {"assignments": (Assignment, labels), "identities": (Identity, watch_world.identities(sizes))}
    put(work, "assignments", tables, pending=1)


def test_a_sound_root_passes_and_what_is_not_there_is_not_judged(work: Workspace, tmp_path: Path) -> None:
    states = {check.name: check.state for check in checked(work)}
    assert "failed" not in states.values()
    assert states["items_lost:detect"] == states["vectors_not_unit"] == states["labels_of_unknown_faces"] == "passed"
    assert states["items_lost:pack"] == states["rejected_share:cluster"] == states["samples_miscounted"] == "not_yet"
    empty = checked(open_root(tmp_path / "empty", work.tree))
    assert {check.state for check in empty} == {"not_yet"}
    assert [check.name for check in empty] == sorted(states)


def test_items_that_vanished_are_missed(work: Workspace) -> None:
    tables: Tables = {
        "assignments": (Assignment, watch_world.labels()),
        "identities": (Identity, watch_world.identities()),
    }
    put(work, "assignments", tables, counts={"in": 8, "published": 5, "pending": {"singleton": 1}})
    assert failed(work) == ["items_lost:identify"]


def test_a_stage_that_rejects_nearly_all_is_named_with_its_worst_reason(work: Workspace) -> None:
    tables: Tables = {
        "faces": (Face, watch_world.faces()),
        "readings": (Reading, [watch_world.reading(n) for n in range(2)]),
    }
    put(work, "faces", tables, counts={"in": 100, "published": 6, "rejected": {"low_score": 90, "too_small": 4}})
    (check,) = [check for check in checked(work) if check.state == "failed"]
    assert (check.name, check.figure, check.limit) == ("rejected_share:detect", 0.94, 0.9)
    assert "low_score" in check.what_to_do


def test_footage_that_nobody_read_is_missed(work: Workspace) -> None:
    put_faces(work, watch_world.faces(), readings=1)
    assert failed(work) == ["footage_without_reading"]


def test_crops_that_were_not_embedded_are_missed(work: Workspace) -> None:
    put_vectors(work, watch_world.vectors(count=5), published=5)
    assert failed(work) == ["crops_not_embedded"]


def test_embeddings_that_were_counted_and_are_not_there_are_missed(work: Workspace) -> None:
    put_vectors(work, watch_world.vectors(count=5), published=6)
    assert failed(work) == ["embeddings_miscounted"]


def test_a_face_id_that_comes_twice_is_seen(work: Workspace) -> None:
    put_faces(work, watch_world.faces(ids=[*IDS[:5], IDS[0]]))
    assert failed(work) == ["face_ids_repeated"]


def test_a_label_that_comes_twice_and_one_of_an_unknown_face_are_seen(work: Workspace) -> None:
    put_labels(work, watch_world.labels(ids=[*IDS[:5], IDS[0]]))
    assert failed(work) == ["labels_repeated"]
    put_labels(work, watch_world.labels(ids=[*IDS[:5], "0" * 32]))
    assert failed(work) == ["labels_of_unknown_faces"]


def test_labels_of_earlier_faces_are_not_judged_against_new_ones(work: Workspace) -> None:
    put_faces(work, watch_world.faces(ids=[name[::-1] for name in IDS]))
    found = {check.name: check.state for check in checked(work)}
    assert found["labels_of_unknown_faces"] == found["crops_not_embedded"] == "not_yet"


def test_vectors_that_no_recogniser_may_give_are_seen(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written by another version: ours refuses to write them."""
    monkeypatch.setattr(tables, "check_vectors", lambda vectors, where: None)
    put_vectors(work, watch_world.vectors(factor=1.5))
    assert failed(work) == ["vectors_not_unit"]
    put_vectors(work, watch_world.vectors(factor=float("nan")))
    assert failed(work) == ["vectors_not_finite"]


def test_drift_fails_against_what_was_checked_first(work: Workspace) -> None:
    assert failed(work) == []
    put_faces(work, watch_world.faces(quality=0.15))
    put_vectors(work, watch_world.vectors(turned=6))
    assert failed(work) == ["embedding_drift", "quality_drift"]


def test_one_identity_that_has_nearly_all_faces_fails(work: Workspace) -> None:
    put_labels(work, watch_world.labels(), sizes=(8, 1))
    assert failed(work) == ["largest_identity_share"]


def test_the_complaint_names_figure_limit_and_what_to_do(work: Workspace) -> None:
    put_labels(work, watch_world.labels(), sizes=(8, 1))
    checks = checked(work)
    with pytest.raises(StageError, match=r"1 of \d+ .*largest_identity_share is 0.888889, at most 0.7 passes: see who"):
        complain(checks)
    complain([check for check in checks if check.state != "failed"])
    figures = passed_figures(checks)
    assert value(figures, "check_passed", check="largest_identity_share") == 0
    assert value(figures, "check_passed", check="items_lost:detect") == 1
    assert value(figures, "check_figure", check="largest_identity_share") == pytest.approx(8 / 9)
    assert not any(dict(one.labels)["check"] == "items_lost:pack" for one in figures)
