"""What speaks against a model: losses, no gain shown, and what its evaluation says."""

from dataclasses import replace

import pytest

from faceloop.evaluation.tables import SliceRow, VerificationRow
from faceloop.loop_params import ModelGateParams
from faceloop.promotion.latency import Latency
from faceloop.promotion.model_gate import Judged, check_model_gate, failed_model_floors
from facestore.errors import StageError

FLOORS = ModelGateParams(needs_gain=True, allowed_loss=0.0, allowed_slice_loss=0.0, max_latency_ratio=None)
BETTER = VerificationRow(
    gold="release", model="candidate", far=0.01, tar=0.9, low=0.88, high=0.92, threshold=0.4, genuine_pairs=900,
    impostor_pairs=90_000, identities=80, gain=0.05, gain_low=0.03, gain_high=0.07, verdict="better", refused=None,
)  # fmt: skip
SLICE = SliceRow(
    gold="release", kind="yaw", band="45_up", faces=90, people=40, pairs=300, tar=0.8, low=0.75, high=0.85,
    false_accepts=0.01, current_tar=0.78, gain=0.02, gain_low=-0.01, gain_high=0.05, verdict="no_difference_shown",
    floor=None, state="no_floor", refused=None,
)  # fmt: skip
GOOD = Judged(rates=(BETTER,), slices=(SLICE,), failed=())


def test_a_model_that_is_better_and_nowhere_shown_worse_passes() -> None:
    assert failed_model_floors(GOOD, FLOORS) == []
    check_model_gate("m" * 64, GOOD, FLOORS)


def test_a_model_that_is_worse_on_one_slice_is_refused_though_it_is_better_on_the_whole() -> None:
    worse = replace(SLICE, gain=-0.2, gain_low=-0.3, gain_high=-0.1, verdict="worse")
    judged = replace(GOOD, slices=(SLICE, worse))
    assert failed_model_floors(judged, FLOORS) == [
        "gold release: slice yaw:45_up -0.2000 [-0.3000, -0.1000] against the current model"
    ]
    with pytest.raises(StageError, match=r"model mmmmmmmmmmmm fails its gate: gold release: slice yaw:45_up"):
        check_model_gate("m" * 64, judged, FLOORS)


def test_a_loss_counts_only_beyond_its_interval_and_beyond_what_is_allowed() -> None:
    lost = replace(BETTER, far=0.001, gain=-0.02, gain_low=-0.03, gain_high=-0.01)
    judged = replace(GOOD, rates=(BETTER, lost))
    assert len(failed_model_floors(judged, FLOORS)) == 1
    assert failed_model_floors(judged, FLOORS.model_copy(update={"allowed_loss": 0.015})) == []
    unsure = replace(lost, gain_high=0.001)
    assert failed_model_floors(replace(GOOD, rates=(BETTER, unsure)), FLOORS) == []


def test_what_the_evaluation_has_against_a_model_stands_first() -> None:
    worse = replace(SLICE, gain=-0.2, gain_low=-0.3, gain_high=-0.1, verdict="worse")
    judged = replace(GOOD, slices=(worse,), failed=("gold release: identities in training 1, at most 0",))
    found = failed_model_floors(judged, FLOORS)
    assert found[0] == "gold release: identities in training 1, at most 0"
    assert len(found) == 2


def test_a_slice_too_small_to_say_anything_is_no_objection() -> None:
    small = replace(SLICE, tar=None, gain=None, gain_low=None, gain_high=None, state="refused", refused="3 people")
    assert failed_model_floors(replace(GOOD, slices=(small,)), FLOORS) == []


def test_without_a_gain_that_is_shown_nothing_is_promoted_unless_params_say_so() -> None:
    same = replace(BETTER, gain=0.001, gain_low=-0.01, gain_high=0.01)
    refused = replace(BETTER, tar=None, gain=None, gain_low=None, gain_high=None, refused="too few pairs")
    for rates in ((same,), (refused,), ()):
        judged = replace(GOOD, rates=rates)
        assert failed_model_floors(judged, FLOORS) == [
            "no gain over the current model is shown at any FAR that the gold supports"
        ]
        assert failed_model_floors(judged, FLOORS.model_copy(update={"needs_gain": False})) == []


def test_a_model_of_a_slower_class_is_refused_and_without_a_class_nothing_is_judged() -> None:
    took = Latency(batch=8, candidate_ms=30.0, current_ms=10.0, ratio=3.0)
    slow = replace(GOOD, latency=took)
    assert failed_model_floors(slow, FLOORS) == []
    assert failed_model_floors(slow, FLOORS.model_copy(update={"max_latency_ratio": 3.0})) == []
    assert failed_model_floors(slow, FLOORS.model_copy(update={"max_latency_ratio": 2.0})) == [
        "a batch of 8 takes 3 times as long as the current model's (30 ms), at most 2"
    ]
