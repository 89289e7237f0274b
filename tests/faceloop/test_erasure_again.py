"""A restore brings back who was erased: nothing runs until they are erased again, killed or not, by references."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.erasure import again, saga
from faceloop.erasure.again import erase_again, faces_back, objects_returned, returned, take_in
from faceloop.erasure.certificate import verify_certificate
from faceloop.erasure.planning import ERASURES, Plan
from faceloop.erasure.references import REFERENCES, read_papers
from faceloop.erasure.saga import begin, go_on, search_everywhere
from faceloop.runner import Workspace, run_stage
from facestore.backups import back_up
from facestore.errors import ConfigError, DataError, StageError
from facestore.refs import PEPPER
from facestore.rowpurge import rows_naming

from .erasing_world import MEANS, NOW, STEPS, copy_of, erase, identity_of, of_others, publish_people
from .mining_world import PHOTOS


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return publish_people(tmp_path_factory.mktemp("again"))


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return publish_people(tmp_path_factory.mktemp("again-encrypted"), is_encrypted=True)


@pytest.fixture(params=["plain", "encrypted"])
def published(request: pytest.FixtureRequest) -> Workspace:
    found: Workspace = request.getfixturevalue(request.param)
    return found


def restore(work: Workspace, published: Workspace, *, but_for: str = "") -> None:
    """Everything below the root and beside it as it was before the erasure; its certificates stay."""
    for path in work.root.iterdir():
        if path.name not in (ERASURES, but_for, ".pepper"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in published.root.iterdir():
        if path.name not in (but_for, ".pepper"):
            copy = shutil.copytree if path.is_dir() else shutil.copy2
            copy(path, work.root / path.name)
    shutil.rmtree(work.root.parent / "remote")
    shutil.copytree(published.root.parent / "remote", work.root.parent / "remote")


def erase_once_more(work: Workspace) -> None:
    papers, _ = take_in(work, [])
    list(erase_again(work, papers, MEANS, by="eve"))


def assert_gone(work: Workspace, plan: Plan) -> None:
    assert search_everywhere(work, plan, MEANS).held == ()
    assert rows_naming(work.ledger_url(), plan.ids) == {}
    assert {one.state for one in saga.status(work)} == {"done"}
    assert not list((work.root / ERASURES).glob("*/plan.json*"))


@pytest.fixture
def erased(published: Workspace, tmp_path: Path) -> Iterator[tuple[Workspace, Plan, dict[str, list[str]]]]:
    """A root, restored whole from before an erasure; the plan of that; what belongs to others."""
    work = copy_of(published, tmp_path)
    others = of_others(work)
    plan = erase(work)
    restore(work, published)
    assert search_everywhere(work, plan, MEANS).held, "the restore brings the person back"
    yield work, plan, others


def test_nothing_runs_on_a_catalogue_that_forgot_an_erasure(
    erased: tuple[Workspace, Plan, dict[str, list[str]]],
) -> None:
    work, _, _ = erased
    with pytest.raises(StageError, match=r"1 erasures have a certificate .*faceloop erase again"):
        run_stage(work, "cluster")
    take_in(work, [])
    assert faces_back(work) == PHOTOS
    run_stage(work, "cluster")


def test_who_came_back_is_erased_again_and_others_stay(
    erased: tuple[Workspace, Plan, dict[str, list[str]]],
) -> None:
    work, plan, others = erased
    papers, unknown = take_in(work, [])
    assert unknown == [plan.erasure_id]
    assert [len(one.face_ids) for one in returned(work, papers)] == [PHOTOS]
    assert len(objects_returned(work)) == PHOTOS
    (done,) = erase_again(work, papers, MEANS, by="eve")
    assert done.erasure_id != plan.erasure_id
    assert_gone(work, plan)
    assert of_others(work) == others
    paper = json.loads((work.root / done.place).read_text(encoding="utf-8"))
    assert paper["found_by"] == {"how": "again", "again_of": plan.erasure_id}
    for erasure in (plan.erasure_id, done.erasure_id):
        assert verify_certificate(work, work.root / ERASURES / erasure / "certificate.json").holds
    papers, unknown = take_in(work, [])
    assert (unknown, returned(work, papers), objects_returned(work)) == ([], [], [])
    assert list(erase_again(work, papers, MEANS, by="eve")) == []


def test_restored_twice_and_erased_twice_each_has_its_certificate(
    erased: tuple[Workspace, Plan, dict[str, list[str]]], published: Workspace
) -> None:
    work, plan, others = erased
    erase_once_more(work)
    restore(work, published)
    erase_once_more(work)
    assert_gone(work, plan)
    assert of_others(work) == others
    assert len(read_papers(work.root / ERASURES)) == 3


@pytest.mark.parametrize("step", [*STEPS, "end"])
def test_killed_at_any_step_it_ends_clean(
    plain: Workspace, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = copy_of(plain, tmp_path)
    others = of_others(work)
    plan = erase(work)
    restore(work, plain)
    steps = saga._steps

    def killed(*given: object) -> Iterator[tuple[str, object]]:
        for name, do in steps(*given):  # type: ignore[arg-type]
            yield name, (_dies if name == step else do)

    with monkeypatch.context() as patch:
        if step == "end":
            patch.setattr(saga, "write_certificate", _dies)
        else:
            patch.setattr(saga, "_steps", killed)
        with pytest.raises(Killed):
            erase_once_more(work)
    erase_once_more(work)
    assert_gone(work, plan)
    assert of_others(work) == others
    assert len(read_papers(work.root / ERASURES)) == 2


def _dies(*_: object, **__: object) -> None:
    raise Killed


def test_without_the_references_the_person_stays(erased: tuple[Workspace, Plan, dict[str, list[str]]]) -> None:
    """The mutant: a restore that takes no references in."""
    work, plan, _ = erased
    list(erase_again(work, [], MEANS, by="eve"))
    assert search_everywhere(work, plan, MEANS).held


def test_files_alone_that_came_back_are_erased_by_name_too(plain: Workspace, tmp_path: Path) -> None:
    """The catalogue is not restored: it knows the erasure as done, and must not give its old certificate for it."""
    work = copy_of(plain, tmp_path)
    plan = erase(work)
    restore(work, plain, but_for="ledger.sqlite3")
    (work.root / "notes.txt").unlink()  # holds but a name, which no table tells any more
    anew = begin(work, identity_of(work, 1), by="eve", reason="person_asked", clock=lambda: NOW)
    assert anew.erasure_id != plan.erasure_id
    go_on(work, anew.erasure_id, MEANS)
    assert_gone(work, plan)


def test_objects_alone_that_came_back_go(plain: Workspace, tmp_path: Path) -> None:
    work = copy_of(plain, tmp_path)
    plan = erase(work)
    shutil.rmtree(work.root / "objects")
    shutil.copytree(plain.root / "objects", work.root / "objects")
    assert objects_returned(work) == list(plan.footage_ids)
    erase_once_more(work)
    assert_gone(work, plan)


@pytest.mark.parametrize("spoiled", ["certificate.json", REFERENCES, "missing", "pepper"])
def test_papers_that_are_not_as_they_were_written_are_refused(
    plain: Workspace, tmp_path: Path, spoiled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = copy_of(plain, tmp_path)
    plan = erase(work)
    restore(work, plain)
    home = work.root / ERASURES / plan.erasure_id
    if spoiled == "pepper":
        monkeypatch.setenv(PEPPER, "ab" * 32)
        with pytest.raises(ConfigError, match="another pepper"):
            take_in(work, [])
        return
    if spoiled == "missing":
        (home / REFERENCES).unlink()
    else:
        text = (home / spoiled).read_text(encoding="utf-8")
        (home / spoiled).write_text(text.replace('"erasure"', '"erasurf"', 1), encoding="utf-8")
    with pytest.raises(DataError, match=f"{plan.erasure_id}/certificate"):
        take_in(work, [])


def test_references_say_nothing_of_the_person(plain: Workspace, tmp_path: Path) -> None:
    work = copy_of(plain, tmp_path)
    plan = erase(work)
    said = (work.root / ERASURES / plan.erasure_id / REFERENCES).read_bytes()
    assert plan.search_for().found_in(said) == set()


def test_by_command_from_a_copy_of_the_certificates(plain: Workspace, tmp_path: Path) -> None:
    """The whole root is lost and restored; certificates were kept elsewhere."""
    work = copy_of(plain, tmp_path / "world")
    saved = tmp_path / "saved"
    back_up(work.ledger_url(), saved)
    plan = erase(work)
    shutil.move(work.root / ERASURES, tmp_path / "papers")
    restore(work, plain)
    for path in work.root.glob("ledger.sqlite3*"):
        path.unlink()
    words = ["--root", str(work.root), "-S", f"paths.source={tmp_path / 'world' / 'source'}"]
    runner = CliRunner()
    papers = ["--certificates", str(tmp_path / "papers")]
    done = runner.invoke(app, ["catalogue", "restore", str(saved), *papers, *words])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["erasures_since"], said["then"]) == (1, "faceloop erase again")
    status = runner.invoke(app, ["erase", "status", *words])
    assert json.loads(status.stdout.splitlines()[-1])["faces_back"] == PHOTOS
    refused = runner.invoke(app, ["erase", "again", *papers, *words], input="n\n")
    assert refused.exit_code != 0
    assert faces_back(work) == PHOTOS
    done = runner.invoke(app, ["erase", "again", "--yes", *papers, *words])
    assert done.exit_code == 0, done.output
    first, last = (json.loads(line) for line in done.stdout.splitlines())
    assert first == {"erasures": 1, "taken_in": 0, "people_back": 1, "faces_back": PHOTOS, "objects_back": PHOTOS}
    assert last["certificate"].startswith(ERASURES)
    assert_gone(work, plan)
    assert faces_back(work) == 0
    assert again.returned(work, take_in(work, [tmp_path / "papers"])[0]) == []
