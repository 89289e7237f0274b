"""Candidate against current, slices and leaks: what may be claimed, and what may not."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from faceloop.evaluation.coverage_params import MeasuredAxis
from faceloop.evaluation.embedding import Embedded
from faceloop.evaluation.evaluate_params import SliceParams
from faceloop.evaluation.leakage import leakage
from faceloop.evaluation.measuring import MeasuredGold, measure_gold
from faceloop.evaluation.released import TrainFaces
from faceloop.evaluation.slices import FaceFacts, facts_of, failed_slices
from facestore.errors import ConfigError, DataError

from .evaluation_world import gold_with, people, rules

YAW = {"yaw": MeasuredAxis(column="yaw", is_absolute=True, edges=[30.0, 60.0])}


def _embedded(vectors: NDArray[np.float32]) -> Embedded:
    return Embedded(vectors=vectors, refused=0, contract_id="c")


def _compared(ours: float, theirs: float) -> MeasuredGold:
    candidate, identity = people(40, 4, noise=ours, dimension=16)
    current, _ = people(40, 4, noise=theirs, dimension=16)
    return measure_gold(gold_with(identity), (_embedded(candidate), _embedded(current)), rules())


def _sliced(facts: Sequence[FaceFacts], floors: dict[str, float]) -> MeasuredGold:
    """Forty people; the last look of each is seen badly."""
    vectors, identity = people(40, 4, noise=0.5, dimension=16)
    rng = np.random.default_rng(0)
    vectors[3::4] += 1.2 * rng.normal(size=(40, 16)).astype(np.float32) * np.linalg.norm(vectors[0])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    numbers = SliceParams(far=0.01, pairs=20, people=5, measured=YAW)
    return measure_gold(
        gold_with(identity), (_embedded(vectors), _embedded(vectors)), rules(slices=numbers, floors=floors), facts=facts
    )


def _facts() -> list[FaceFacts]:
    yaws = [5.0, -10.0, 12.0, -40.0] * 39 + [5.0, 5.0, 5.0, -70.0]
    masked = ["none", "none", "mask", "none"] * 40
    return [
        facts_of("gate", {"yaw": yaw}, {"covered": worn} if row % 2 == 0 else {}, YAW, {"covered"})
        for row, (yaw, worn) in enumerate(zip(yaws, masked, strict=True))
    ]


def test_a_clear_gain_and_a_clear_loss_are_claimed() -> None:
    assert [gain.verdict for gain in _compared(0.4, 1.2).tar_gains] == ["better", "better", "refused"]
    assert [gain.verdict for gain in _compared(1.2, 0.4).tar_gains] == ["worse", "worse", "refused"]


def test_a_model_is_not_better_than_itself() -> None:
    gains = _compared(0.9, 0.9).tar_gains
    assert [gain.verdict for gain in gains] == ["no_difference_shown", "no_difference_shown", "refused"]
    assert gains[0].gain == 0


def test_a_gain_within_its_range_is_not_claimed() -> None:
    found = measure_gold(
        gold_with(people(40, 4, noise=1.0)[1]),
        (_embedded(people(40, 4, noise=1.0, seed=5)[0]), _embedded(people(40, 4, noise=1.0, seed=6)[0])),
        rules(),
    ).tar_gains[1]
    assert found.gain is not None
    assert found.interval is not None
    assert found.interval.low <= found.gain <= found.interval.high
    assert (found.verdict == "no_difference_shown") == (found.interval.low <= 0 <= found.interval.high)


def test_the_worst_slice_comes_first_and_a_slice_too_small_is_refused() -> None:
    rows = _sliced(_facts(), {}).slices
    assert rows[0].name == "yaw:30_to_60"
    small = next(row for row in rows if row.name == "yaw:60_up")
    assert (small.tar, small.state) == (None, "refused")
    assert small.refused == "3 genuine pairs of 1 people; at least 20 pairs of 5 people are needed"
    assert {row.name for row in rows if row.kind == "covered"} == {"covered:mask", "covered:none", "covered:unknown"}
    told = [row.tar for row in rows if row.tar is not None]
    assert told == sorted(told)


def test_the_pairs_of_a_slice_are_those_that_a_face_of_it_is_in() -> None:
    rows = {row.name: row for row in _sliced(_facts(), {}).slices}
    assert rows["yaw:30_to_60"].pairs == 39 * 3
    assert rows["yaw:30_to_60"].faces == 39
    assert rows["subset:gate"].pairs == 40 * 6


def test_the_nearest_floor_counts_and_what_cannot_be_told_does_not_pass() -> None:
    floors = {"all": 0.1, "yaw": 0.999, "yaw:30_to_60": 0.2, "yaw:60_up": 0.2}
    found = _sliced(_facts(), floors).slices
    rows = {row.name: row for row in found}
    assert rows["subset:gate"].floor == 0.1
    assert rows["yaw:0_to_30"].floor == 0.999
    assert rows["yaw:30_to_60"].floor == 0.2
    failed = failed_slices(found)
    assert any(line.startswith("slice yaw:60_up cannot be told (3 genuine pairs") for line in failed)
    assert all(row.state != "passed" for row in found if row.tar is not None and row.tar < (row.floor or 0))


def test_a_floor_for_a_band_without_a_face_fails() -> None:
    rows = {row.name: row for row in _sliced(_facts(), {"covered:sunglasses": 0.5}).slices}
    assert rows["covered:sunglasses"].state == "refused"
    assert rows["covered:sunglasses"].pairs == 0


def test_a_floor_that_can_name_no_slice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"evaluate\.floors\.yow: no such slice; kinds are all, covered, subset, yaw"):
        _sliced(_facts(), {"yow": 0.5})


def _train(vectors: NDArray[np.float32], *identities: str) -> TrainFaces:
    return TrainFaces(
        face_ids=tuple(f"t{row}" for row in range(len(vectors))),
        identity_ids=identities,
        vectors=vectors,
        all_identity_ids=identities,
        not_compared=0,
    )


def test_people_and_near_duplicates_in_training_and_gold_are_found() -> None:
    gold, axes = gold_with(np.array([0, 0, 1])), np.eye(4, dtype=np.float32)
    train = axes[[0, 3]].copy()
    train[0, 1] = 0.1
    train /= np.linalg.norm(train, axis=1, keepdims=True)
    found = leakage(gold, axes[:3], _train(train, "p0001", "other"), least_similarity=0.985)
    assert found.identities == ("p0001",)
    assert [(face.gold_face_id, face.train_face_id) for face in found.faces] == [("f00000", "t0")]
    assert not found.is_clean
    clean = leakage(gold, axes[:3], _train(axes[3:], "other"), least_similarity=0.985)
    assert clean.is_clean


def test_vectors_of_two_models_are_not_compared() -> None:
    with pytest.raises(DataError, match="different models"):
        leakage(
            gold_with(np.array([0])), np.ones((1, 3), np.float32), _train(np.ones((1, 4), np.float32), "x"),
            least_similarity=0.9,
        )  # fmt: skip
