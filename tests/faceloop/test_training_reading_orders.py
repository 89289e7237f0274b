"""Orders: what a step holds depends on seed, epoch and step alone, and holds what its sampler says."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceloop.training.reading.labels import SplitLabels
from faceloop.training.reading.order import Balanced, Order, PerIdentity, Sampler, Shuffled, order_of
from facestore.errors import ConfigError

CLASSES = [0] * 9 + [1] * 5 + [2] * 2 + [3] + [4] * 3


def _labels(classes: list[int], confidence: list[float] | None = None) -> SplitLabels:
    sure = np.full(len(classes), 0.9) if confidence is None else np.array(confidence)
    return SplitLabels(
        class_index=np.array(classes, np.int64),
        confidence=sure.astype(np.float32),
        quality=np.ones(len(classes), np.float32),
        digests=bytes(32 * len(classes)),
    )


def _order(sampler: Sampler, classes: list[int], batch_size: int, seed: int = 0) -> Order:
    return order_of(sampler, _labels(classes), batch_size=batch_size, seed=seed)


def _epoch(order: Order, epoch: int = 0) -> list[list[int]]:
    return [order.rows(epoch, step).tolist() for step in range(order.steps_per_epoch)]


SAMPLERS = st.one_of(
    st.builds(Shuffled, buffer_samples=st.none() | st.integers(1, 40), run_samples=st.integers(1, 12)),
    st.builds(Balanced, is_confidence_weighted=st.booleans()),
    st.builds(PerIdentity, samples_per_identity=st.sampled_from([2, 4]), is_confidence_weighted=st.booleans()),
)


@given(sampler=SAMPLERS, seed=st.integers(0, 2**31), epoch=st.integers(0, 50), visits=st.permutations(range(5)))
def test_a_step_is_the_same_whatever_was_asked_before(
    sampler: Sampler, seed: int, epoch: int, visits: list[int]
) -> None:
    whole = _order(sampler, CLASSES, 4, seed)
    expected = [whole.rows(epoch, step).tolist() for step in range(5)]
    resumed = pickle.loads(pickle.dumps(whole))  # noqa: S301  # our own bytes
    fresh = _order(sampler, CLASSES, 4, seed)
    for step in visits:
        assert resumed.rows(epoch, step).tolist() == expected[step]
        assert fresh.rows(epoch, step).tolist() == expected[step]
        fresh.rows(epoch + 1, step)


@given(
    samples=st.integers(1, 80),
    batch=st.integers(1, 20),
    buffer=st.none() | st.integers(1, 100),
    run=st.integers(1, 30),
    seed=st.integers(0, 9),
)
def test_shuffled_shows_no_sample_twice_and_leaves_out_less_than_a_batch(
    samples: int, batch: int, buffer: int | None, run: int, seed: int
) -> None:
    order = _order(Shuffled(buffer_samples=buffer, run_samples=run), [0] * samples, batch, seed)
    seen = [row for rows in _epoch(order) for row in rows]
    assert all(0 <= row < samples for row in seen)
    if batch <= samples:
        assert len(set(seen)) == len(seen) > samples - batch
    else:
        assert set(seen) == set(range(samples))
        assert len(seen) == batch


def test_epochs_and_seeds_differ_in_order() -> None:
    order = _order(Shuffled(), [0] * 64, 64)
    assert order.rows(0, 0).tolist() != order.rows(1, 0).tolist()
    assert order.rows(0, 0).tolist() != _order(Shuffled(), [0] * 64, 64, seed=1).rows(0, 0).tolist()


def test_a_buffer_reads_few_runs_at_a_time_and_mixes_them() -> None:
    order = _order(Shuffled(buffer_samples=200, run_samples=50), [0] * 1000, 200)
    for rows in _epoch(order):
        runs = np.unique(np.array(rows) // 50)
        assert len(runs) == 4
        assert rows != sorted(rows)
        assert np.count_nonzero(np.diff(np.array(rows) // 50)) > 100


@given(seed=st.integers(0, 1000), epoch=st.integers(0, 5))
def test_balanced_shows_every_identity_equally_often_and_its_samples_in_turn(seed: int, epoch: int) -> None:
    order = _order(Balanced(), CLASSES, 5, seed)
    assert order.steps_per_epoch == 4
    seen = [row for rows in _epoch(order, epoch) for row in rows]
    shown = np.bincount(np.array(CLASSES)[seen], minlength=5)
    assert shown.tolist() == [4, 4, 4, 4, 4]
    for identity in range(5):
        rows = [row for row in seen if CLASSES[row] == identity]
        assert len(set(rows)) == min(4, CLASSES.count(identity))


@given(seed=st.integers(0, 1000), step=st.integers(0, 40))
def test_each_batch_of_identities_holds_p_different_ones_of_k_samples(seed: int, step: int) -> None:
    order = _order(PerIdentity(samples_per_identity=2), CLASSES, 6, seed)
    rows = order.rows(3, step)
    identities = np.array(CLASSES)[rows].reshape(3, 2)
    assert (identities[:, 0] == identities[:, 1]).all()
    assert len(set(identities[:, 0])) == 3
    assert 3 not in identities  # it has one sample only
    assert len(set(rows.tolist())) == 6  # and nobody else needs to repeat one


def test_an_identity_of_one_sample_repeats_it_where_it_is_let_in() -> None:
    order = _order(PerIdentity(samples_per_identity=4, least_samples=1), [0, 1, 1, 1, 1], 8)
    rows = order.rows(0, 0).reshape(2, 4).tolist()
    assert sorted(map(sorted, rows)) == [[0, 0, 0, 0], [1, 2, 3, 4]]


def test_surer_labels_come_first_when_weighted() -> None:
    sure, doubtful = [0.99] * 20, [0.01] * 20
    labels = _labels([0] * 40 + [1] * 40, (sure + doubtful) * 2)
    order = order_of(Balanced(is_confidence_weighted=True), labels, batch_size=20, seed=4)
    early = np.concatenate([order.rows(epoch, 0) for epoch in range(10)])
    assert (early % 40 < 20).mean() > 0.9


@pytest.mark.parametrize(
    ("sampler", "batch_size", "message"),
    [
        (PerIdentity(samples_per_identity=4), 6, "no multiple"),
        (PerIdentity(samples_per_identity=1), 4, "≥ 2"),
        (PerIdentity(samples_per_identity=2), 12, "the split has 4"),
        (Shuffled(buffer_samples=0), 4, "at least 1"),
    ],
)
def test_a_sampler_that_cannot_fill_a_batch_is_refused(sampler: Sampler, batch_size: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _order(sampler, CLASSES, batch_size)
