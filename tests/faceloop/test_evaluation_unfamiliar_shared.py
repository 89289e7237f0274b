"""Unfamiliar pictures of real, consenting people, where the development data lies beside the checkout."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from faceloop.evaluation.unfamiliar import KnownCrops, unfamiliar_of
from faceloop.evaluation.unfamiliar_figures import GENUINE
from faceloop.evaluation.unfamiliar_params import UnfamiliarParams
from faceloop.vision.align import align_crop
from faceloop.vision.choice import ModelParams

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "faces_consented"
PEOPLE = 16

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.integration,
    pytest.mark.skipif(not DATA.is_dir(), reason="the development data is not beside the checkout"),
]


def test_no_thing_passes_the_door_and_statues_and_things_are_told_from_people() -> None:
    model = ModelParams(pack="builtin", accept_licence=None, engine="openvino", precision="f32", provider="cpu")
    detector = model.detector(threads=1, min_score=0.7)
    photos = [photo for folder in sorted(DATA.iterdir())[:PEOPLE] for photo in sorted(folder.glob("*.jpg"))]
    crops = []
    for photo in photos:
        picture = np.asarray(cv2.imread(str(photo)), np.uint8)
        crops.append(align_crop(picture, detector.detect(picture, long_side_px=640).landmarks_px[0]))
    known = KnownCrops(
        face_ids=tuple(f"{photo.parent.name}/{photo.name}" for photo in photos),
        identity_ids=tuple(photo.parent.name for photo in photos),
        crops_rgb=np.stack(crops),
    )
    params = UnfamiliarParams(seed=3, pictures_per_kind=9, most_known=100, min_quality=0.15, confidence_level=0.95)
    recogniser = model.recogniser(threads=1, batch_size=8)
    found = {kind.kind: kind for kind in unfamiliar_of(known, recogniser, detector, params, threshold=0.352).kinds}
    genuine, nothing = found[GENUINE], found["no_face"]
    assert genuine.known_let_in.hits == genuine.pictures == PEOPLE
    assert nothing.passed is not None
    assert nothing.passed.hits == 0
    for kind in ("no_face", "statue"):
        auroc = found[kind].auroc_similarity
        assert auroc is not None
        assert auroc > 0.95
