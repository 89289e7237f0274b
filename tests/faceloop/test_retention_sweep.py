"""`faceloop retention sweep`: lists by default; applied it ends consents and hands over whom they concern, audited."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.facestore.consent_world import a_consent
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.decision_tables import read_logs
from faceloop.runner import Workspace
from facestore.auditlog import AuditLog
from facestore.consents import Consents
from facestore.ids import JsonValue
from facestore.records import Face
from facestore.tables import read_table

from .consented_footage import name_consents
from .mining_world import PERSON, PHOTOS, face_id, publish_world
from .runner_world import open_root

THEIRS = {face_id(1, photo) for photo in range(PHOTOS)}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Person 1 is seen under a consent of 2020 alone; of person 2 one photo is, the others stand under a new one.
    Person 3's footage names both: whose word ended, nobody can tell."""
    folder = tmp_path_factory.mktemp("retained")
    work = publish_world(folder / "root", folder / "source")
    named = dict.fromkeys(THEIRS, "old") | {face_id(2, photo): "new" for photo in range(1, PHOTOS)}
    name_consents(work, named | {face_id(2, 0): "old"} | {face_id(3, photo): "old;new" for photo in range(PHOTOS)})
    consents = Consents(work.ledger_url())
    consents.append([a_consent("old"), a_consent("new", said_at=datetime.now(UTC))])
    consents.close()
    return work


@pytest.fixture
def work(published: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(published.root, tmp_path / "root")
    (tmp_path / "params.yaml").write_text(json.dumps(published.tree), encoding="utf-8")
    return open_root(tmp_path / "root", published.tree)


def sweep(work: Workspace, *words: str) -> dict[str, JsonValue]:
    arguments = ["retention", "sweep", "--root", str(work.root), "--params", str(work.root.parent / "params.yaml")]
    done = CliRunner().invoke(app, [*arguments, *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, JsonValue] = json.loads(done.stdout.splitlines()[-1])
    return found


def states(work: Workspace) -> dict[str, str]:
    consents = Consents(work.ledger_url())
    found: dict[str, str] = {name: one.last.kind for name, one in consents.standings().items()}
    consents.close()
    return found


def audited(work: Workspace) -> list[tuple[str | None, dict[str, JsonValue]]]:
    log = AuditLog(work.ledger_url())
    found = [(entry.subject_ref, dict(entry.what)) for entry in log.entries() if entry.action == "retention_ended"]
    log.close()
    return found


def ignored(work: Workspace) -> set[str | None]:
    return {said.face_id for said in read_logs(work).decisions if said.verb == "ignore"}


def test_unless_told_to_it_only_lists(work: Workspace) -> None:
    assert sweep(work) == sweep(work, "--dry-run")
    assert sweep(work) == {"due": 1, "then": "restrict", "applied": False, "subjects": 1, "subjects_elsewhere": 1}
    assert states(work) == {"old": "given", "new": "given"}
    assert not ignored(work) and not audited(work)


def test_applied_it_restricts_whom_only_ended_consents_cover_and_says_so_once_in_the_audit_log(work: Workspace) -> None:
    done = sweep(work, "--apply")
    assert (done["withdrawn"], done["subjects"], done["faces"], done["subjects_elsewhere"]) == (1, 1, PHOTOS, 1)
    assert states(work) == {"old": "withdrawn", "new": "given"}
    assert ignored(work) == THEIRS
    (whose, ended), (_, handed) = audited(work)
    assert ended == {"consents_withdrawn": 1} and whose is not None
    assert handed == {"then": "restrict", "faces": PHOTOS}
    again = sweep(work, "--apply")
    assert (again["withdrawn"], again["subjects"], again["faces"]) == (0, 0, 0)
    assert len(audited(work)) == 2


def test_where_the_params_say_so_it_erases_them(work: Workspace) -> None:
    done = sweep(work, "--apply", "--set", "consent.after_retention=erase")
    assert (done["subjects"], done["faces"]) == (1, PHOTOS)
    assert {face.face_id for face in read_table(work.path("faces"), "faces", Face)} == set(PERSON) - THEIRS
    assert sweep(work, "--apply", "--set", "consent.after_retention=erase")["subjects"] == 0
