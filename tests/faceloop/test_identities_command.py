"""`faceloop identities`: what people see before they write, and what is there after."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from faceloop.cli import app
from faceloop.decision_tables import with_decision_log, with_identity_log
from faceloop.runner import Workspace
from facestore.decisions import Decision, IdentityEvent
from facestore.errors import DataError, StageError

from .identity_root import CLUSTERS, ID, NAME, identify, identities, labels, make_root, of_face, publish_clusters
from .runner_world import open_root, tree_of


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    found = make_root(tmp_path / "root")
    identify(found)
    return found


def _call(work: Workspace, *arguments: str) -> Result:
    done = CliRunner().invoke(app, ["identities", *arguments, "--root", str(work.root)])
    if done.exception is not None:
        raise done.exception
    return done


def _now(work: Workspace) -> dict[str, set[str]]:
    """Identity → its faces, as the commands show them."""
    listed = json.loads(_call(work, "list", "--json").stdout)
    shown = {row["identity_id"]: json.loads(_call(work, "show", row["identity_id"], "--json").stdout) for row in listed}
    return {name: {NAME[member["face_id"]] for member in row["members"]} for name, row in shown.items()}


def _decisions(work: Workspace) -> list[Decision]:
    return with_decision_log(work, lambda log: list(log.all()))


def _events(work: Workspace) -> list[IdentityEvent]:
    return with_identity_log(work, lambda log: list(log.all()))


def test_a_merge_is_only_shown_until_it_is_wanted(work: Workspace) -> None:
    anna, bert = of_face(work, "a1"), of_face(work, "b1")
    told = _call(work, "merge", anna, bert).stdout
    assert f"face {ID['b1']}: {bert} → {anna}" in told
    assert "3 faces move" in told
    assert "nothing written" in told
    assert "1 pictures show both" in told
    assert _decisions(work) == []
    assert _events(work) == []


def test_a_merge_shows_at_once_lasts_over_the_next_runs_and_an_undo_restores_everything(work: Workspace) -> None:
    anna, bert = of_face(work, "a1"), of_face(work, "b1")
    before, published = _now(work), labels(work)
    _call(work, "merge", anna, bert, "--yes", "--by", "ann")
    assert _now(work) == {anna: before[anna] | before[bert]}
    publish_clusters(work, {**CLUSTERS, "b1": 0, "b2": 0, "b3": 0})
    identify(work)
    assert labels(work)["b1"].state == "confirmed"
    assert (identities(work)[bert].is_active, identities(work)[bert].successor) == (False, anna)
    (merge,) = _events(work)
    _call(work, "undo", merge.event_id[:8], "--yes")
    assert _now(work) == before
    publish_clusters(work, CLUSTERS)
    identify(work)
    assert labels(work) == published
    assert len(_decisions(work)) == 2 * len(merge.decision_ids), "nothing is deleted: each has its retract"


def test_a_merge_ties_the_best_faces_and_those_that_one_picture_shows(work: Workspace) -> None:
    _call(work, "merge", of_face(work, "a1"), of_face(work, "b1"), "--yes")
    pairs = {frozenset((NAME[str(said.face_id)], NAME[str(said.other_face_id)])) for said in _decisions(work)}
    assert pairs == {frozenset(("a1", "b1")), frozenset(("a3", "b3"))}


def test_a_split_takes_whole_tracklets_and_mints_a_new_id_that_lasts(work: Workspace) -> None:
    bert = of_face(work, "b1")
    told = _call(work, "split", bert, ID["b1"][:8], "--yes").stdout
    assert "2 faces move" in told
    (new,) = set(_now(work)) - {bert, of_face(work, "a1")}
    assert _now(work)[new] == {"b1", "b2"}
    verbs = sorted(said.verb for said in _decisions(work))
    assert verbs == ["different", "is"]
    publish_clusters(work, {**CLUSTERS, "b1": 5, "b2": 5}, confidence=0.01)
    identify(work)
    assert of_face(work, "b1") == of_face(work, "b2") == new


def test_a_split_of_single_faces_takes_their_tracklet_apart(work: Workspace) -> None:
    bert = of_face(work, "b1")
    _call(work, "split", bert, ID["b1"], "--only-these", "--yes")
    assert _now(work)[bert] == {"b2", "b3"}
    (different,) = [said for said in _decisions(work) if said.verb == "different"]
    assert {different.face_id, different.other_face_id} == {ID["b1"], ID["b2"]}, "two persons in one tracklet"


def test_an_edit_that_a_standing_decision_speaks_against_is_refused_and_names_it(work: Workspace) -> None:
    anna, bert = of_face(work, "a1"), of_face(work, "b1")
    said = ["decisions", "add", "different", ID["a3"], ID["b2"], "--by", "bob", "--root", str(work.root)]
    assert CliRunner().invoke(app, said).exit_code == 0
    (different,) = _decisions(work)
    with pytest.raises(DataError, match=different.decision_id):
        _call(work, "merge", anna, bert, "--yes")
    together = ["decisions", "add", "same", ID["b1"], ID["b3"], "--by", "bob", "--root", str(work.root)]
    assert CliRunner().invoke(app, together).exit_code == 0
    with pytest.raises(DataError, match="bob said `same"):
        _call(work, "split", bert, ID["b1"], "--yes")
    assert _events(work) == []


def test_a_chain_of_decisions_over_another_identity_is_found_too(work: Workspace) -> None:
    for verb, first, second in (("same", "a1", "c1"), ("different", "b1", "c1")):
        said = ["decisions", "add", verb, ID[first], ID[second], "--by", "bob", "--root", str(work.root)]
        assert CliRunner().invoke(app, said).exit_code == 0
    with pytest.raises(DataError, match="by way of"):
        _call(work, "merge", of_face(work, "a1"), of_face(work, "b1"), "--yes")


def test_names_are_attributes_that_find_an_identity_and_can_be_undone(work: Workspace) -> None:
    anna = of_face(work, "a1")
    _call(work, "rename", anna[:14], "Anna Karlsson")
    assert json.loads(_call(work, "show", "Anna Karlsson", "--json").stdout)["identity_id"] == anna
    identify(work)
    assert identities(work)[anna].name == "Anna Karlsson"
    _call(work, "undo", _events(work)[0].event_id, "--yes")
    identify(work)
    assert identities(work)[anna].name is None


def test_the_history_tells_what_stands_and_what_was_undone(work: Workspace) -> None:
    anna, bert = of_face(work, "a1"), of_face(work, "b1")
    _call(work, "merge", anna, bert, "--yes", "--note", "same coat")
    _call(work, "undo", _events(work)[0].event_id, "--yes")
    told = _call(work, "history", bert).stdout
    assert "(undone)" in told
    assert "same coat" in told
    kinds = [row["kind"] for row in json.loads(_call(work, "history", "--json").stdout)]
    assert kinds == ["merge", "undo"]
    with pytest.raises(DataError, match="undone already"):
        _call(work, "undo", _events(work)[0].event_id, "--yes")


def test_a_retired_identity_is_shown_with_its_successor_and_cannot_be_merged_again(work: Workspace) -> None:
    anna, bert = of_face(work, "a1"), of_face(work, "b1")
    _call(work, "merge", anna, bert, "--yes")
    retired = json.loads(_call(work, "list", "--json", "--retired").stdout)[-1]
    assert (retired["identity_id"], retired["state"], retired["successor"]) == (bert, "retired", anna)
    with pytest.raises(DataError, match="is retired"):
        _call(work, "merge", anna, bert)


def test_ids_that_fit_nothing_or_too_much_are_refused(work: Workspace) -> None:
    with pytest.raises(DataError, match="no single identity 'person-'"):
        _call(work, "show", "person-")
    with pytest.raises(DataError, match="no face"):
        _call(work, "split", of_face(work, "a1"), "0" * 32)
    with pytest.raises(DataError, match="is not in"):
        _call(work, "split", of_face(work, "a1"), ID["b1"])
    with pytest.raises(DataError, match="faces that leave and faces that stay"):
        _call(work, "split", of_face(work, "a1"), *(ID[name] for name in ("a1", "a2", "a3")))


def test_before_identify_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    work = open_root(tmp_path / "empty", tree_of(tmp_path / "source"))
    with pytest.raises(StageError, match="run the flow"):
        _call(work, "list")
