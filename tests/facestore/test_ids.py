"""Ids: the same on every machine and in every run, different for different things."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facestore.ids import (
    BOX_GRID_PX,
    canonical_json,
    digest_of,
    face_id,
    file_sha256,
    identity_id,
    media_key,
    tracklet_id,
)

BOXES = st.tuples(*[st.floats(-50, 4000, width=32)] * 4)


def test_ids_have_not_changed_since_they_were_first_written_down() -> None:
    face = face_id("f" * 64, 1200, "d" * 64, (10.0, 20.0, 50.0, 70.0))
    assert face == "17135f3500b390c9f100583f4afae380"
    assert tracklet_id(face) == "1ca0cc1178771d1d2c128ca6ef0dd6f0"
    assert identity_id(face, 0) == "person-d1901ce60b9b5ce1"
    assert (
        digest_of({"b": 1, "a": [None, True, "é"]})
        == "58064a6eabcd16ba44b3a10dfbde7bf110a282642edc772eb730c7cc044d08ce"
    )


@given(box=BOXES, pts_ms=st.integers(0, 10**9))
@settings(deadline=None, max_examples=60)
def test_a_face_id_depends_on_the_box_only_through_its_grid(box: tuple[float, ...], pts_ms: int) -> None:
    on_grid = [round(edge / BOX_GRID_PX) * BOX_GRID_PX for edge in box]
    here = face_id("f", pts_ms, "d", box)
    assert here == face_id("f", pts_ms, "d", on_grid)
    assert here == face_id("f", pts_ms, "d", [edge + 0.49 * BOX_GRID_PX for edge in on_grid])
    assert here != face_id("f", pts_ms, "d", [on_grid[0] + BOX_GRID_PX, *on_grid[1:]])


@given(box=BOXES)
@settings(deadline=None, max_examples=20)
def test_footage_time_and_detector_each_change_a_face_id(box: tuple[float, ...]) -> None:
    ids = [face_id("f", 1, "d", box), face_id("g", 1, "d", box), face_id("f", 2, "d", box), face_id("f", 1, "e", box)]
    assert len(set(ids)) == len(ids)
    assert all(len(name) == 32 for name in ids)


def test_an_identity_that_was_taken_gets_another_id() -> None:
    minted = {identity_id("seed", taken) for taken in range(50)}
    assert len(minted) == 50


def test_a_files_hash_is_that_of_its_bytes_over_several_blocks(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"ab" * 700_000)
    assert file_sha256(path) == "4dfa4e3c7e1c99d2f30b84f86c066dde63d68274f0299fe9fc4e13506cc2b05c"
    assert media_key(file_sha256(path)).startswith(f"media/{file_sha256(path)[:2]}/")


@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=6))
@settings(deadline=None, max_examples=30)
def test_the_order_of_keys_does_not_change_a_digest(value: dict[str, int]) -> None:
    assert digest_of(dict(value)) == digest_of(dict(reversed(value.items())))


def test_not_a_number_has_no_canonical_spelling() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})
