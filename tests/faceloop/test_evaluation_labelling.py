"""Labelling quality: two recognisers on the same gold faces, in a world whose people lie on random axes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from faceloop.evaluation.chapters import labelling_chapter, labelling_metrics
from faceloop.evaluation.labelling import labelling_failures, labelling_quality
from faceloop.evaluation.labelling_figures import GoldFace, LabellingFigures, ModelVectors
from faceloop.evaluation.labelling_params import AskedParams, ClusteringParams, LabellingParams
from faceloop.params import read_params
from facestore.errors import DataError

CLUSTERING = ClusteringParams(
    neighbours=16, micro_sigmas=7.4, within_sigmas=4.0, across_sigmas=3.7, attach_sigmas=2.3, attach_margin_sigmas=0.6,
    min_quality=0.4, full_quality=0.6, quality_toll_sigmas=0.0, hubness_share=1.0, hubness_sigmas=3.0,
    hubness_skipped=2, hubness_cohort=20, hubness_prior=5, confidence_scale_sigmas=0.55, flat_rows_max=20000, probes=4,
    block_rows=2048,
)  # fmt: skip
ASKED = AskedParams(target_f=0.99, most=0, batch=5, neighbours=8, certainty=0.9, lowest_chance=0.02, seconds=4.0)
PARAMS = LabellingParams(
    seed=1, resamples=200, level=0.95, few_identities=20, sure_confidence=0.5, clustering=CLUSTERING, asked=ASKED
)
PEOPLE, EACH, DIMENSION = 60, 3, 64


def gold_of(people: int = PEOPLE) -> list[GoldFace]:
    return [
        GoldFace(face_id=f"f{n:04}", tracklet_id=f"t{n:04}", subset="a", identity_id=f"p{n // EACH:03}", quality=0.9)
        for n in range(people * EACH)
    ]


def vectors_of(noise: float, *, people: int = PEOPLE, seed: int = 1, name: str = "m") -> ModelVectors:
    rng = np.random.default_rng(seed)
    axes = rng.normal(size=(people, DIMENSION))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    looks = np.repeat(axes, EACH, axis=0)
    moved = rng.normal(size=looks.shape)
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    found = looks + noise * moved
    unit = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    return ModelVectors(contract_id=name, vectors=unit, is_valid=np.ones(len(unit), np.bool_))


def rows(side: ModelVectors, order: NDArray[np.int64]) -> ModelVectors:
    return ModelVectors(
        contract_id=side.contract_id, vectors=side.vectors[order].copy(), is_valid=side.is_valid[order].copy()
    )


def compared(before: float, after: float, params: LabellingParams = PARAMS) -> LabellingFigures:
    return labelling_quality(gold_of(), vectors_of(before, name="old"), vectors_of(after, name="new"), params)


def test_a_clearer_model_is_better_a_blurred_one_worse_and_only_the_worse_fails_the_gate() -> None:
    better, worse = compared(1.2, 0.3), compared(0.3, 1.2)
    assert better.candidate is not None
    assert better.candidate.bcubed_f == pytest.approx(1.0)
    assert better.bcubed_f is not None
    assert better.bcubed_f.interval.low > 0
    assert (better.verdict, worse.verdict) == ("better", "worse")
    assert labelling_failures(better) == []
    (failure,) = labelling_failures(worse)
    assert failure.startswith("labelling BCubed F -")


def test_equal_vectors_differ_by_exactly_nothing_because_draws_are_paired() -> None:
    found = compared(0.9, 0.9)
    assert found.bcubed_f is not None
    assert (found.bcubed_f.value, found.bcubed_f.interval.low, found.bcubed_f.interval.high) == (0.0, 0.0, 0.0)
    assert found.verdict == "no_difference_shown"


def test_with_few_people_figures_are_given_and_nothing_is_claimed() -> None:
    few = PARAMS.model_copy(update={"few_identities": PEOPLE + 1})
    found = compared(0.3, 1.2, few)
    assert found.verdict == "too_few_identities"
    assert found.candidate is not None
    assert labelling_failures(found) == []
    assert f"{PEOPLE + 1} people are the least" in found.said


def test_with_too_few_people_to_calibrate_both_are_calibrated_on_known_strangers() -> None:
    people = 4
    gold, side = gold_of(people), vectors_of(0.3, people=people)
    found = labelling_quality(gold, side, side, PARAMS)
    assert found.current is not None
    assert found.current.calibration.startswith("pairs of the gold people themselves")
    assert found.current.bcubed_f == pytest.approx(1.0)


def test_one_person_is_not_clustered_and_said_so() -> None:
    side = vectors_of(0.3, people=1)
    found = labelling_quality(gold_of(1), side, side, PARAMS)
    assert found.current is None
    assert found.said.startswith("Not measured: 3 gold faces of 1 people")


def test_the_order_of_the_faces_changes_nothing() -> None:
    gold, old, new = gold_of(), vectors_of(0.9), vectors_of(1.1, seed=2)
    order = np.random.default_rng(5).permutation(len(gold))
    turned = labelling_quality([gold[row] for row in order], rows(old, order), rows(new, order), PARAMS)
    assert turned == labelling_quality(gold, old, new, PARAMS)


def test_faces_without_a_vector_count_for_neither_side() -> None:
    gold, old, new = gold_of(), vectors_of(0.5), vectors_of(0.5)
    old.is_valid[0] = False
    new.vectors[1] = 0
    found = labelling_quality(gold, old, new, PARAMS)
    assert (found.left_out, found.faces) == (2, len(gold) - 2)
    assert found.bcubed_f is not None
    assert found.bcubed_f.value == 0.0


def test_a_tracklet_is_one_template_unless_people_gave_it_to_two_identities() -> None:
    gold = [replace(face, tracklet_id=f"t{face.identity_id}") for face in gold_of()]
    gold[1] = replace(gold[1], tracklet_id=gold[-1].tracklet_id)  # held by two people
    side = vectors_of(0.3)
    found = labelling_quality(gold, side, side, PARAMS)
    assert found.current is not None
    assert found.current.bcubed_f == pytest.approx(1.0)


def test_a_blurred_model_asks_more_questions_until_the_target() -> None:
    asked = PARAMS.model_copy(update={"asked": ASKED.model_copy(update={"most": 60, "batch": 10})})
    found = compared(0.3, 1.2, asked)
    assert found.current is not None
    assert found.candidate is not None
    assert (found.current.questions, found.current.minutes) == (0, 0.0)
    assert found.candidate.questions is None or found.candidate.questions > 0


def test_vectors_that_are_not_one_a_face_and_repeated_faces_are_refused() -> None:
    gold, side = gold_of(), vectors_of(0.3)
    with pytest.raises(DataError, match="embed them all"):
        labelling_quality(gold[:-1], side, side, PARAMS)
    with pytest.raises(DataError, match="given twice"):
        labelling_quality([gold[0], *gold[:-1]], side, side, PARAMS)


def test_the_shipped_numbers_are_those_of_the_sections_that_they_copy() -> None:
    tree = read_params(Path(__file__).parents[2] / "params.yaml")
    cluster, select, pack, evaluate = (tree[name] for name in ("cluster", "select", "pack", "evaluate"))
    assert isinstance(cluster, dict) and isinstance(select, dict) and isinstance(pack, dict)
    assert isinstance(evaluate, dict)
    labelling = LabellingParams.model_validate(evaluate["labelling"])
    for name, value in labelling.clustering.model_dump().items():
        assert cluster[name] == value, name
    for name in ("neighbours", "certainty", "lowest_chance"):
        assert select[name] == getattr(labelling.asked, name)
    assert pack["min_confidence"] == labelling.sure_confidence


def test_a_chapter_and_metrics_say_both_sides_and_the_gain() -> None:
    found = compared(1.2, 0.3)
    fragment = labelling_chapter(found).fragment
    assert "The candidate labels better" in fragment
    assert "<td>questions to pairwise F 0.99</td><td class=n>not asked</td>" in fragment
    metrics = labelling_metrics(found)
    assert metrics["labelling.candidate.bcubed_f"] == 1.0
    assert isinstance(metrics["labelling.gain.bcubed_f.low"], float)
    assert "labelling.candidate.questions" not in metrics
    nothing = labelling_quality(gold_of(1), vectors_of(0.3, people=1), vectors_of(0.3, people=1), PARAMS)
    assert labelling_metrics(nothing) == {}
