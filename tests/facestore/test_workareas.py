"""Work areas: private to a lease and its token, swept by whoever holds the lease next, and by nobody else."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facestore.leases import Lease, are_related
from facestore.workareas import area_of, opened, sweep

NAMES = st.sampled_from(["detect", "detect/b000", "detect/b001", "embed", "detect/b000.x", "a b/c%d"])


def _lease(name: str, token: int) -> Lease:
    return Lease(name=name, token=token, holder="h")


@given(
    areas=st.lists(st.tuples(st.sampled_from(["faces", "faces2"]), NAMES, st.integers(1, 9)), max_size=8),
    mine=st.tuples(NAMES, st.integers(1, 9)),
)
def test_a_holder_sweeps_what_its_lease_excludes_and_nothing_else(
    areas: list[tuple[str, str, int]], mine: tuple[str, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("root")
    lease = _lease(*mine)
    for artifact, name, token in areas:
        (area_of(root / artifact, _lease(name, token)).make("whole") / "table").write_text("x")
    (root / ".faces.lock").touch()
    with opened({"faces": root / "faces"}, lease) as held:
        sweep(root / "faces", lease)
        held["faces"].make("whole")
        left = {path.name for path in root.iterdir()} - {held["faces"].folder.name}
    kept = {
        area_of(root / artifact, _lease(name, token)).folder.name
        for artifact, name, token in areas
        if artifact != "faces" or not are_related(name, lease.name)
    }
    assert left == kept | {".faces.lock"}
    assert not held["faces"].folder.exists()


def test_things_of_one_name_are_put_aside_side_by_side(tmp_path: Path) -> None:
    area = area_of(tmp_path / "faces", _lease("detect", 7))
    assert area.folder == tmp_path / ".faces.t7.detect"
    for _ in range(3):
        (tmp_path / "old").mkdir()
        (tmp_path / "old" / "t").touch()
        area.put_aside(tmp_path / "old")
    area.put_aside(tmp_path / "absent")
    assert len(list((area.folder / "aside").iterdir())) == 3
    assert not (tmp_path / "old").exists()


def test_a_folder_to_fill_is_empty(tmp_path: Path) -> None:
    area = area_of(tmp_path / "faces", _lease("detect/b000", 1))
    (area.make("batches/b000") / "torn").touch()
    assert list(area.make("batches/b000").iterdir()) == []
