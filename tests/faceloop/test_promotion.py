"""What a release goes through before it is promoted: figures, purity, gate, and when one is due."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceloop.decision_tables import with_identity_log
from faceloop.jobs.submitting import job_request, opened_jobs
from faceloop.loop_params import DueParams, GateParams
from faceloop.params import read_params
from faceloop.promotion.due import ask_due, is_due, stock_of
from faceloop.promotion.figures import ReleaseFigures, SplitFigures, figures_of
from faceloop.promotion.gate import check_gate, failed_floors
from faceloop.promotion.parameter_sets import overrides_of
from faceloop.promotion.promoting import promote
from faceloop.promotion.purity import Checked, estimate_purity
from faceloop.runner import Workspace
from facestore.decisions import Review
from facestore.errors import ConfigError, DataError, StageError
from facestore.jobs import Job, JobEnd, Jobs, lease_name
from facestore.leases import Leases
from facestore.promotions import Mark, Promotions, Stock

from .release_world import face_name, released, with_decisions, with_faces
from .runner_world import ROOT

FLOORS = GateParams(identities=4, samples=24, purity=0.95)
WRONG_OVERRIDES = (
    ("embed.batch_size=4", "no KEY=VALUE"),
    ("pack.nothing=1", "no KEY=VALUE"),
    ("train=1", "no KEY=VALUE"),
    ("pack.seed=x", "pack.seed"),
    ("train.schedule.epochs=0.5", "train.schedule.epochs"),
)
DUE = DueParams(faces=10, decisions=5, days=7.0)
THEN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    return released(tmp_path / "root")


@pytest.fixture
def promotions(work: Workspace) -> Iterator[Promotions]:
    promotions = Promotions(work.ledger_url())
    yield promotions
    promotions.close()


def _trained(work: Workspace, jobs: Jobs) -> Job:
    """A train job of the published release that succeeded."""
    job = jobs.submit(job_request(work, "train", revision="abc", parameter_set="small_shards"), "local")
    leases = Leases(work.ledger_url())
    lease = leases.take(lease_name(job.job_id), 60)
    begun = jobs.begin(lease, job.job_id, None)
    assert begun is not None
    jobs.finish(lease, begun, JobEnd(state="succeeded", result={}), lambda: None)
    leases.give_back(lease)
    leases.close()
    return jobs.find(job.job_id)


def _figures(work: Workspace) -> ReleaseFigures:
    with opened_jobs(work) as jobs:
        return figures_of(work, jobs)


def test_a_release_is_measured(work: Workspace) -> None:
    found = _figures(work)
    assert (found.samples, found.identities, found.largest_identity_share) == (24, 4, 0.25)
    assert found.splits["train"] == SplitFigures(samples=12, identities=2)
    assert (found.identity_leaks, found.near_duplicate_leaks, found.not_compared) == (0, 0, 0)
    assert found.purity.share == pytest.approx(0.99)
    assert found.job_id is None


def test_what_lies_in_two_splits_is_counted(tmp_path: Path) -> None:
    splits = {"train": ("person-a", "person-b"), "val": ("person-a",), "test": ("person-d",)}
    leaking = released(tmp_path / "leak", splits=splits)  # type: ignore[arg-type]  # literals
    assert _figures(leaking).identity_leaks == 1
    assert any("two splits 1" in failed for failed in failed_floors(_figures(leaking), FLOORS))
    across = released(tmp_path / "across", alike=(0, 14))  # a face of train and one of val
    assert _figures(across).near_duplicate_leaks == 1
    within = released(tmp_path / "within", alike=(0, 1))
    assert _figures(within).near_duplicate_leaks == 0


def test_a_gate_names_every_floor_that_fails(work: Workspace) -> None:
    floors = GateParams(identities=5, samples=25, purity=0.995)
    with pytest.raises(StageError) as refused:
        check_gate(_figures(work), floors)
    for part in ("identities 4, floor 5", "samples 24, floor 25", "purity 0.99, floor 0.995"):
        assert part in str(refused.value)
    with opened_jobs(work) as jobs:
        _trained(work, jobs)
    check_gate(_figures(work), FLOORS)


def _reviewed(work: Workspace, right: int, wrong: int, confidence: float = 0.99) -> None:
    reviews = [
        Review(
            face_id=face_name("person-a", number), identity_id="person-a", confidence=confidence, run_id=f"r{number}",
            is_right=number < right, annotator="ann", reviewed_at=THEN + timedelta(seconds=number),
        )
        for number in range(right + wrong)
    ]  # fmt: skip
    with_identity_log(work, lambda log: log.append_reviews(reviews))


def test_reviews_take_the_purity_down_to_what_people_found(work: Workspace) -> None:
    _reviewed(work, right=17, wrong=3)
    purity = _figures(work).purity
    assert (purity.reviews, purity.reviewed_wrong, purity.machine_share) == (20, 3, 0.85)
    assert failed_floors(_figures(work), FLOORS)[0] == "purity 0.85, floor 0.95"


def test_reviews_of_labels_that_pack_would_not_take_say_nothing_of_it(work: Workspace) -> None:
    _reviewed(work, right=0, wrong=20, confidence=0.4)
    assert _figures(work).purity.reviews == 0


def test_what_people_said_is_not_judged_by_reviews_of_the_machine(tmp_path: Path) -> None:
    people = frozenset(face_name("person-a", number) for number in range(6))
    work = released(tmp_path / "root", by_people=people, confidence=1.0)
    _reviewed(work, right=5, wrong=5)
    purity = _figures(work).purity
    assert (purity.machine_samples, purity.machine_share) == (18, 0.5)
    assert purity.share == pytest.approx((6 + 9) / 24)


@given(
    confidence=st.lists(st.floats(0, 1), min_size=1, max_size=30),
    right=st.integers(0, 400),
    wrong=st.integers(0, 400),
    seed=st.integers(0, 9),
)
def test_purity_stays_between_what_is_believed_and_what_was_found(
    confidence: list[float], right: int, wrong: int, seed: int
) -> None:
    values = np.array(confidence)
    by_people = np.arange(len(values)) % 3 == 0
    checked = Checked(right=right, wrong=wrong)
    found = estimate_purity(values, by_people, checked, confidence_level=0.95)
    order = np.random.default_rng(seed).permutation(len(values))
    assert estimate_purity(values[order], by_people[order], checked, confidence_level=0.95) == found
    assert 0 <= found.share <= 1
    if right + wrong:
        rate = right / (right + wrong)
        assert found.machine_share <= max(rate, 0) + 1e-6
        assert found.proven_share <= rate + 1e-6
        assert found.machine_share >= min(found.mean_confidence, rate) - 1e-6
    else:
        assert found.machine_share == found.mean_confidence


def test_purity_of_unequal_shapes_is_refused() -> None:
    with pytest.raises(DataError, match="shape"):
        estimate_purity(np.ones(2), np.ones(3, np.bool_), Checked(right=0, wrong=0), confidence_level=0.9)


def _mark(faces: int = 100, decisions: int = 10, labels: str = "old") -> Mark:
    return Mark(stock=Stock(faces=faces, decisions=decisions, labels_digest=labels), at=THEN, answer=None)


@pytest.mark.parametrize(
    ("stock", "days", "why"),
    [
        (Stock(faces=109, decisions=14, labels_digest="new"), 6.9, ()),
        (Stock(faces=110, decisions=10, labels_digest="new"), 0, ("faces",)),
        (Stock(faces=90, decisions=10, labels_digest="new"), 0, ("faces",)),  # that many went
        (Stock(faces=100, decisions=15, labels_digest="new"), 0, ("decisions",)),
        (Stock(faces=100, decisions=10, labels_digest="new"), 7, ("days",)),
        (Stock(faces=100, decisions=10, labels_digest="old"), 70, ()),  # it would be the same release
        (Stock(faces=0, decisions=0, labels_digest=""), 70, ()),
    ],
)
def test_a_release_is_due_when_enough_came(stock: Stock, days: float, why: tuple[str, ...]) -> None:
    found = is_due(stock, _mark(), THEN + timedelta(days=days), DUE, is_forced=False)
    assert (found.due, found.why) == (bool(why), why)


def test_nothing_is_released_by_force_where_there_are_no_labels() -> None:
    none = Stock(faces=0, decisions=0, labels_digest="")
    assert not is_due(none, _mark(), THEN, DUE, is_forced=True).due


def test_a_run_that_was_told_yes_is_told_yes_again_and_the_next_is_not(work: Workspace, promotions: Promotions) -> None:
    assert stock_of(work).faces == 24
    first = ask_due(work, promotions, DUE, run_id="dag/1", is_forced=False)
    assert (first.due, first.why, first.faces) == (True, ("faces",), 24)
    with_faces(work, 30, without_crop=40)
    assert ask_due(work, promotions, DUE, run_id="dag/1", is_forced=False) == first
    second = ask_due(work, promotions, DUE, run_id="dag/2", is_forced=False)
    assert (second.due, second.faces) == (False, 6)
    with_decisions(work, 5)
    third = ask_due(work, promotions, DUE, run_id="dag/2", is_forced=False)
    assert (third.due, third.why, third.decisions) == (True, ("decisions",), 5)


def test_days_count_from_the_first_question_until_there_is_a_release(work: Workspace, promotions: Promotions) -> None:
    rare = DueParams(faces=10_000, decisions=10_000, days=1e-9)
    first = promotions.last_mark()
    ask_due(work, promotions, rare, run_id=None, is_forced=False)
    assert first is None
    later = ask_due(work, promotions, rare, run_id=None, is_forced=False)
    assert (later.why, later.faces) == (("days",), 24)


def test_a_release_is_promoted_once_with_its_job_and_figures(work: Workspace, promotions: Promotions) -> None:
    with opened_jobs(work) as jobs:
        job = _trained(work, jobs)
        done = promote(work, promotions, jobs, FLOORS, by="ann", job_id=job.job_id)
        assert (done.release, done.job_id, done.parameter_set, done.revision) == (
            job.inputs_digest, job.job_id, "small_shards", "abc",
        )  # fmt: skip
        assert isinstance(done.figures, dict)
        assert done.figures["samples"] == 24
        assert promote(work, promotions, jobs, FLOORS, by="bob", job_id=None) == done
    assert len(promotions.all()) == 1


def test_what_was_approved_is_promoted_and_not_what_lies_there_by_now(work: Workspace, promotions: Promotions) -> None:
    with opened_jobs(work) as jobs:
        approved = _trained(work, jobs)
        released(work.root, faces=7)
        _trained(work, jobs)
        with pytest.raises(StageError, match="approve that one"):
            promote(work, promotions, jobs, FLOORS, by="ann", job_id=approved.job_id)
        waiting = jobs.submit(job_request(work, "train", revision="d", parameter_set="default"), "local")
        with pytest.raises(StageError, match="is submitted"):
            promote(work, promotions, jobs, FLOORS, by="ann", job_id=waiting.job_id)
    assert promotions.current() is None


def test_faces_that_came_while_people_thought_count_for_the_next_release(
    work: Workspace, promotions: Promotions
) -> None:
    ask_due(work, promotions, DUE, run_id="dag/1", is_forced=False)
    with opened_jobs(work) as jobs:
        job = _trained(work, jobs)
        with_faces(work, 40)
        promote(work, promotions, jobs, FLOORS, by="ann", job_id=job.job_id)
    found = ask_due(work, promotions, DUE, run_id="dag/2", is_forced=False)
    assert (found.due, found.faces) == (True, 16)


def test_a_parameter_set_is_checked_before_it_is_used() -> None:
    tree = read_params(ROOT / "params.yaml")
    assert overrides_of(tree, "default") == ()
    assert overrides_of(tree, "small_shards") == ("pack.samples_per_shard=512",)
    longer = read_params(ROOT / "params.yaml", ["loop.parameter_sets={longer: ['train.schedule.epochs=9']}"])
    assert overrides_of(longer, "longer") == ("train.schedule.epochs=9",)
    with pytest.raises(ConfigError, match="default, small_shards"):
        overrides_of(tree, "tiny")
    for wrong, told in WRONG_OVERRIDES:
        spoiled = read_params(ROOT / "params.yaml", [f"loop.parameter_sets={{tiny: ['{wrong}']}}"])
        with pytest.raises(ConfigError, match=told):
            overrides_of(spoiled, "tiny")
