"""Bar B15 at other programs: a real Label Studio and a real DVC hold nothing of an erased person. FACELOOP_LONG=1."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.chaos.erasure_desk import Desk
from tests.chaos.erasure_judge import own_needles
from tests.chaos.erasure_stores import TRACKED, dvc, tracked_by_dvc
from tests.faceloop.erasing_world import (
    MEANS,
    assert_clean,
    copy_of,
    of_others,
    publish_people,
    start,
)

from faceloop.erasure.labelling import DATABASE
from faceloop.erasure.needles import search
from faceloop.erasure.saga import go_on
from faceloop.runner import Workspace
from facereview.labelstudio.local import RunningServer
from facereview.labelstudio.uploads import UploadingServer
from facestore.errors import ErasureIncomplete

IS_LONG = os.environ.get("FACELOOP_LONG") == "1"
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not IS_LONG, reason="servers and programs of others: FACELOOP_LONG=1"),
]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return publish_people(tmp_path_factory.mktemp("plain"))


@pytest.fixture
def desk(plain: Workspace, label_studio: RunningServer, tmp_path: Path) -> Iterator[Desk]:
    opened = Desk(copy_of(plain, tmp_path), label_studio)
    yield opened
    opened.close()


def test_a_real_label_studio_holds_nothing_of_the_person_in_database_media_and_pictures(desk: Desk) -> None:
    judge, others, before = own_needles(desk.work), desk.of_others(), of_others(desk.work)
    held = search([desk.folder], judge).held
    assert any(name.endswith(DATABASE) for name in held)
    assert any("/media/upload/" in name for name in held)
    assert any("/pictures/" in name for name in held)
    assert len(others) > 0
    plan = start(desk.work)
    assert len(plan.tasks) > 0
    done = desk.go_on(plan)
    assert_clean(desk.work, plan)
    assert search([desk.folder, desk.work.root], judge).held == ()
    assert desk.of_others() == others
    assert of_others(desk.work) == before
    steps = json.loads((desk.work.root / done.place).read_text())["steps"]
    assert steps["labelling"]["tasks"] == steps["labelling"]["uploads"] == len(plan.tasks)


@pytest.mark.parametrize("mutant", ["tasks stay", "media stays"])
def test_a_label_studio_cleared_by_halves_is_never_certified(
    mutant: str, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: Label Studio keeps the file of an upload that its API deleted. (Its free pages: test_rowpurge.)"""
    if mutant == "tasks stay":
        monkeypatch.setattr(UploadingServer, "delete_task", lambda self, task_id: None)
    else:
        monkeypatch.setattr("faceloop.erasure.labelling._clear_folder", lambda folder, plan: 0)
    plan = start(desk.work)
    with pytest.raises(ErasureIncomplete):
        desk.go_on(plan)
    monkeypatch.undo()
    desk.go_on(plan)
    assert search([desk.folder], plan.search_for()).held == ()


@pytest.fixture
def tracked(plain: Workspace, tmp_path: Path) -> Workspace:
    """The world in a project of DVC: every artifact added, and pushed to a remote that is a folder."""
    work = copy_of(plain, tmp_path)
    tracked_by_dvc(tmp_path, TRACKED)
    return work


def test_cache_and_remote_of_a_real_dvc_hold_nothing_of_the_person(tracked: Workspace, tmp_path: Path) -> None:
    judge, before = own_needles(tracked), of_others(tracked)
    places = [tmp_path / ".dvc", tmp_path / "remote", tmp_path / "site", *tmp_path.glob("root/*.dvc")]
    assert {Path(name).relative_to(tmp_path).parts[0] for name in search(places, judge).held} == {
        ".dvc",
        "remote",
        "site",
    }
    plan = start(tracked)
    go_on(tracked, plan.erasure_id, MEANS)
    assert_clean(tracked, plan)
    assert search([tmp_path], judge, but_for=[tmp_path / "source"]).held == ()
    assert of_others(tracked) == before
    dvc(tmp_path, "add", *(f"root/{name}" for name in TRACKED))
    dvc(tmp_path, "push")  # what is there now is kept again, and it is clean
    assert search(places, judge).held == ()


def test_after_deleting_files_alone_a_real_dvc_keeps_them(tracked: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faceloop.erasure.saga.clear_copies", lambda needles, places: {})
    plan = start(tracked)
    with pytest.raises(ErasureIncomplete):
        go_on(tracked, plan.erasure_id, MEANS)


def test_a_gigabyte_is_searched_and_one_needle_in_it_is_found(
    tmp_path: Path, plain: Workspace, record_property: Callable[[str, object], None]
) -> None:
    needles = start(copy_of(plain, tmp_path / "world")).search_for()
    chance = np.random.default_rng(1)
    folder = tmp_path / "gigabyte"
    folder.mkdir()
    for number in range(16):
        (folder / f"{number}.bin").write_bytes(chance.bytes(64 << 20))
    begun = time.perf_counter()
    found = search([folder], needles)
    took_s = time.perf_counter() - begun
    assert (found.size_bytes, found.held) == (1 << 30, ())
    with (folder / "7.bin").open("r+b") as file:
        file.seek((31 << 20) - 5)
        file.write(max(needles.needles, key=len))
    assert [Path(name).name for name in search([folder], needles).held] == ["7.bin"]
    record_property("figures", {"needles": len(needles.needles), "seconds": round(took_s, 1)})
