"""The label-error finder on small worlds: people on axes of their own, photos put into wrong folders on purpose."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceloop.audit.foldergroups import company_in_folders
from faceloop.audit.suspects import AuditLimits, Look, Photos, Suspect, find_suspects
from faceloop.clustering.calibration import builtin_calibration
from faceloop.clustering.knn import SearchParams

Float32Array = npt.NDArray[np.float32]
CALIBRATION = replace(builtin_calibration(), impostor_mean=0.0, impostor_sd=0.1)
LIMITS = AuditLimits(
    same_sigmas=3.7,
    stranger_sigmas=2.0,
    duplicate_similarity=0.985,
    search=SearchParams(flat_rows_max=1000, probes=4, block_rows=64),
)
DIM = 40


def _photo_of(person: int, number: int, *, seed: int = 0) -> Float32Array:
    """A photo of a person: his axis, and a little of its own. Two of one person have a cosine near 0.8."""
    rng = np.random.default_rng([seed, person, number])
    vector = np.eye(DIM)[person] + 0.5 * rng.normal(size=DIM) / np.sqrt(DIM)
    unit: Float32Array = (vector / np.linalg.norm(vector)).astype(np.float32)
    return unit


def _world(folders: dict[str, list[int]]) -> tuple[Photos, Look]:
    """Folders of photos, each given by who is on it."""
    names = tuple(folders)
    rows = [(code, person, n) for code, name in enumerate(names) for n, person in enumerate(folders[name])]
    photos = Photos(
        paths=tuple(f"{names[code]}/{n}.jpg" for code, _, n in rows),
        folders=np.array([code for code, _, _ in rows]),
        folder_names=names,
        photo_of_face=np.arange(len(rows)),
        size_px=np.full(len(rows), 100, np.float32),
    )
    vectors = np.stack([_photo_of(person, 100 * code + n) for code, person, n in rows])
    return photos, Look(vectors=vectors, calibration=CALIBRATION)


def _told(photos: Photos, *looks: Look) -> dict[str, Suspect]:
    return {photos.paths[suspect.photo]: suspect for suspect in find_suspects(photos, looks, LIMITS)}


def test_folders_that_are_right_have_no_suspects() -> None:
    assert _told(*_world({"ann": [0, 0, 0, 0], "bob": [1, 1, 1], "cid": [2, 2]})) == {}


def test_a_photo_of_somebody_else_is_told_with_the_folder_that_it_resembles() -> None:
    photos, look = _world({"ann": [0, 0, 0, 1], "bob": [1, 1, 1], "cid": [2, 2, 2, 9]})
    told = _told(photos, look)
    assert set(told) == {"ann/3.jpg", "cid/3.jpg"}
    assert told["ann/3.jpg"].reason == "looks_like"
    other = told["ann/3.jpg"].other_folder
    assert other is not None
    assert photos.folder_names[other] == "bob"
    assert told["cid/3.jpg"].reason == "nobody_here"
    assert next(iter(told)) == "ann/3.jpg"  # somebody known is surer than nobody known


def test_two_wrong_photos_that_resemble_each_other_do_not_vouch_for_each_other() -> None:
    told = _told(*_world({"ann": [0, 0, 0, 0, 5, 5], "bob": [1, 1, 1]}))
    assert set(told) == {"ann/4.jpg", "ann/5.jpg"}


def test_a_folder_of_two_equal_groups_is_doubted_as_a_whole() -> None:
    told = _told(*_world({"ann": [0, 0, 0, 5, 5, 5], "bob": [1, 1, 1]}))
    assert {suspect.reason for suspect in told.values()} == {"two_people"}
    assert len(told) == 6


def test_the_same_picture_in_two_folders_is_told_in_both() -> None:
    photos, look = _world({"ann": [0, 0, 0], "bob": [1, 1, 1]})
    look.vectors[3] = look.vectors[0]
    told = _told(photos, look)
    assert {path: told[path].reason for path in ("ann/0.jpg", "bob/0.jpg")} == dict.fromkeys(
        ("ann/0.jpg", "bob/0.jpg"), "same_picture_elsewhere"
    )


def test_repeats_of_a_wrong_photo_are_no_company() -> None:
    photos, look = _world({"ann": [0, 0, 0, 5, 5, 5, 5], "bob": [1, 1, 1]})
    look.vectors[3:7] = look.vectors[3]
    company = company_in_folders(look.vectors, photos.folders, CALIBRATION, 3.7, 0.985)
    assert np.isnan(company.own_sigmas[3:7]).all() or (company.own_sigmas[3:7] < 2).all()


def test_a_photo_alone_in_its_folder_is_doubted_only_where_it_resembles_another() -> None:
    told = _told(*_world({"ann": [0, 0, 0], "bob": [1], "cid": [0]}))
    assert {path: suspect.reason for path, suspect in told.items()} == {"cid/0.jpg": "looks_like"}
    assert told["cid/0.jpg"].own_sigmas is None


def test_the_face_that_fits_the_folder_is_taken_and_a_bigger_stranger_is_told() -> None:
    photos, look = _world({"ann": [0, 0, 0, 0], "bob": [1, 1, 1]})
    with_stranger = replace(
        photos,
        photo_of_face=np.append(photos.photo_of_face, 3),
        size_px=np.append(photos.size_px, np.float32(200)),
    )
    stranger = replace(look, vectors=np.vstack([look.vectors, _photo_of(9, 0)]))
    assert _told(with_stranger, stranger) == {}
    wrong = replace(stranger, vectors=stranger.vectors.copy())
    wrong.vectors[3] = _photo_of(8, 0)  # neither of the two faces is ann
    assert _told(with_stranger, wrong)["ann/3.jpg"].reason == "nobody_here"


def test_recognisers_that_agree_are_counted() -> None:
    photos, look = _world({"ann": [0, 0, 0, 9], "bob": [1, 1, 1]})
    blind = replace(look, vectors=look.vectors.copy())
    blind.vectors[3] = _photo_of(0, 77)  # the second recogniser sees ann
    told = find_suspects(photos, [look, look], LIMITS)
    assert (told[0].agreeing, told[0].recognisers) == (2, 2)
    divided = find_suspects(photos, [look, blind], LIMITS)
    assert all((suspect.agreeing, suspect.recognisers) == (1, 2) for suspect in divided if suspect.photo == 3)
    assert all(suspect.score > told[0].score for suspect in divided)


def test_one_folder_alone_has_nobody_else_to_resemble() -> None:
    told = _told(*_world({"ann": [0, 0, 0, 9]}))
    assert told["ann/3.jpg"].other_sigmas is None
    empty = Photos(
        paths=(),
        folders=np.empty(0, np.int64),
        folder_names=(),
        photo_of_face=np.empty(0, np.int64),
        size_px=np.empty(0, np.float32),
    )
    assert find_suspects(empty, [], LIMITS) == []


@given(seed=st.integers(0, 2**32 - 1), wrong=st.integers(1, 5))
@settings(deadline=None, max_examples=20)
def test_swapped_photos_come_first_in_any_order_of_the_rows(seed: int, wrong: int) -> None:
    rng = np.random.default_rng(seed)
    folders = {f"p{person:02d}": [person] * 4 for person in range(12)}
    moved = rng.choice(12, wrong, replace=False).tolist()
    for person in moved:
        folders[f"p{person:02d}"][0] = 20 + person
    photos, look = _world(folders)
    order = rng.permutation(len(photos.paths))
    mixed = replace(photos, paths=tuple(photos.paths[row] for row in order), folders=photos.folders[order])
    found = find_suspects(photos, [look], LIMITS)
    again = find_suspects(mixed, [replace(look, vectors=look.vectors[order])], LIMITS)
    first = [photos.paths[suspect.photo] for suspect in found[:wrong]]
    assert sorted(first) == sorted(f"p{person:02d}/0.jpg" for person in moved)
    assert [(mixed.paths[s.photo], s.reason) for s in again] == [(photos.paths[s.photo], s.reason) for s in found]
    assert [s.score for s in again] == pytest.approx([s.score for s in found], abs=1e-4)
