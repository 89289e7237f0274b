"""The cluster stage on small worlds: what people said holds, nothing is lost, a second run looks at what is new."""

from pathlib import Path

import pytest

from facestore.decisions import Decision, Verb, decide
from facestore.errors import ConfigError, ContractMismatch

from .cluster_world import NOW, ClusterWorld, Spot, other_opinion


def _said(verb: Verb, face: str, other: str | None = None) -> Decision:
    return decide(verb, annotator="ann", decided_at=NOW, face_id=face, other_face_id=other)


def _photos(*axes: int) -> list[Spot]:
    """One photo a face, named f0, f1, …"""
    return [Spot(name=f"f{n}", tracklet=f"t{n}", axis=axis, pts_ms=0, footage=f"p{n}") for n, axis in enumerate(axes)]


def _together(world: ClusterWorld) -> set[str]:
    return {"".join(sorted(group)) for group in world.partition()}


def test_templates_of_two_embedding_contracts_are_refused(tmp_path: Path) -> None:
    spots = [*_photos(0), Spot(name="g", tracklet="u", axis=0, pts_ms=0, contract="old-contract")]
    with pytest.raises(ContractMismatch, match="old-contract"):
        ClusterWorld(tmp_path, spots).run()


def test_an_unknown_contract_needs_a_calibration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="faceloop calibrate"):
        ClusterWorld(tmp_path, _photos(0, 0), overrides=["cluster.calibration=null"]).run()


def test_no_face_at_all_is_no_error(tmp_path: Path) -> None:
    world = ClusterWorld(tmp_path)
    assert world.run().items_in == 0
    assert world.rows() == {}


def test_alike_faces_are_one_cluster_and_others_are_not(tmp_path: Path) -> None:
    world = ClusterWorld(tmp_path, _photos(0, 0, 1))
    report = world.run()
    assert _together(world) == {"f0f1", "f2"}
    assert [world.rows()[name].status for name in ("f0", "f2")] == ["clustered", "singleton"]
    assert report.items_in == report.published == 3


def test_faces_of_one_picture_stay_apart_unless_people_tie_them(tmp_path: Path) -> None:
    spots = [Spot(name=f"f{n}", tracklet=f"t{n}", axis=0, pts_ms=0) for n in range(2)]
    world = ClusterWorld(tmp_path, spots)
    world.run()
    assert _together(world) == {"f0", "f1"}
    world.decisions = [_said("same", "f0", "f1")]
    world.run()
    assert _together(world) == {"f0f1"}
    told = world.contradictions()
    assert [(found.kind, found.face_ids) for found in told] == [("geometry", ("f0", "f1"))]
    assert told[0].decision_ids == (world.decisions[0].decision_id,)


def test_one_same_unites_two_whole_clusters_and_is_told_to_be_against_the_vectors(tmp_path: Path) -> None:
    world = ClusterWorld(tmp_path, _photos(0, 0, 1, 1), decisions=[_said("same", "f0", "f2")])
    world.run()
    assert _together(world) == {"f0f1f2f3"}
    assert [found.decision_ids for found in world.contradictions()] == [(world.decisions[0].decision_id,)]


def test_one_different_splits_what_looks_alike(tmp_path: Path) -> None:
    world = ClusterWorld(tmp_path, _photos(0, 0), decisions=[_said("different", "f0", "f1")])
    world.run()
    assert _together(world) == {"f0", "f1"}


def test_a_tracklet_of_two_persons_is_taken_apart(tmp_path: Path) -> None:
    spots = [Spot(name=f"f{n}", tracklet="t", axis=n // 2, pts_ms=100 * n) for n in range(4)]
    world = ClusterWorld(tmp_path, spots, decisions=[_said("different", "f1", "f2")])
    world.run()
    assert _together(world) == {"f0f1", "f2f3"}


def test_what_is_no_face_or_shall_be_ignored_is_left_out_with_its_reason(tmp_path: Path) -> None:
    world = ClusterWorld(tmp_path, _photos(0, 0, 0), decisions=[_said("not_a_face", "f0"), _said("ignore", "f1")])
    report = world.run()
    assert [world.rows()[name].status for name in ("f0", "f1", "f2")] == ["not_a_face", "ignored", "singleton"]
    assert report.rejected == {"not_a_face": 1, "ignored": 1}
    assert report.items_in == 3


def test_a_hard_key_ties_faces_that_look_different_and_an_asking_one_is_proposed(tmp_path: Path) -> None:
    world = ClusterWorld(
        tmp_path, _photos(0, 1, 2), keys={"p0": ("badge=7",), "p1": ("badge=7", "owner=x"), "p2": ("owner=x",)}
    )
    world.overrides = ["cluster.keys={rules: [{kind: badge, strength: hard}, {kind: owner, strength: ask}]}"]
    world.run()
    assert _together(world) == {"f0f1", "f2"}
    assert {row.face_id for row in world.rows().values() if row.key_group == world.rows()["f0"].key_group} == {
        "f0",
        "f1",
    }
    assert [found.reason for found in world.proposals() if found.reason == "shared_key"] == ["shared_key"]


def test_a_second_run_clusters_only_what_is_new(tmp_path: Path) -> None:
    world = ClusterWorld(tmp_path, _photos(0, 0, 1, 1, 2, 2), overrides=["cluster.full_above_share=1.0"])
    assert world.run().figures["new_nodes"] == 6
    before = world.rows()
    world.spots = _photos(0, 0, 1, 1, 2, 2, 0)
    assert world.run().figures["new_nodes"] == 1
    assert _together(world) == {"f0f1f6", "f2f3", "f4f5"}
    assert world.rows()["f3"].cluster_id == before["f3"].cluster_id


def test_a_changed_template_is_clustered_anew(tmp_path: Path) -> None:
    world = ClusterWorld(tmp_path, _photos(0, 0, 1, 1), overrides=["cluster.full_above_share=1.0"])
    world.run()
    world.spots = _photos(0, 1, 1, 1)
    world.run()
    assert _together(world) == {"f0", "f1f2f3"}


def test_a_changed_number_clusters_everything_anew(tmp_path: Path) -> None:
    world = ClusterWorld(tmp_path, _photos(0, 0, 1), overrides=["cluster.full_above_share=1.0"])
    world.run()
    world.overrides = ["cluster.full_above_share=1.0", "cluster.across_sigmas=5.0"]
    assert world.run().figures["new_nodes"] == 3


def test_a_retracted_word_is_forgotten_by_the_next_run(tmp_path: Path) -> None:
    world = ClusterWorld(tmp_path, _photos(0, 0, 1, 1), overrides=["cluster.full_above_share=1.0"])
    world.decisions = [_said("same", "f0", "f2"), _said("different", "f0", "f1")]
    world.run()
    assert _together(world) == {"f0f2f3", "f1"}
    world.decisions = []
    world.run()
    assert _together(world) == {"f0f1", "f2f3"}


def test_a_recogniser_that_does_not_agree_lowers_the_confidence_and_makes_a_proposal(tmp_path: Path) -> None:
    world = ClusterWorld(tmp_path, _photos(0, 0, 0, 1, 1))
    world.run()
    before = {name: row.confidence for name, row in world.rows().items()}
    world.committee = other_opinion({"t0": 0, "t1": 0, "t2": 5, "t3": 1, "t4": 1})
    world.run()
    after = {name: row.confidence for name, row in world.rows().items()}
    assert after["f2"] < before["f2"]
    assert all(after[name] > before[name] for name in ("f3", "f4"))
    told = [found for found in world.proposals() if found.reason == "models_differ"]
    assert told[0].first_face_id == "f2"
