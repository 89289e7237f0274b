"""The protocol of LFW, and gold sets in folders: what is read, what is refused, with its line."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from faceloop.evaluation.gold_sets import GoldSetParams, digest_of_set, photos_of, read_gold_set, set_id
from faceloop.evaluation.protocols import accuracy_by_folds, best_threshold, read_pairs
from faceloop.footage.limits import DecoderLimits
from facestore.errors import DataError

from .evaluation_world import picture

PHOTOS = tuple(f"{who}/{who}_{number:04d}.jpg" for who in ("ann", "bob", "cat") for number in (1, 2, 3))


def _file(folder: Path, *lines: str) -> Path:
    path = folder / "pairs.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _set(folder: Path, **changed: object) -> GoldSetParams:
    given: dict[str, object] = {
        "name": "toy", "kind": "folders", "path": str(folder), "pairs_file": None, "except_file": None,
        "is_aligned": True,
    }  # fmt: skip
    return GoldSetParams.model_validate(given | changed)


def _photos(folder: Path) -> None:
    for number, name in enumerate(PHOTOS):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(number, 0)).save(folder / name)


def test_a_file_of_two_folds_is_read_with_spaces_and_with_tabs(tmp_path: Path) -> None:
    path = _file(tmp_path, "2\t1", "ann\t1\t2", "ann\t1\tbob\t2", "bob 1 3", "bob 1 cat 3")
    found = read_pairs(path, PHOTOS)
    assert [(pair.fold, pair.is_genuine) for pair in found] == [(0, True), (0, False), (1, True), (1, False)]
    assert (found[3].first, found[3].second) == ("bob/bob_0001.jpg", "cat/cat_0003.jpg")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("two 1", "ann 1 2"), r"line 1: expected FOLDS PAIRS or PAIRS, found 'two 1'"),
        ((), r"line 1: expected FOLDS PAIRS or PAIRS, found ''"),
        (("1 1", "ann 1 2"), r"1 pairs, line 1 says 1 × 2 × 1 = 2"),
        (("1 1", "ann 1 2 3 4", "ann 1 bob 1"), r"line 2: 5 fields, a genuine pair has 3"),
        (("1 1", "ann 1 2", "", "ann 1 2"), r"line 4: 3 fields, an impostor pair has 4"),
        (("1 1", "ann one 2", "ann 1 bob 1"), r"line 2: 'one' is not the number of a photo"),
        (("1 1", "ann 1 9", "ann 1 bob 1"), r"line 2: photo 9 of this person is not in the gold set"),
        (("1 1", "../ann 1 2", "ann 1 bob 1"), r"line 2: photo 1 of this person is not in the gold set"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, lines: tuple[str, ...], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_pairs(_file(tmp_path, *lines), PHOTOS)


def test_an_error_about_a_line_names_nobody(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read_pairs(_file(tmp_path, "1 1", "ann 1 9", "ann 1 bob 1"), PHOTOS)
    assert "ann" not in str(error.value)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-9, 9), st.booleans()), min_size=1, max_size=30))
def test_no_threshold_is_right_more_often_than_the_best(pairs: list[tuple[int, bool]]) -> None:
    scores = np.array([score / 10 for score, _ in pairs], np.float32)
    truth = np.array([is_genuine for _, is_genuine in pairs])

    def right(threshold: float) -> int:
        return int(np.sum((scores >= threshold) == truth))

    best = right(best_threshold(scores, truth))
    assert best == max(right(threshold) for threshold in np.arange(-1.05, 1.2, 0.1).tolist())


def test_a_fold_is_judged_by_the_threshold_of_the_others() -> None:
    # The second fold lies lower by 0.5: its own threshold would make no error, that of the first makes one in two.
    similarities = np.array([0.8, 0.7, 0.2, 0.1, 0.3, 0.2, -0.3, -0.4], np.float32)
    is_genuine = np.array([True, True, False, False] * 2)
    found = accuracy_by_folds(similarities, is_genuine, np.array([0] * 4 + [1] * 4))
    assert found.accuracy < 1.0
    assert found.standard_error is not None
    alone = accuracy_by_folds(similarities[:4], is_genuine[:4], np.zeros(4, np.int64))
    assert (alone.accuracy, alone.standard_error) == (1.0, None)


def test_a_folder_a_person_becomes_gold_whose_ids_name_nobody(tmp_path: Path) -> None:
    _photos(tmp_path)
    params = _set(tmp_path)
    gold = read_gold_set(params, photos_of(params), None, DecoderLimits())
    assert len(gold) == 9
    assert len(gold.identity_ids) == 3
    assert not any(name in text for name in ("ann", "bob", "jpg") for text in (*gold.face_ids, *gold.identity_ids))
    row = gold.face_ids.index(set_id("bob/bob_0002.jpg"))
    assert np.abs(gold.crops.read([row])[0].astype(int) - picture(4, 0).astype(int)).mean() < 15  # JPEG


def test_excepted_photos_are_left_out_and_a_broken_one_is_like_nobody(tmp_path: Path) -> None:
    _photos(tmp_path / "set")
    (tmp_path / "set" / PHOTOS[0]).write_bytes(b"no picture")
    (tmp_path / "except.txt").write_text("# wrong person\ncat/cat_0003.jpg\n", encoding="utf-8")
    params = _set(tmp_path / "set", except_file=str(tmp_path / "except.txt"))
    gold = read_gold_set(params, photos_of(params), None, DecoderLimits())
    assert len(gold) == 8
    assert gold.has_crop.sum() == 7


def test_a_set_changes_its_digest_with_any_photo(tmp_path: Path) -> None:
    _photos(tmp_path)
    before = digest_of_set(_set(tmp_path))
    assert digest_of_set(_set(tmp_path)) == before
    Image.fromarray(picture(99, 0)).save(tmp_path / PHOTOS[5])
    assert digest_of_set(_set(tmp_path)) != before


def test_crops_of_another_size_and_folders_that_are_not_there_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"correct evaluate\.gold"):
        photos_of(_set(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="no photos PERSON/FILE"):
        photos_of(_set(tmp_path))
    (tmp_path / "ann").mkdir()
    Image.new("RGB", (50, 40)).save(tmp_path / "ann" / "a.png")
    params = _set(tmp_path)
    with pytest.raises(DataError, match="50 × 40 px, crops are 112 × 112"):
        read_gold_set(params, photos_of(params), None, DecoderLimits())
