"""Calibration: strangers measured without labels, and thresholds in sigmas that mean the same under any recogniser."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceloop.clustering.calibration import (
    BUILTIN_CONTRACT,
    Calibration,
    Shortage,
    as_json,
    builtin_calibration,
    load_calibration,
    read_calibrations,
)
from faceloop.clustering.impostors import MIN_PEOPLE, Unlabelled, cyclic_pairs, measure_calibration, robust_fit
from faceloop.clustering.knn import SearchParams
from faceloop.clustering.sigmas import SigmaParams, calibrated
from faceloop.vision.models import embedding_contract
from faceloop.vision.packs import load_pack
from facestore.errors import ConfigError

Float32Array = npt.NDArray[np.float32]
SIGMAS = SigmaParams(
    neighbours=8,
    micro_sigmas=6.0,
    within_sigmas=4.0,
    across_sigmas=3.0,
    attach_sigmas=2.0,
    attach_margin_sigmas=0.5,
    min_quality=0.4,
    full_quality=0.6,
    quality_toll_sigmas=0.2,
    hubness_share=1.0,
    hubness_sigmas=2.5,
    hubness_skipped=2,
    hubness_cohort=20,
    hubness_prior=5,
    confidence_scale_sigmas=0.5,
    search=SearchParams(flat_rows_max=1000, probes=4, block_rows=64),
)


def _unit(vectors: npt.NDArray[np.float64]) -> Float32Array:
    units: Float32Array = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return units


def _crowd(people: int, each: int, *, dim: int = 64, seed: int = 0) -> tuple[Float32Array, npt.NDArray[np.int64]]:
    """Vectors of people in random directions, photos of one person within cosine 0.9 or so, in random order."""
    rng = np.random.default_rng(seed)
    who = rng.permutation(np.repeat(np.arange(people), each))
    centres = _unit(rng.normal(size=(people, dim)))
    return _unit(centres[who] + rng.normal(scale=0.04, size=(len(who), dim))), who


def _unlabelled(vectors: Float32Array, **changes: object) -> Unlabelled:
    plain = Unlabelled(
        contract_id="c",
        node_ids=tuple(f"{row:05d}" for row in range(len(vectors))),
        vectors=vectors,
        same_picture=np.empty((0, 2), np.int64),
        genuine=np.empty(0, np.float32),
        source="a test",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def _measured(vectors: Float32Array, **changes: object) -> Calibration:
    found = measure_calibration(_unlabelled(vectors, **changes))
    assert isinstance(found, Calibration)
    return found


def test_strangers_of_a_known_world_are_found_however_often_each_person_is_seen() -> None:
    for each in (1, 12):
        vectors, _ = _crowd(100, each)
        found = _measured(vectors)
        assert found.people == pytest.approx(100, abs=3)
        assert found.impostor_mean == pytest.approx(0, abs=0.02)  # random directions are at right angles …
        assert found.impostor_sd == pytest.approx(1 / np.sqrt(64), abs=0.01)  # … within one over the root of dim


def test_one_person_seen_far_more_often_than_all_others_moves_nothing() -> None:
    vectors, _ = _crowd(80, 1)
    often, _ = _crowd(1, 1000, seed=3)
    alone, crowded = _measured(vectors), _measured(np.concatenate([vectors, often]))
    assert crowded.cosine(3.6) == pytest.approx(alone.cosine(3.6), abs=0.03)
    assert crowded.people == pytest.approx(81, abs=2)


def test_too_few_people_are_a_shortage_and_say_how_many_were_found() -> None:
    vectors, _ = _crowd(12, 40)
    found = measure_calibration(_unlabelled(vectors))
    assert found == Shortage(people=12, needed=MIN_PEOPLE)
    assert measure_calibration(_unlabelled(vectors[:5])) == Shortage(people=5, needed=MIN_PEOPLE)
    assert "12 people" in str(found)


@given(seed=st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=10)
def test_a_calibration_does_not_depend_on_the_order_of_the_rows(seed: int) -> None:
    vectors, _ = _crowd(60, 3)
    order = np.random.default_rng(seed).permutation(len(vectors))
    names = tuple(f"{row:05d}" for row in order)
    pairs = np.array([[0, 1], [5, 9]])
    place = np.argsort(order)
    assert _measured(vectors[order], node_ids=names, same_picture=place[pairs]) == _measured(
        vectors, same_picture=pairs
    )


def test_faces_of_one_picture_and_of_one_tracklet_are_told_beside_it() -> None:
    vectors, _ = _crowd(60, 1)
    found = _measured(vectors, same_picture=np.array([[0, 1]]), genuine=np.array([0.8, 0.9], np.float32))
    assert found.same_picture_mean == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-6)
    assert (found.same_picture_pairs, found.genuine_pairs) == (1, 2)
    assert found.genuine_mean == pytest.approx(0.85, abs=1e-6)


@given(share=st.floats(0, 0.15), mean=st.floats(-0.1, 0.4), sd=st.floats(0.03, 0.15))
@settings(deadline=None, max_examples=30)
def test_genuine_pairs_in_the_upper_tail_hardly_move_the_fit(share: float, mean: float, sd: float) -> None:
    rng = np.random.default_rng(5)
    impostors = rng.normal(mean, sd, 20_000)
    genuine = rng.normal(mean + 7 * sd, sd, int(share * 20_000))
    found_mean, found_sd = robust_fit(np.concatenate([impostors, genuine]).astype(np.float32))
    assert found_mean == pytest.approx(mean, abs=0.1 * sd)
    assert found_sd == pytest.approx(sd, rel=0.1)


@pytest.mark.parametrize("rows", [2, 3, 4, 7, 8])
def test_all_pairs_are_each_taken_once_where_they_fit(rows: int) -> None:
    vectors, _ = _crowd(rows, 1)
    expected = (vectors @ vectors.T)[np.triu_indices(rows, 1)]
    np.testing.assert_allclose(np.sort(cyclic_pairs(vectors, 1000)), np.sort(expected), atol=1e-6)


def test_thresholds_follow_the_recogniser_and_differences_only_its_spread() -> None:
    first = replace(builtin_calibration(), contract_id="a", impostor_mean=0.1, impostor_sd=0.05)
    params = calibrated(SIGMAS, first)
    assert params.across_similarity == pytest.approx(0.25)
    assert params.within_similarity == pytest.approx(0.30)
    assert params.hubness_similarity == pytest.approx(0.225)
    assert params.attach_margin == pytest.approx(0.025)
    assert params.confidence_scale == pytest.approx(0.025)
    assert params.quality_toll == pytest.approx(0.01)
    shifted = calibrated(SIGMAS, replace(first, impostor_mean=0.3))
    assert shifted.across_similarity == pytest.approx(0.45)
    assert shifted.attach_margin == params.attach_margin
    assert (params.neighbours, params.hubness_prior, params.search) == (8, 5, SIGMAS.search)


def test_no_cosine_leaves_its_range() -> None:
    wide = replace(builtin_calibration(), impostor_sd=0.5)
    assert wide.cosine(40) == 1
    assert wide.cosine(-40) == -1
    assert wide.sigmas(wide.cosine(0.7)) == pytest.approx(0.7)


def test_the_shipped_calibration_belongs_to_the_built_in_pack() -> None:
    pack = load_pack("builtin", accept_licence=None, insightface_root=None)
    assert embedding_contract(pack, precision="f32").contract_id == BUILTIN_CONTRACT
    assert builtin_calibration().contract_id == BUILTIN_CONTRACT
    half = embedding_contract(pack, precision="bf16").contract_id
    loaded = load_calibration(half, file=None, measure=lambda: Shortage(people=0, needed=1))
    assert loaded.cosine(3.6) == pytest.approx(builtin_calibration().cosine(3.6), abs=0.005)


def test_the_named_file_comes_before_the_shipped_calibration_and_that_before_measuring(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    mine = replace(builtin_calibration(), impostor_mean=0.2, source="mine")
    file.write_text(as_json([mine]), encoding="utf-8")
    unknown = replace(mine, contract_id="new")

    def never() -> Calibration:
        raise AssertionError("was measured for nothing")

    assert load_calibration(BUILTIN_CONTRACT, file=file, measure=never).source == "mine"
    assert load_calibration(BUILTIN_CONTRACT, file=None, measure=never) == builtin_calibration()
    assert load_calibration("new", file=None, measure=lambda: unknown) == unknown


def test_without_any_calibration_the_error_says_what_is_missing_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"about 7 people found.*faceloop calibrate --out"):
        load_calibration("new", file=None, measure=lambda: Shortage(people=7, needed=40))
    file = tmp_path / "c.json"
    with pytest.raises(ConfigError, match="no calibration file"):
        load_calibration("new", file=file, measure=lambda: Shortage(people=7, needed=40))
    file.write_text(as_json([builtin_calibration()]), encoding="utf-8")
    with pytest.raises(ConfigError, match=f"new.*{BUILTIN_CONTRACT}"):
        load_calibration("new", file=file, measure=lambda: Shortage(people=7, needed=40))


@pytest.mark.parametrize("text", ["", "{}", "[{}]", '[{"contract_id": 1}]'])
def test_a_file_that_is_no_calibration_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match=r"odd\.json"):
        read_calibrations(text, "odd.json")


def test_numbers_that_are_no_cosines_are_refused() -> None:
    for changes in ({"impostor_sd": 0.0}, {"impostor_sd": float("nan")}, {"impostor_mean": 1.5}):
        with pytest.raises(ConfigError, match="measure it anew"):
            replace(builtin_calibration(), **changes)  # type: ignore[arg-type]


def test_a_calibration_survives_writing_and_reading() -> None:
    both = [replace(builtin_calibration(), contract_id=name) for name in ("b", "a")]
    assert read_calibrations(as_json(both), "x") == {one.contract_id: one for one in both}
