"""The known figure of real photos, by the whole chain of a frozen gold set: detector, alignment, recogniser, pairs."""

from pathlib import Path

import pytest

from faceloop.evaluation.embedding import embed_gold
from faceloop.evaluation.gold_sets import GoldSetParams, photos_of, read_gold_set
from faceloop.evaluation.pair_scores import score_pairs
from faceloop.evaluation.resampling import Draws
from faceloop.evaluation.verification import Support, verify
from faceloop.footage.limits import DecoderLimits
from faceloop.vision.choice import ModelParams

DATA = Path(__file__).parents[3] / "shared" / "data"

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.integration,
    pytest.mark.skipif(not DATA.is_dir(), reason="the development data is not beside the checkout"),
]


def test_photos_of_259_people_give_the_known_tar_and_refuse_what_they_cannot_show() -> None:
    params = GoldSetParams(
        name="dev", kind="folders", path=str(DATA / "faces_dev"), pairs_file=None,
        except_file=str(DATA / "faces_dev_label_errors.txt"), is_aligned=False,
    )  # fmt: skip
    model = ModelParams(pack="builtin", accept_licence=None, engine="openvino", precision="f32", provider="cpu")
    gold = read_gold_set(params, photos_of(params), model.detector(threads=2, min_score=0.7), DecoderLimits())
    assert gold.has_crop.sum() == len(gold) == 1083
    found = embed_gold(gold, model.recogniser(threads=2, batch_size=8))
    scores = score_pairs(found.vectors, gold.identity, gold.occasion, largest_far=0.001, most_listed=1_000_000)
    draws = Draws.seeded(259, replicates=200, seed=1, confidence=0.95)
    support = Support(least_false_accepts=30, least_people=3, least_genuine_pairs=30, least_identities=10)
    figures = verify(scores, draws, (0.001, 0.0001, 0.00001), support).figures
    assert figures.at[0].tar == pytest.approx(0.977, abs=0.003)
    assert figures.at[0].threshold == pytest.approx(0.352, abs=0.003)
    assert figures.at[0].interval is not None
    assert figures.at[0].interval.low < 0.977 < figures.at[0].interval.high
    assert [at.refused is None for at in figures.at] == [True, True, False]
