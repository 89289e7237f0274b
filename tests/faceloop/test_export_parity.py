"""The parity gate, on vectors whose answer is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from faceloop.export.pair_scores import acceptance, best_cut, grouping_f, is_genuine, pair_similarities
from faceloop.export.params import Gate
from faceloop.export.parity import measure, shortfalls
from faceloop.export.release_faces import choose_stratified
from faceloop.vision.arrays import Float32Array
from faceloop.vision.recogniser import Embeddings
from facestore.errors import DataError
from facestore.records import ReleaseSample

STRICT = Gate(cosine_mean=0.99, cosine_p01=0.99, cosine_min=0.99, drift_mean=0.01, tar_drop=0.0, f_drop=0.0)
PEOPLE = np.repeat(np.arange(3), 4)


def _unit(vectors: NDArray[np.floating]) -> Float32Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def _people(noise: float = 0.1) -> Float32Array:
    """Three people on three axes, four faces each."""
    return _unit(np.eye(8)[PEOPLE] + noise * np.random.default_rng(0).normal(size=(12, 8)))


def _embeddings(vectors: Float32Array) -> Embeddings:
    return Embeddings(vectors=vectors, is_valid=np.linalg.norm(vectors, axis=1) > 0.5)


def _measure(reference: Float32Array, found: Float32Array) -> tuple[str, ...]:
    parity = measure(_embeddings(reference), _embeddings(found), PEOPLE, far=0.1, least_false_accepts=1)
    return shortfalls(parity, STRICT)


def test_the_same_vectors_are_on_a_par() -> None:
    assert _measure(_people(), _people()) == ()


def test_a_rotation_of_everything_keeps_pairs_and_is_still_refused() -> None:
    """Stored vectors would no longer match new ones, though TAR and F are what they were."""
    turned = _people() @ np.roll(np.eye(8, dtype=np.float32), 3, axis=1)
    reasons = _measure(_people(), turned)
    assert [reason.split()[0] for reason in reasons] == ["cosine_mean", "cosine_p01", "cosine_min"]


def test_one_face_that_went_astray_shows_in_the_least_cosine_only_as_far_as_it_matters() -> None:
    found = _people().copy()
    found[0] = -found[0]
    reasons = " ".join(_measure(_people(), found))
    assert "cosine_min" in reasons
    assert "TAR" in reasons


def test_a_face_that_lost_its_vector_is_a_reason() -> None:
    found = _people().copy()
    found[5] = 0
    assert _measure(_people(), found)[0] == "1 faces lost their vector"


def test_vectors_that_all_fell_together_are_refused_by_groups_and_pairs() -> None:
    reasons = " ".join(_measure(_people(), _unit(_people() + 3)))
    assert "drift_mean" in reasons
    assert "clustering F fell" in reasons


def test_nothing_embedded_is_an_error() -> None:
    none = _embeddings(np.zeros((12, 8), dtype=np.float32))
    with pytest.raises(DataError, match="no face could be embedded by both"):
        measure(none, none, PEOPLE, far=0.1, least_false_accepts=1)


def test_a_false_accept_rate_that_the_pairs_cannot_support_is_raised_and_named() -> None:
    similarities = pair_similarities(_people())
    found = acceptance(similarities, is_genuine(PEOPLE), far=1e-4, least_false_accepts=12)
    assert found is not None
    assert found.far == pytest.approx(12 / 48)
    assert found.tar == 1.0


def test_without_pairs_of_two_people_there_is_no_acceptance() -> None:
    assert acceptance(np.ones(3), np.ones(3, dtype=np.bool_), far=0.1, least_false_accepts=1) is None


@given(st.integers(0, 10_000), st.floats(0.001, 0.5))
def test_no_more_impostor_pairs_pass_than_the_rate_says(seed: int, far: float) -> None:
    generator = np.random.default_rng(seed)
    similarities = np.round(generator.uniform(-1, 1, size=200), 1)  # many ties
    genuine = generator.uniform(size=200) < 0.3
    found = acceptance(similarities, genuine, far=far, least_false_accepts=1)
    if found is not None:
        impostors = similarities[~genuine]
        assert (impostors > found.threshold).sum() <= found.far * len(impostors)
        assert found.tar == (similarities[genuine] > found.threshold).mean()


def test_the_cut_lies_in_the_middle_of_what_is_as_good() -> None:
    """Faces of a person are at cosine 1, others at 0: everything between groups them right."""
    vectors = np.eye(8, dtype=np.float32)[PEOPLE]
    assert best_cut(vectors, PEOPLE) == pytest.approx(0.48, abs=0.03)
    assert grouping_f(vectors, PEOPLE, cut=0.5) == 1.0
    assert grouping_f(vectors[:1], PEOPLE[:1], cut=0.5) == 1.0


def _sample(number: int, quality: float) -> ReleaseSample:
    return ReleaseSample(
        split="train", shard="s", row=number, face_id=f"f{number}", footage_id="f", identity_id="p", class_index=0,
        confidence=1.0, quality=quality, sha256="",
    )  # fmt: skip


@given(
    st.lists(st.floats(0, 1), min_size=0, max_size=40),
    st.integers(1, 6),
    st.integers(1, 50),
    st.randoms(use_true_random=False),
)
def test_the_choice_is_even_over_quality_and_knows_no_order(
    qualities: list[float], strata: int, count: int, random: object
) -> None:
    samples = [_sample(number, quality) for number, quality in enumerate(qualities)]
    chosen = choose_stratified(samples, strata=strata, count=count, seed=3)
    assert len(chosen) == min(count, len(samples))
    assert len({sample.face_id for sample in chosen}) == len(chosen)
    shuffled = samples.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis' own random.Random
    assert choose_stratified(shuffled, strata=strata, count=count, seed=3) == chosen


def test_dark_and_sharp_faces_are_both_calibrated_on() -> None:
    samples = [_sample(number, number / 100) for number in range(100)]
    chosen = choose_stratified(samples, strata=4, count=8, seed=1)
    assert [int(sample.quality * 4) for sample in chosen] == [0, 0, 1, 1, 2, 2, 3, 3]
