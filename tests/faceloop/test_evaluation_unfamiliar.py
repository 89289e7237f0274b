"""Unfamiliar pictures: made by seed, shown to a small world of coloured faces whose answers are computable."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from faceloop.evaluation.chapters import unfamiliar_chapter, unfamiliar_lines, unfamiliar_metrics
from faceloop.evaluation.unfamiliar import KnownCrops, unfamiliar_of
from faceloop.evaluation.unfamiliar_figures import GENUINE, UnfamiliarFigures, auroc, upper_bound
from faceloop.evaluation.unfamiliar_params import UnfamiliarParams
from faceloop.evaluation.unfamiliar_picture import save_unfamiliar
from faceloop.evaluation.unfamiliar_set import KINDS, NO_FACE, make_unfamiliar
from faceloop.vision.align import ARCFACE_TEMPLATE_PX
from faceloop.vision.contract import EmbeddingContract
from faceloop.vision.detections import Detections
from faceloop.vision.recogniser import Recogniser
from facestore.errors import DataError

UInt8Array = NDArray[np.uint8]
PARAMS = UnfamiliarParams(seed=3, pictures_per_kind=6, most_known=100, min_quality=0.0, confidence_level=0.95)


class _MeanColour:
    """A recogniser's session: a face is its mean colour around grey."""

    input_shape: tuple[int | None, ...] = (None, 3, 112, 112)
    output_shapes: tuple[tuple[int | None, ...], ...] = ((None, 3),)

    def run(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return [(batch.mean(axis=(2, 3)) - 110).astype(np.float32)]


class _Door:
    """A detector that finds one face in the middle of what is shown, or none."""

    def __init__(self, *, is_open: bool) -> None:
        self.is_open = is_open
        self.asked = 0

    def detect(self, image_bgr: UInt8Array, *, long_side_px: int) -> Detections:
        self.asked += 1
        count = int(self.is_open)
        landmarks = (ARCFACE_TEMPLATE_PX * 2 + (long_side_px - 224) / 2).astype(np.float32)
        box = np.array([[100, 90, 300, 310]], np.float32)
        return Detections(
            boxes_xyxy_px=box[:count],
            landmarks_px=landmarks[None][:count],
            scores=np.array([0.9], np.float32)[:count],
        )


def recogniser() -> Recogniser:
    contract = EmbeddingContract(
        pack_id="colour", recogniser_sha256="0", alignment="arcface-112-5pt", colour="RGB", mean=0.0, std=1.0,
        dimension=3, precision="f32",
    )  # fmt: skip
    return Recogniser(_MeanColour(), contract=contract, batch_size=8)


def world(people: int = 3, each: int = 4) -> KnownCrops:
    rng = np.random.default_rng(1)
    colours = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200], [200, 200, 40]])[:people]
    crops = [
        np.clip(colour + rng.normal(0, 12, (112, 112, 3)), 0, 255).astype(np.uint8)
        for colour in colours
        for _ in range(each)
    ]
    return KnownCrops(
        face_ids=tuple(f"f{n:02}" for n in range(len(crops))),
        identity_ids=tuple(f"p{n // each}" for n in range(len(crops))),
        crops_rgb=np.stack(crops),
    )


def test_pictures_are_the_same_by_seed_differ_by_seed_and_people_take_turns() -> None:
    known = world()
    identities = [int(name[1]) for name in known.identity_ids]

    def made(seed: int) -> list[tuple[str, int, bytes]]:
        found = make_unfamiliar(known.crops_rgb, identities, pictures_per_kind=6, seed=seed)
        return [(picture.kind, picture.row, picture.crop_rgb.tobytes()) for picture in found]

    assert made(1) == made(1)
    assert made(1) != made(2)
    rows = [row for kind, row, _ in made(1) if kind == "mask"]
    assert sorted(identities[row] for row in rows) == [0, 0, 1, 1, 2, 2]
    assert {kind for kind, _, _ in made(1)} == set(KINDS)


def test_every_made_picture_is_an_aligned_crop_that_differs_from_its_source() -> None:
    known = world()
    for picture in make_unfamiliar(known.crops_rgb, [0] * 12, pictures_per_kind=6, seed=5):
        assert picture.crop_rgb.shape == (112, 112, 3)
        assert picture.crop_rgb.dtype == np.uint8
        if picture.row >= 0:
            moved = np.abs(picture.crop_rgb.astype(int) - known.crops_rgb[picture.row].astype(int)).mean()
            assert moved > 3
        else:
            assert picture.kind == NO_FACE


def test_without_crops_only_pictures_of_nobody_are_made() -> None:
    made = make_unfamiliar(np.empty((0, 112, 112, 3), np.uint8), [], pictures_per_kind=4, seed=1)
    assert [picture.kind for picture in made] == [NO_FACE] * 4


def figures(door: _Door | None, threshold: float = 0.9, known: KnownCrops | None = None) -> UnfamiliarFigures:
    return unfamiliar_of(known or world(), recogniser(), door, PARAMS, threshold=threshold)


def test_genuine_probes_are_known_and_nothing_is_false_behind_a_shut_door() -> None:
    door = _Door(is_open=False)
    found = {kind.kind: kind for kind in figures(door).kinds}
    genuine = found[GENUINE]
    assert genuine.pictures == 6  # every other crop of each of three people
    assert genuine.known_let_in.hits == 6
    assert all(kind.false_at_door is not None and kind.false_at_door.hits == 0 for kind in found.values())
    assert all(kind.detected is not None and kind.detected.hits == 0 for kind in found.values())
    assert door.asked == 6 + 5 * 6


def test_grey_plaster_of_nobodys_colour_is_told_from_genuine_probes() -> None:
    found = {kind.kind: kind for kind in figures(None).kinds}
    assert found["statue"].known_let_in.hits == 0
    assert found["statue"].auroc_similarity == 1.0
    assert found["statue"].detected is None
    assert found["statue"].false_at_door is None


def test_at_a_threshold_that_takes_everybody_a_picture_of_nobody_is_false_and_a_drawing_only_of_others() -> None:
    found = {kind.kind: kind for kind in figures(_Door(is_open=True), threshold=-1.0).kinds}
    nothing = found[NO_FACE]
    assert nothing.false_let_in.hits == nothing.pictures == 6
    assert nothing.false_at_door is not None
    assert nothing.false_at_door.hits == 6
    for kind in found.values():
        assert kind.false_let_in.hits + kind.known_let_in.hits == kind.pictures


def test_the_order_of_the_faces_changes_nothing() -> None:
    known = world()
    back = KnownCrops(
        face_ids=known.face_ids[::-1], identity_ids=known.identity_ids[::-1], crops_rgb=known.crops_rgb[::-1].copy()
    )
    assert figures(None).kinds == figures(None, known=back).kinds


def test_the_gallery_never_holds_the_crop_that_a_picture_was_made_from() -> None:
    lone = KnownCrops(
        face_ids=("a", "b", "c"), identity_ids=("p", "p", "q"), crops_rgb=world(each=1).crops_rgb[[0, 0, 1]]
    )
    found = figures(None, known=lone)
    assert found.people == 2
    assert sum(sight.kind == GENUINE for sight in found.sights) == 1  # the second crop of p; q is gallery alone


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_auroc_is_the_share_of_pairs_in_the_right_order(high: Sequence[int], low: Sequence[int]) -> None:
    slow = np.mean([(a > b) + 0.5 * (a == b) for a in high for b in low])
    assert auroc(high, low) == pytest.approx(slow)


def test_no_hits_of_a_hundred_are_compatible_with_three_percent() -> None:
    assert upper_bound(0, 100, 0.95) == pytest.approx(0.02951, abs=1e-4)
    assert upper_bound(5, 5, 0.95) == 1.0
    assert upper_bound(0, 0, 0.95) == 1.0


def test_crops_that_do_not_match_their_faces_are_refused() -> None:
    known = world()
    with pytest.raises(DataError, match="given twice"):
        KnownCrops(face_ids=("a",) * 12, identity_ids=known.identity_ids, crops_rgb=known.crops_rgb)
    with pytest.raises(DataError, match="at least two faces"):
        KnownCrops(face_ids=("a",), identity_ids=("p",), crops_rgb=known.crops_rgb[:1])


def test_the_contact_sheet_is_the_same_every_time(tmp_path: Path) -> None:
    found = figures(_Door(is_open=True))
    for name in ("a.png", "b.png"):
        save_unfamiliar(found, tmp_path / name)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] == 780
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_chapter_metrics_and_card_agree_on_what_was_false_and_what_was_not_asked() -> None:
    found = figures(None, threshold=-1.0)
    assert "not asked" in unfamiliar_chapter(found, Path("unfamiliar.png")).fragment
    metrics = unfamiliar_metrics(found)
    assert metrics["unfamiliar.no_face.false_let_in"] == 1.0
    assert "unfamiliar.no_face.seen" not in metrics
    lines = {line.name: line for line in unfamiliar_lines(found)}
    assert lines["no face"].counted == "6 of 6, let in"
    assert GENUINE not in lines
