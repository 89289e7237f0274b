"""`faceloop blame FACE`: the chain from a label to the word, run, model and picture it rests on."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.decision_tables import with_identity_log
from faceloop.runner import Workspace
from facestore.errors import DataError
from facestore.publish import read_manifest

from .identity_root import CLUSTERS, ID, identify, make_root, of_face, publish_clusters


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    found = make_root(tmp_path / "root")
    identify(found)
    return found


def _blame(work: Workspace, face: str, *options: str) -> str:
    done = CliRunner().invoke(app, ["blame", face, *options, "--root", str(work.root)])
    if done.exception is not None:
        raise done.exception
    return done.stdout


def _told(work: Workspace, face: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_blame(work, ID[face], "--json"))
    return found


def _say(work: Workspace, *words: str) -> None:
    said = CliRunner().invoke(app, ["decisions", "add", *words, "--by", "ann", "--root", str(work.root)])
    assert said.exit_code == 0, said.output


def test_a_label_of_the_machine_names_cluster_run_model_and_footage(work: Workspace) -> None:
    told = _told(work, "a1")
    assert told["decision"] is None
    assert (told["cluster"]["cluster_id"], told["mates"]) == (0, 2)
    assert told["contract_id"] == "sface-1"
    assert (told["footage"]["uri"], told["face"]["pts_ms"]) == ("gate/walk.mp4", 0)
    manifest = read_manifest(work.path("assignments"))
    assert manifest is not None
    assert dict(told["run_keys"])["assignments"] == manifest.run_key
    tree = _blame(work, ID["a1"][:8])
    for part in ("the machine's own label", "sface-1", "gate/walk.mp4 at 0.00 s", "tracklet ta", manifest.run_key[:12]):
        assert part in tree


def test_a_label_that_rests_on_a_word_names_who_said_what_when_and_how_it_came_here(work: Workspace) -> None:
    _say(work, "is", ID["a1"], "--identity", of_face(work, "a1"), "--note", "her badge")
    identify(work)
    told = _told(work, "a2")
    assert (told["label"]["via"], told["label"]["source"]) == ("tracklet", "propagated")
    assert (told["decision"]["annotator"], told["spoken_faces"]) == ("ann", [ID["a1"]])
    tree = _blame(work, ID["a2"])
    assert "people spoke of a face of the same tracklet" in tree
    assert "by ann" in tree
    assert "her badge" in tree


def test_an_edit_shows_at_once_with_the_event_that_moved_the_face(work: Workspace) -> None:
    anna, bert = of_face(work, "a1"), of_face(work, "b1")
    merge = ["identities", "merge", anna, bert, "--yes", "--by", "ann", "--root", str(work.root)]
    assert CliRunner().invoke(app, merge).exit_code == 0
    (event,) = with_identity_log(work, lambda log: list(log.all()))
    told = _told(work, "b2")
    assert told["identity_id"] == anna
    assert [moved["event_id"] for moved in told["events"]] == [event.event_id]
    assert f"event {event.event_id[:12]}: merge by ann" in _blame(work, ID["b2"])


def test_a_face_without_a_label_says_so(work: Workspace) -> None:
    publish_clusters(work, {name: cluster for name, cluster in CLUSTERS.items() if name != "c1"})
    identify(work)
    with pytest.raises(DataError, match="has no label"):
        _blame(work, ID["c1"])
