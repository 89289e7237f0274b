"""1:N in an open set: who is enrolled, what a search returns, rates as NIST defines them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceloop.evaluation import identification
from faceloop.evaluation.identification import Fusion, Searches, enrol, identify, search
from faceloop.evaluation.resampling import Draws
from faceloop.evaluation.verification import Support
from facestore.errors import DataError

from .evaluation_world import gold_with, people

LENIENT = Support(least_false_accepts=0, least_people=0, least_genuine_pairs=1, least_identities=1)
STRICT = Support(least_false_accepts=30, least_people=3, least_genuine_pairs=30, least_identities=10)


def _draws(identities: int) -> Draws:
    return Draws.seeded(identities, replicates=100, seed=2, confidence=0.95)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["mean", "max"]), st.integers(1, 3), st.integers(2, 12))
def test_a_search_in_blocks_finds_what_a_search_one_by_one_finds(
    seed: int, fusion: Fusion, templates: int, identities: int
) -> None:
    vectors, identity = people(identities, 5, noise=1.0, dimension=8, seed=seed)
    enrolment = enrol(gold_with(identity), unmated_share=0.4, templates=templates, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identification, "_PROBES", 7)
        patch.setattr(identification, "_GALLERY", 4)
        found = search(vectors, identity, enrolment, fusion)
    wide = vectors.astype(np.float64)

    def score(probe: int, who: int) -> float:
        rows = enrolment.gallery_rows[enrolment.gallery_identity == who]
        if fusion == "max":
            return float((wide[rows] @ wide[probe]).max())
        mean = wide[rows].sum(axis=0)
        return float(mean @ wide[probe] / np.linalg.norm(mean))

    enrolled = np.unique(enrolment.gallery_identity)
    for place, probe in enumerate(enrolment.mated_rows.tolist()):
        scores = {int(who): score(probe, int(who)) for who in enrolled}
        mate = scores[int(identity[probe])]
        assert found.mate_score[place] == pytest.approx(mate, abs=1e-5)
        better = sum(other > mate + 1e-5 for other in scores.values())
        assert better + 1 <= found.mate_rank[place] <= sum(other >= mate - 1e-5 for other in scores.values())
    for place, probe in enumerate(enrolment.unmated_rows.tolist()):
        top = max((score(probe, int(who)) for who in enrolled), default=-1.0)
        assert found.top_score[place] == pytest.approx(top, abs=1e-5)


def test_nobody_searches_by_the_face_or_the_occasion_that_is_enrolled() -> None:
    _, identity = people(30, 6, noise=0.1)
    gold = gold_with(identity, np.arange(180) // 2)
    found = enrol(gold, unmated_share=0.5, templates=2, seed=4)
    gallery = set(gold.occasion[found.gallery_rows].tolist())
    assert gallery.isdisjoint(gold.occasion[found.mated_rows].tolist())
    assert set(identity[found.unmated_rows].tolist()).isdisjoint(found.gallery_identity.tolist())
    assert (np.bincount(found.gallery_identity)[np.unique(found.gallery_identity)] == 2).all()
    assert 0 < len(np.unique(found.gallery_identity)) < 30


def test_who_is_a_stranger_does_not_change_when_others_come() -> None:
    few = enrol(gold_with(people(20, 3, noise=0.1)[1]), unmated_share=0.5, templates=1, seed=4)
    many = enrol(gold_with(people(40, 3, noise=0.1)[1]), unmated_share=0.5, templates=1, seed=4)
    assert set(few.gallery_identity.tolist()) == {who for who in many.gallery_identity.tolist() if who < 20}


def test_the_rates_are_those_of_a_case_counted_by_hand() -> None:
    searches = Searches(
        mated_identity=np.array([0, 0, 1, 1]),
        mate_score=np.array([0.9, 0.5, 0.8, 0.7], np.float32),
        mate_rank=np.array([1, 1, 2, 1]),
        unmated_identity=np.array([2, 2, 3, 3]),
        top_score=np.array([0.6, 0.4, 0.3, 0.2], np.float32),
        enrolled=2,
    )
    found = identify(searches, _draws(4), (0.1, 0.25, 0.5), LENIENT, templates=2, ranks=2).figures
    assert found.rank_one == 0.75
    assert found.cmc == (0.75, 1.0)
    # No stranger may pass: above 0.6, where 0.5 is missed, and 0.8 came second. One may: above 0.4.
    assert [at.fnir for at in found.at] == [0.5, 0.25, 0.25]


def test_too_few_strangers_refuse_a_rate_and_too_few_enrolled_refuse_all() -> None:
    vectors, identity = people(40, 5, noise=0.3)
    found = search(vectors, identity, enrol(gold_with(identity), unmated_share=0.5, templates=1, seed=1), "mean")
    at = identify(found, _draws(40), (0.5, 0.01), STRICT, templates=1, ranks=1).figures.at
    assert at[0].fnir is not None
    assert at[1].fnir is None
    assert "false accepts to be expected, 30 are needed" in str(at[1].refused)
    vectors, identity = people(6, 5, noise=0.3)
    found = search(vectors, identity, enrol(gold_with(identity), unmated_share=0.5, templates=1, seed=1), "mean")
    few = identify(found, _draws(6), (0.5,), STRICT, templates=1, ranks=3).figures
    assert (few.rank_one, few.cmc, few.at[0].fnir) == (None, (), None)


def test_an_empty_gallery_and_no_template_are_said() -> None:
    vectors, identity = people(3, 2, noise=0.1)
    nobody = enrol(gold_with(identity), unmated_share=1.0, templates=1, seed=1)
    found = search(vectors, identity, nobody, "mean")
    assert found.enrolled == 0
    assert found.top_score.tolist() == [-1.0] * 6
    with pytest.raises(DataError, match="enrol at least 1"):
        enrol(gold_with(identity), unmated_share=0.5, templates=0, seed=1)
