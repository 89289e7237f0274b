"""Scoring on worlds whose right answer can be counted by hand."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceloop.reports.build import build_report
from faceloop.reports.material import read_boxes, read_material
from faceloop.reports.scoring import Scores, score
from faceloop.reports.truth import Box, TruthSpec, main_face
from faceloop.runner import Workspace
from facestore.errors import ConfigError, DataError

from .report_world import PEOPLE, World, artifacts_of, face, footage

FOLDERS = TruthSpec(file=None, except_file=None)
BOX = [100, 100, 180, 180]


def stay(end_ms: int, *, hard: bool = False, box: list[int] = BOX) -> dict[str, object]:
    return {"start_ms": 0, "end_ms": end_ms, "hard": hard, "boxes": [[0, *box], [end_ms, *box]]}


def truth_file(path: Path, files: dict[str, list[tuple[str, dict[str, object]]]], bad: list[str] | None = None) -> Path:
    entries = [
        {
            "path": name,
            "kind": "video",
            "people": [{"person": person, "appearances": [seen]} for person, seen in people],
        }
        for name, people in files.items()
    ]
    path.write_text(json.dumps({"files": entries, "bad": dict.fromkeys(bad or [], "empty_file")}), encoding="utf-8")
    return path


def scored(work: Workspace, spec: TruthSpec) -> Scores:
    artifacts = artifacts_of(work)
    return score(read_material(artifacts), read_boxes(artifacts.faces), spec)


@pytest.fixture
def true_files() -> dict[str, list[tuple[str, dict[str, object]]]]:
    world = World()
    return {record.uri: [(person, stay(400))] for record, person in zip(world.footage, PEOPLE, strict=True)}


def test_a_perfect_world_scores_one(tmp_path: Path, true_files: dict[str, list[tuple[str, dict[str, object]]]]) -> None:
    world = World()
    world.identity_of_face |= {f"t4f{n}": "person-cccccccccccccccc" for n in range(3)}
    truth = truth_file(tmp_path / "truth.json", true_files)
    found = scored(world.write(tmp_path / "root"), TruthSpec(file=truth, except_file=None))
    assert found.detection_rate == 1.0
    assert found.identities is not None
    assert found.clusters is not None
    assert found.identities.faces.pairwise_f == found.identities.tracklets.nmi == found.clusters.faces.bcubed_f == 1.0
    assert [person.is_found_as_one for person in found.people] == [True, True, True]
    assert (found.faces_with_truth, found.tracklets_with_truth) == (10, 5)


def test_unknown_faces_count_as_groups_of_their_own(
    tmp_path: Path, true_files: dict[str, list[tuple[str, dict[str, object]]]]
) -> None:
    truth = truth_file(tmp_path / "truth.json", true_files)
    found = scored(World().write(tmp_path / "root"), TruthSpec(file=truth, except_file=None))
    assert found.identities is not None
    assert found.identities.faces.pairwise_precision == 1.0
    assert found.identities.faces.pairwise_recall == pytest.approx(12 / 13), "cy's pair of 6 + 6 + 1 is not joined"
    cy = found.people[2]
    assert (cy.person, cy.unknown_shots, cy.identities, cy.is_found_as_one) == ("cy", 2, (), False)


def test_a_split_person_and_a_mixed_identity_are_named(
    tmp_path: Path, true_files: dict[str, list[tuple[str, dict[str, object]]]]
) -> None:
    world = World()
    world.identity_of_face |= {f"t1f{n}": "person-split" for n in range(3)}  # ann's second tracklet
    world.identity_of_face |= {f"t4f{n}": "person-bbbbbbbbbbbbbbbb" for n in range(3)}  # cy goes to bob
    truth = truth_file(tmp_path / "truth.json", true_files)
    found = scored(world.write(tmp_path / "root"), TruthSpec(file=truth, except_file=None))
    ann, bob, cy = found.people
    assert len(ann.identities) == 2
    assert ann.shared_identities == ()
    assert bob.shared_identities == cy.shared_identities == ("person-bbbbbbbbbbbbbbbb",)
    assert found.identities_mixed == 1
    flat = found.to_json()
    assert (flat["people_split"], flat["people_as_one_identity"], flat["people"]) == (1, 0, 3)
    assert flat["identities.tracklets.clusters_mixed"] == 1


def test_a_missed_appearance_lowers_the_detection_rate_and_a_hard_one_does_not(
    tmp_path: Path, true_files: dict[str, list[tuple[str, dict[str, object]]]]
) -> None:
    elsewhere = [400, 300, 440, 340]
    true_files["a.mp4"].append(("dan", stay(400, box=elsewhere)))
    true_files["b.mp4"].append(("eve", stay(400, hard=True, box=elsewhere)))
    truth = truth_file(tmp_path / "truth.json", true_files)
    found = scored(World().write(tmp_path / "root"), TruthSpec(file=truth, except_file=None))
    assert (found.detection.sights, found.detection.sights_found) == (6, 5)
    assert (found.detection.hard_sights, found.detection.hard_sights_found) == (1, 0)
    assert found.detection_rate == pytest.approx(5 / 6)


def test_a_face_where_truth_has_nobody_is_counted_and_not_scored(
    tmp_path: Path, true_files: dict[str, list[tuple[str, dict[str, object]]]]
) -> None:
    true_files["a.mp4"] = []
    truth = truth_file(tmp_path / "truth.json", true_files)
    found = scored(World().write(tmp_path / "root"), TruthSpec(file=truth, except_file=None))
    assert found.detection.faces_on_nobody == 3
    assert found.faces_with_truth == 8


def test_broken_files_are_caught_when_rejected_or_read_in_part(
    tmp_path: Path, true_files: dict[str, list[tuple[str, dict[str, object]]]]
) -> None:
    bad = ["naïve “name”.jpg", "d.mp4", "a.mp4"]  # rejected by ingest, read in part, read whole
    truth = truth_file(tmp_path / "truth.json", true_files, bad)
    found = scored(World().write(tmp_path / "root"), TruthSpec(file=truth, except_file=None))
    assert (found.detection.bad_files, found.detection.bad_files_caught) == (3, 2)


def photo_world() -> World:
    world = World()
    uris = ["ann/1.jpg", "ann/2.jpg", "bob/1.jpg", "bob/2.jpg", "top.jpg"]
    world.footage = [footage(number, uri, kind="image") for number, uri in enumerate(uris)]
    world.rejections = []
    return world


def test_a_photos_parent_folder_is_its_person_and_one_face_counts(tmp_path: Path) -> None:
    found = scored(photo_world().write(tmp_path), FOLDERS)
    assert [person.person for person in found.people] == ["ann", "bob"], "a photo at the top has no person"
    assert (found.detection.sights, found.detection.sights_found) == (4, 4)
    assert found.faces_with_truth == 4, "three faces lie in each photo, one is the main one"
    assert found.identities is not None
    assert found.identities.faces.pairwise_f == 1.0


def test_a_photo_without_an_accepted_face_is_a_miss(tmp_path: Path) -> None:
    world = photo_world()
    world.faces = [
        replace(found, rejected="too_small", crop_key=None) if found.footage_id == "footage1" else found
        for found in world.faces
    ]
    found = scored(world.write(tmp_path), FOLDERS)
    assert found.detection_rate == 0.75


def test_photos_named_in_the_exception_file_have_no_truth(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("bob/2.jpg\n\n", encoding="utf-8")
    found = scored(photo_world().write(tmp_path / "root"), TruthSpec(file=None, except_file=wrong))
    assert (found.detection.sights, found.faces_with_truth) == (3, 3)


def test_the_same_bytes_in_two_peoples_folders_have_no_truth(tmp_path: Path) -> None:
    world = photo_world()
    world.footage[0] = replace(world.footage[0], locations=("ann/1.jpg", "bob/copy.jpg"))
    assert scored(world.write(tmp_path), FOLDERS).detection.sights == 3


def test_a_world_without_truth_scores_no_partition(tmp_path: Path) -> None:
    found = scored(World().write(tmp_path), FOLDERS)
    assert found.identities is None
    assert found.to_json()["faces_with_truth"] == 0


def box(name: str, x1: float, y1: float, side: float) -> Box:
    found = face(0, 0, has_crop=True, box=(x1, y1, x1 + side, y1 + side))
    return replace(Box.of(found), face_id=name)


def test_the_main_face_is_large_and_near_the_middle() -> None:
    central, corner, larger = box("central", 290, 210, 60), box("corner", 0, 0, 70), box("larger", 280, 200, 90)
    assert main_face([corner, central], 640, 480).face_id == "central"
    assert main_face([corner, central, larger], 640, 480).face_id == "larger"


@given(st.lists(st.tuples(st.integers(0, 600), st.integers(0, 400), st.integers(1, 90)), min_size=1, max_size=6))
def test_the_main_face_does_not_depend_on_the_order_of_faces(rows: list[tuple[int, int, int]]) -> None:
    faces = [box(f"face{number}", *row) for number, row in enumerate(rows)]
    assert main_face(faces, 640, 480) == main_face(faces[::-1], 640, 480)


def test_an_unreadable_truth_or_exception_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    work = World().write(tmp_path / "root")
    broken = tmp_path / "truth.json"
    broken.write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"truth\.json"):
        build_report(work, truth=TruthSpec(file=broken, except_file=None))
    with pytest.raises(ConfigError, match=r"nowhere\.txt"):
        build_report(work, truth=TruthSpec(file=None, except_file=tmp_path / "nowhere.txt"))


def test_a_person_with_an_unknown_face_is_found_as_one_but_not_whole(
    tmp_path: Path, true_files: dict[str, list[tuple[str, dict[str, object]]]]
) -> None:
    world = World()
    world.identity_of_face["t0f1"] = None
    truth = truth_file(tmp_path / "truth.json", true_files)
    ann, bob, _ = scored(world.write(tmp_path / "root"), TruthSpec(file=truth, except_file=None)).people
    assert (ann.is_found_as_one, ann.is_whole) == (True, False)
    assert (bob.is_found_as_one, bob.is_whole) == (True, True)
