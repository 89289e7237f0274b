"""Whose consent ended, or who was restricted, no gallery in use answers with: at once, also when killed."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.facestore.consent_world import a_consent
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.consent import denying
from faceloop.export.gallery import Gallery
from faceloop.export.gallery_denials import DENIED, deny
from faceloop.export.gallery_shelf import GALLERIES, history_of
from faceloop.promotion.galleries import GalleryRequest, publish_gallery
from faceloop.runner import Workspace
from facestore.consents import Consents
from facestore.errors import DataError
from facestore.ids import JsonValue
from facestore.records import Assignment
from facestore.tables import read_table

from .consented_footage import name_consents
from .contract_world import CONTRACT, its_dimension, under_contract
from .mining_world import PHOTOS, axis, face_id, publish_world
from .runner_world import open_root

PROPOSED = GalleryRequest(states=["confirmed", "proposed"], templates=3)
ENDS = datetime(2099, 1, 1, tzinfo=UTC)


class Killed(BaseException):
    """As SIGKILL would end it: nobody catches it."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Four people, a gallery of all. Person 1's footage names c-1, person 2's c-2, which runs out in 2099."""
    folder = tmp_path_factory.mktemp("denials")
    work = under_contract(lambda: publish_world(folder / "root", folder / "source"))
    named = {face_id(1, photo): "c-1" for photo in range(PHOTOS)}
    name_consents(work, named | {face_id(2, photo): "c-2" for photo in range(PHOTOS)})
    consents = Consents(work.ledger_url())
    consents.append([a_consent("c-1"), a_consent("c-2", expires_at=ENDS)])
    consents.close()
    publish_gallery(work, PROPOSED)
    return work


@pytest.fixture
def work(published: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(published.root, tmp_path / "root")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(published.tree), encoding="utf-8")
    return open_root(tmp_path / "root", published.tree)


class Clock:
    """What a consumer takes for now."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gallery(work: Workspace, clock: Clock) -> Gallery:
    """Opened once, before anybody withdraws, as by a long-running consumer."""
    return Gallery(work.root / GALLERIES / history_of(work.root)[-1], clock=clock)


@pytest.fixture
def people(work: Workspace) -> Iterator[list[str]]:
    rows = {row.face_id: row for row in read_table(work.path("assignments"), "assignments", Assignment)}
    yield [str(rows[face_id(person, 0)].identity_id) for person in range(4)]


def answers(gallery: Gallery, people: int = 4) -> list[list[str]]:
    """For the axis of each of the four persons, who is answered, best first."""
    with its_dimension():
        queries = np.stack([axis(person) for person in range(4)]).astype(np.float32)
    found = gallery.search(queries, contract_id=CONTRACT.contract_id, people=people)
    return [[match.identity_id for match in matches] for matches in found]


def known(gallery: Gallery) -> set[str]:
    return {who for some in answers(gallery) for who in some}


def call(work: Workspace, *words: str) -> list[dict[str, JsonValue]]:
    arguments = [*words, "--root", str(work.root), "--params", str(work.root.parent / "params.yaml")]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_an_open_gallery_answers_no_more_with_who_withdrew_and_with_everybody_else_as_before(
    work: Workspace, gallery: Gallery, people: list[str]
) -> None:
    before = answers(gallery)
    assert known(gallery) == set(people)
    call(work, "consent", "withdraw", "c-1")
    assert answers(gallery) == [[who for who in some if who != people[1]] for some in before]
    assert [len(some) for some in answers(gallery, people=3)] == [3] * 4, "others move up"
    opened_since = Gallery(work.root / GALLERIES / history_of(work.root)[-1])
    assert known(opened_since) == set(people) - {people[1]}


def test_whoever_is_killed_before_the_withdrawal_is_recorded_leaves_the_person_out(
    work: Workspace, gallery: Gallery, people: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> tuple[str, ...]:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Consents, "withdraw", killed)
        with pytest.raises(Killed):
            call(work, "consent", "withdraw", "c-1")
    assert known(gallery) == set(people) - {people[1]}
    call(work, "consent", "withdraw", "c-1")
    assert known(gallery) == set(people) - {people[1]}


def test_the_mutant_that_denies_nothing_is_caught(
    work: Workspace, gallery: Gallery, people: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(denying, "deny", lambda *_, **__: None)
    call(work, "consent", "withdraw", "c-1")
    assert people[1] in known(gallery)


def test_a_consent_that_runs_out_ends_the_answers_by_the_clock_and_no_command_runs(
    gallery: Gallery, people: list[str], clock: Clock
) -> None:
    clock.at = ENDS - timedelta(seconds=1)
    assert known(gallery) == set(people)
    clock.at = ENDS
    assert known(gallery) == set(people) - {people[2]}


def test_a_consent_given_anew_is_answered_again(work: Workspace, gallery: Gallery, people: list[str]) -> None:
    call(work, "consent", "withdraw", "c-1")
    assert people[1] not in known(gallery)
    consents = Consents(work.ledger_url())
    standing = consents.standings(["c-1"])["c-1"].last
    consents.append([a_consent("c-1", said_at=datetime.now(UTC), subject_ref=standing.subject_ref)])
    denying.settle(work, consents.standings(["c-1"]), consents.now(), lifts=True)
    consents.close()
    assert known(gallery) == set(people)


def test_a_consent_that_is_narrowed_to_other_purposes_ends_the_answers(
    work: Workspace, gallery: Gallery, people: list[str]
) -> None:
    consents = Consents(work.ledger_url())
    consents.append([a_consent("c-1", ("training",), said_at=datetime.now(UTC))])
    denying.settle(work, consents.standings(["c-1"]), consents.now(), lifts=True)
    consents.close()
    assert known(gallery) == set(people) - {people[1]}


def test_the_sweep_of_retention_ends_the_answers(work: Workspace, gallery: Gallery, people: list[str]) -> None:
    call(work, "retention", "sweep", "--apply")  # both were given in 2020
    assert known(gallery) == {people[0], people[3]}


def test_who_is_restricted_is_answered_no_more_until_that_is_lifted(
    work: Workspace, gallery: Gallery, people: list[str]
) -> None:
    call(work, "restrict", "apply", people[0], "--reason", "person_asked")
    assert known(gallery) == set(people) - {people[0]}
    call(work, "restrict", "lift", people[0])
    assert known(gallery) == set(people)


def test_a_gallery_published_since_answers_with_what_is_left_of_a_person(
    work: Workspace, gallery: Gallery, people: list[str]
) -> None:
    name_consents(work, {face_id(1, 0): "c-1"})  # one photo of person 1 only
    call(work, "consent", "withdraw", "c-1")
    assert people[1] not in known(gallery)
    publish_gallery(work, PROPOSED)
    assert people[1] in known(Gallery(work.root / GALLERIES / history_of(work.root)[-1]))


def test_no_face_stands_in_a_denial_by_its_id(work: Workspace) -> None:
    call(work, "consent", "withdraw", "c-1")
    written = b"".join(path.read_bytes() for path in (work.root / GALLERIES / DENIED).iterdir())
    assert written and not [photo for photo in range(PHOTOS) if face_id(1, photo).encode() in written]


def test_a_denial_that_cannot_be_read_silences_the_gallery(work: Workspace, gallery: Gallery) -> None:
    deny(work.root / GALLERIES, "consent c-1", [face_id(1, 0)])
    (path,) = [one for one in (work.root / GALLERIES / DENIED).iterdir() if "2099" not in one.read_text()]
    path.with_suffix(".other").write_text("{", encoding="utf-8")
    path.with_suffix(".other").replace(path)
    with pytest.raises(DataError, match="is no denial"):
        answers(gallery)


def test_a_withdrawal_names_what_holds_the_person_and_what_becomes_of_it(work: Workspace, gallery: Gallery) -> None:
    older = history_of(work.root)[-1]
    publish_gallery(work, PROPOSED.model_copy(update={"templates": 1}))
    newer = history_of(work.root)[-1]
    *held, last = call(work, "consent", "withdraw", "c-1")
    assert last == {"withdrawn": ["c-1"]}
    then = {one["place"]: one["then"] for one in held if one["kind"] == "gallery"}
    assert then == {
        f"galleries/{newer}": "faceloop gallery publish leaves them out",
        f"galleries/{older}": f"rm -r galleries/{older}, here and at consumers",
    }
    *again, said = call(work, "consent", "status", "c-1")
    assert again == held and said == {"consent_id": "c-1", "state": "withdrawn", "holders": len(held)}
    shutil.rmtree(work.root / GALLERIES / older)
    publish_gallery(work, PROPOSED)
    assert f"galleries/{older}" not in {one["place"] for one in call(work, "consent", "status", "c-1")[:-1]}


def test_what_consents_withhold_is_a_file_for_dvc_that_changes_with_them_and_else_never(work: Workspace) -> None:
    assert call(work, "consent", "export") == [{"state": "written"}]
    path = work.root / "consents.json"
    before = path.read_bytes()
    assert call(work, "consent", "export") == [{"state": "unchanged"}]
    call(work, "consent", "withdraw", "c-1")
    after = path.read_bytes()
    assert after != before and b"c-1" not in after
    assert call(work, "consent", "export") == [{"state": "unchanged"}]
