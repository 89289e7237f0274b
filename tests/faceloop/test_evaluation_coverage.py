"""Coverage of a release: bands, counts of people, floors, holes as mining requests."""

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from faceloop.evaluation.chapters import coverage_chapter, coverage_metrics
from faceloop.evaluation.coverage import CoverageMatrix, coverage_of, coverage_table, failed_floors, grid_of
from faceloop.evaluation.coverage_holes import holes
from faceloop.evaluation.coverage_params import UNKNOWN, CoverageParams
from faceloop.evaluation.coverage_picture import save_coverage, spaced
from faceloop.mining.request import read_request
from faceloop.params import read_params
from facestore.errors import DataError

PARAMS = """
measured:
  yaw: {column: yaw, is_absolute: true, edges: [15.0, 30.0, 60.0]}
  light: {column: brightness, is_absolute: false, edges: [0.35]}
spoken:
  mask: {attribute: occlusion, values: [none, mask]}
columns: yaw
floors:
  - {where: {yaw: 30_to_60}, least_samples: 3, least_identities: 2}
"""
Row = tuple[str, str, float, float, str | None]  # identity, split, yaw, brightness, occlusion


def params(**changed: object) -> CoverageParams:
    return CoverageParams.model_validate(yaml.safe_load(PARAMS) | changed)


def matrix_of(rows: list[Row], found: CoverageParams, lost: tuple[int, ...] = ()) -> CoverageMatrix:
    faces = [(f"f{n:03}", yaw, light) for n, (_, _, yaw, light, _) in enumerate(rows) if n not in lost]
    said = [(f"f{n:03}", row[4]) for n, row in enumerate(rows) if row[4] is not None]
    return coverage_of(
        pa.table(
            {
                "split": pa.array([row[1] for row in rows], pa.string()),
                "face_id": pa.array([f"f{n:03}" for n in range(len(rows))], pa.string()),
                "identity_id": pa.array([row[0] for row in rows], pa.string()),
            }
        ),
        pa.table(
            {
                "face_id": pa.array([face for face, _, _ in faces], pa.string()),
                "yaw": pa.array([yaw for _, yaw, _ in faces], pa.float32()),
                "brightness": pa.array([light for _, _, light in faces], pa.float32()),
            }
        ),
        pa.table(
            {
                "face_id": pa.array([face for face, _ in said], pa.string()),
                "name": pa.array(["occlusion"] * len(said), pa.string()),
                "value": pa.array([value for _, value in said], pa.string()),
            }
        ),
        found,
    )


ROWS: list[Row] = [
    ("ann", "train", -40.0, 0.5, "mask"),
    ("ann", "train", 40.0, 0.2, "none"),
    ("ben", "test", 3.0, 0.5, None),
    ("ben", "test", 15.0, 0.35, "veil"),
]


def test_people_are_counted_beside_samples_and_an_edge_belongs_to_the_band_above() -> None:
    found = matrix_of(ROWS, params())
    assert (found.count({"yaw": "30_to_60"}).samples, found.count({"yaw": "30_to_60"}).identities) == (2, 1)
    assert found.count({"yaw": "15_to_30"}).samples == 1
    assert found.count({"light": "0.35_up"}).samples == 3
    assert found.count({"split": "test", "yaw": "0_to_15"}).identities == 1


def test_what_nobody_said_is_unknown_and_what_no_list_holds_is_unlisted() -> None:
    found = matrix_of(ROWS, params())
    counts = {band: found.count({"mask": band}).samples for band in found.axis("mask").bands}
    assert counts == {"none": 1, "mask": 1, "unlisted": 1, "unknown": 1}


def test_a_sample_that_the_faces_table_lost_or_that_is_not_finite_is_unknown_there() -> None:
    found = matrix_of([*ROWS, ("ann", "val", float("nan"), 0.5, None)], params(), lost=(0,))
    assert found.count({"yaw": UNKNOWN}).samples == 2
    assert found.unmeasured == 1
    assert found.count({"light": UNKNOWN}).samples == 1


rows_of_any_release = st.lists(
    st.tuples(
        st.sampled_from(["ann", "ben", "cai"]),
        st.sampled_from(["train", "val", "test"]),
        st.floats(-90, 90, width=32),
        st.floats(0, 1, width=32),
        st.sampled_from([None, "none", "mask", "veil"]),
    ),
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(rows_of_any_release)
def test_every_sample_is_in_one_band_of_each_axis_in_any_order(rows: list[Row]) -> None:
    found = matrix_of(rows, params())
    for axis in found.axes:
        assert sum(found.count({axis.name: band}).samples for band in axis.bands) == len(rows)
    turned = matrix_of(rows[::-1], params())
    assert coverage_table(turned).equals(coverage_table(found))


@settings(max_examples=40, deadline=None)
@given(rows_of_any_release)
def test_pairs_of_bands_equal_counting_by_hand(rows: list[Row]) -> None:
    found = matrix_of(rows, params())
    by_hand = Counter((row[1], row[4] or "unknown") for row in rows)
    grid = grid_of(found, "split", "mask")
    for place, split in enumerate(found.axis("split").bands):
        for beside, band in enumerate(found.axis("mask").bands):
            said = "veil" if band == "unlisted" else band
            people = {row[0] for row in rows if (row[1], row[4] or "unknown") == (split, said)}
            assert tuple(grid[place, beside]) == (by_hand[split, said], len(people))


def test_a_missed_floor_names_cell_value_and_floor() -> None:
    found = params()
    assert failed_floors(matrix_of(ROWS, found), found.floors) == [
        "coverage of yaw 30_to_60: samples 2, floor 3",
        "coverage of yaw 30_to_60: identities 1, floor 2",
    ]
    enough = [*ROWS, ("cai", "val", 31.0, 0.5, None)]
    assert failed_floors(matrix_of(enough, found), found.floors) == []
    assert holes(matrix_of(enough, found), found) == ()


def test_a_hole_that_mining_can_say_is_a_request_that_mining_takes() -> None:
    found = params()
    (hole,) = holes(matrix_of(ROWS, found), found)
    request = read_request(json.dumps(hole.request), "hole")
    assert request.yaw_deg == (30.0, 60.0)
    assert request.name == "coverage-yaw-30-to-60"
    assert hole.need == "1 more samples and 1 more people with yaw from 30 to 60, either side"


def test_a_hole_that_mining_cannot_say_is_a_need_alone() -> None:
    floors = [
        {"where": {"mask": "mask", "yaw": "60_up"}, "least_samples": 1, "least_identities": 0},
        {"where": {"light": "below_0.35"}, "least_samples": 2, "least_identities": 0},
        {"where": {"split": "val"}, "least_samples": 1, "least_identities": 1},
    ]
    found = params(floors=floors)
    needs = {hole.need: hole.request for hole in holes(matrix_of(ROWS, found), found)}
    assert needs == {
        "1 more samples with yaw from 60 up, either side; mask mask": None,
        "1 more samples with brightness below 0.35": None,
        "1 more samples and 1 more people with an identity in the val split": None,
    }


def test_a_star_asks_of_every_known_band_and_never_of_the_unknown() -> None:
    found = params(floors=[{"where": {"mask": "*"}, "least_samples": 2, "least_identities": 0}])
    cells = {hole.where for hole in holes(matrix_of(ROWS, found), found)}
    assert cells == {(("mask", "none"),), (("mask", "mask"),)}


@pytest.mark.parametrize("span", [[60.0, None], [0.0, 15.0]])
def test_an_open_band_becomes_a_range_that_a_request_may_hold(span: list[float | None]) -> None:
    band = "60_up" if span[1] is None else "0_to_15"
    found = params(floors=[{"where": {"yaw": band}, "least_samples": 9, "least_identities": 0}])
    (hole,) = holes(matrix_of(ROWS, found), found)
    assert read_request(json.dumps(hole.request), "hole").yaw_deg == (span[0], span[1] or 90.0)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"floors": [{"where": {"yow": "*"}, "least_samples": 1, "least_identities": 0}]}, "no axis 'yow'"),
        ({"floors": [{"where": {"yaw": "90"}, "least_samples": 1, "least_identities": 0}]}, "no band '90'"),
        ({"columns": "pose"}, "no such axis"),
        ({"spoken": {"yaw": {"attribute": "pose", "values": ["left"]}}}, "named twice"),
        ({"spoken": {"mask": {"attribute": "occlusion", "values": ["unknown"]}}}, "must differ"),
        ({"measured": {"yaw": {"column": "yaw", "is_absolute": True, "edges": [0.0, 5.0]}}}, "begin above 0"),
    ],
)
def test_params_that_name_what_is_not_there_are_refused(changed: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        params(**changed)


def test_a_face_with_two_rows_is_refused() -> None:
    samples = pa.table({"split": ["val"], "face_id": ["f"], "identity_id": ["ann"]})
    faces = pa.table({"face_id": ["f", "f"], "yaw": [1.0, 2.0], "brightness": [0.1, 0.2]})
    empty = pa.array([], pa.string())
    with pytest.raises(DataError, match="two rows among faces"):
        coverage_of(samples, faces, pa.table({"face_id": empty, "name": empty, "value": empty}), params())


def test_the_picture_is_readable_at_700_px_and_the_same_every_time(tmp_path: Path) -> None:
    found = params()
    matrix = matrix_of(ROWS, found)
    for name in ("a.png", "b.png"):
        save_coverage(matrix, holes(matrix, found), "yaw", tmp_path / name)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] == 700
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_bands_are_drawn_as_people_read_them() -> None:
    assert [spaced(band) for band in ("30_to_60", "-15_to_15", "below_0.2", "60_up", "hand_or_object", "up_to_12")] == [
        "30 to 60", "−15 to 15", "< 0.2", "≥ 60", "hand or object", "up to 12",
    ]  # fmt: skip


def test_the_shipped_axes_know_every_value_that_people_may_say() -> None:
    tree = read_params(Path(__file__).parents[2] / "params.yaml")
    evaluate, review = tree["evaluate"], tree["review"]
    assert isinstance(evaluate, dict) and isinstance(review, dict)
    shipped, forms = CoverageParams.model_validate(evaluate["coverage"]), review["attributes"]
    assert isinstance(forms, list)
    values = {form["name"]: form["values"] for form in forms if isinstance(form, dict)}
    for axis in shipped.spoken.values():
        assert axis.values == values[axis.attribute]


def test_a_chapter_names_each_hole_and_metrics_count_them() -> None:
    found = params()
    matrix = matrix_of(ROWS, found)
    lacking, failed = holes(matrix, found), failed_floors(matrix, found.floors)
    chapter = coverage_chapter(matrix, lacking, failed, Path("coverage.png"))
    assert "request coverage-yaw-30-to-60" in chapter.fragment
    assert "2 floors fail" in chapter.fragment
    assert coverage_metrics(matrix, lacking, failed) == {
        "coverage.samples": 4,
        "coverage.identities": 2,
        "coverage.holes": 1,
        "coverage.floors_failed": 2,
    }
