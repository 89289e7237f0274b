"""What an erasure says of models, and how it looks for names: lineage by digests, spellings, namesakes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from faceloop.decision_tables import with_identity_log
from faceloop.erasure import certificate
from faceloop.erasure.needles import Needles, name_forms, search
from faceloop.erasure.planning import plan_path
from faceloop.runner import Workspace
from facestore.decisions import identity_event
from facestore.models import Model, Models, ModelTurn
from facestore.publish import read_manifest, write_manifest
from facestore.records import ReleaseSample
from facestore.tables import read_table, write_table

from .erasing_world import NAME, NOW, copy_of, erase, identity_of, publish_people, start
from .mining_world import face_id


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return publish_people(tmp_path_factory.mktemp("lineage"))


@pytest.fixture
def work(published: Workspace, tmp_path: Path) -> Workspace:
    return copy_of(published, tmp_path)


def test_the_certificate_lists_models_of_releases_that_held_the_person_and_no_others(
    work: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = work.root / "releases" / "other"
    other.mkdir()
    row = next(iter(read_table(work.root / "release", "samples", ReleaseSample)))
    stranger = replace(row, face_id=face_id(0, 0))
    write_table(other / "samples.parquet", ReleaseSample, [stranger])
    innocent = write_manifest(other, stage="pack", run_key="r", counts={}, inputs={}).digest
    held = read_manifest(work.root / "release")
    assert held is not None
    models = Models(work.ledger_url())
    for model, release in (("held", held.digest), ("held-too", held.digest), ("lost", "gone"), ("innocent", innocent)):
        models.register(
            Model(model_id=model, release=release, contract_id="c", folder=f"models/{model}", revision=None, params={})
        )
    promoted = models.promote("held", by="eve", evaluation="e", figures={})
    models.roll_back(by="eve", why="it has no pack here", model_id="held")
    models.close()

    class InUse(Models):
        def current(self) -> ModelTurn:
            return promoted

    monkeypatch.setattr(certificate, "Models", InUse)
    erased = erase(work)
    paper = json.loads((plan_path(work.root, erased.erasure_id).parent / "certificate.json").read_text())
    assert paper["models"] == [
        {"model": "held", "policy": "retrain"},
        {"model": "held-too", "policy": "retire"},
        {"model": "lost", "policy": "retire"},
    ]


def test_a_name_is_found_as_files_write_it_and_a_short_one_only_where_it_is_said_to_be_a_name(tmp_path: Path) -> None:
    long, short = Needles(name_forms("Zoë Quill")), Needles(name_forms("Ann"))
    writings = ["Zoë Quill".encode(), "Zoë Quill".encode("utf-16"), json.dumps({"a": "Zoë Quill"}).encode()]
    for number, payload in enumerate(writings):
        (tmp_path / str(number)).write_bytes(b"\0" * 4_999 + payload)
    assert len(search([tmp_path], long).held) == len(writings)
    assert short.found_in(b'{"id": 1, "name": "Ann"}')
    assert short.found_in(b'{"name":"Ann"}')
    assert not short.found_in(b"Annotations of Anna and her Annals")


def test_a_name_that_others_bear_too_is_no_needle(work: Workspace) -> None:
    namesake = identity_event(
        "rename", identity_id=identity_of(work, 2), name=f"{NAME} the Younger", annotator="eve", happened_at=NOW
    )
    with_identity_log(work, lambda log: log.append([namesake], []))
    plan = start(work)
    assert not [needle for needle in plan.search_for().needles if NAME.encode() in needle]
