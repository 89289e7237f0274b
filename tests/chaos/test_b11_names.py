"""Bar B11, names: whatever a name holds, no door makes a path outside of its root of it, nor a key of an object.

Short: 500 names through each door. FACELOOP_LONG=1: 5,000.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from tests.chaos.hostile_names import FIXED, NAMES

from faceloop.experiments import pulling
from faceloop.experiments.sweep_spec import SweepSpec
from faceloop.intake.feedback_source import path_in_source
from faceloop.intake.plans import read_share
from faceloop.jobs.launchers import job_folder
from faceloop.mining.request import MiningRequest
from faceloop.mining.verdict import _folder as folder_of_hard_set
from faceloop.params import section
from faceloop.restriction.papers import folder_of as folder_of_subject
from faceloop.runner import Workspace
from faceloop.vision.packs import load_pack
from faceloop.watch.runs import folder_of as folder_of_run
from facestore.errors import FaceloopError
from facestore.folderstore import FolderStore
from facestore.ids import JsonValue
from facestore.leases import Lease
from facestore.objects import BucketStore
from facestore.publish import MANIFEST, is_intact, read_manifest, write_manifest
from facestore.shardindex import INDEX, read_index
from facestore.sources import FolderSource
from facestore.workareas import area_of

EXAMPLES = 5000 if os.environ.get("FACELOOP_LONG") == "1" else 500
SHA256 = "0" * 64
Door = Callable[[Path, str], Path | None]  # (root, name): where the name led; None where it led nowhere


def _object(root: Path, name: str) -> Path:
    return FolderStore(root)._path(name)


def _object_in_folder(root: Path, name: str) -> Path:
    return FolderStore(root)._path(f"media/{name}/{SHA256}")


def _bucket_key(root: Path, name: str) -> Path:
    asked: list[str] = []
    bucket = SimpleNamespace(has=asked.append)  # the network edge
    BucketStore(bucket=cast(Any, bucket), prefix="ours/").has(name)
    return root / asked[0]


def _manifest(root: Path, name: str) -> Path | None:
    """Another root's manifest: `release pull` copies by it, and `verify` reads by it."""
    folder = root / "release"
    _write_manifest(folder, name)
    manifest = read_manifest(folder)
    is_intact(folder, manifest) if manifest else None
    return folder / next(iter(manifest.files)) if manifest else None


def _write_manifest(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    write_manifest(folder, stage="pack", run_key="k", counts={}, inputs={})
    body = {**json.loads((folder / MANIFEST).read_bytes()), "files": {name: {"bytes": 1, "sha256": SHA256}}}
    kept = {key: value for key, value in body.items() if key in ("stage", "run_key", "files", "counts", "inputs")}
    (folder / MANIFEST).write_text(json.dumps(kept))


def _shard(root: Path, name: str) -> Path:
    folder = root / "train"
    folder.mkdir(exist_ok=True)
    shard = {"file": name, "samples": 1, "bytes": 1, "sha256": SHA256}
    body = json.dumps({"samples": 1, "shards": [shard], "version": 1}, sort_keys=True, separators=(",", ":"))
    with suppress(UnicodeError):
        body = json.dumps(json.loads(body), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        (folder / INDEX).write_text(body + "\n", encoding="utf-8")
        return folder / read_index(folder).shards[0].file
    return folder


def _model_file(root: Path, name: str) -> Path | None:
    pixels = {"colour": "RGB", "mean": 0, "std": 1}
    task = {"file": name, "sha256": SHA256, "kind": "yunet", "preprocessing": pixels}
    body = {"manifest_version": 1, "pack_id": "x", "licence": "none", "tasks": {"detection": task}}
    (root / "pack").mkdir(exist_ok=True)
    (root / "pack" / "manifest.json").write_text(json.dumps(body))
    pack = load_pack(str(root / "pack"), accept_licence=None, insightface_root=root)
    return None if pack.detector is None else pack.detector.model_path


def _insightface(root: Path, name: str) -> Path | None:
    load_pack(f"insightface:{name}", accept_licence="non-commercial", insightface_root=root)
    return root / "models" / name


def _hard_set(root: Path, name: str) -> Path:
    return root / section({"mine": {"name": name}}, "mine", MiningRequest).name


def _verdict(root: Path, name: str) -> Path:
    return folder_of_hard_set(cast(Workspace, SimpleNamespace(root=root)), name, None)


def _sweep(root: Path, name: str) -> Path:
    spec: dict[str, JsonValue] = {
        "name": name,
        "metric": "val_tar",
        "direction": "maximize",
        "seed": 1,
        "trials": 1,
        "is_pruned": False,
        "fixed": [],
        "space": {"train.epochs": {"choices": [1, 2]}},
    }
    return root / "sweeps" / section({"sweep": spec}, "sweep", SweepSpec).name


def _share(root: Path, name: str) -> Path | None:
    read_share(root, "source", name)
    return None


def _picture_of_feedback(root: Path, name: str) -> Path:
    return root / path_in_source("camera-1", "event-0001", name)


def _work_area(root: Path, name: str) -> Path:
    return area_of(root / "faces", Lease(name=name, token=7, holder="h")).folder


DOORS: dict[str, Door] = {
    "object": _object,
    "object in folder": _object_in_folder,
    "bucket key": _bucket_key,
    "manifest": _manifest,
    "shard": _shard,
    "model file": _model_file,
    "insightface": _insightface,
    "hard set": _hard_set,
    "verdict": _verdict,
    "sweep": _sweep,
    "share": _share,
    "feedback": _picture_of_feedback,
    "work area": _work_area,
    "subject": lambda root, name: folder_of_subject(root, name),
    "job": lambda root, name: job_folder(root, name),
    "run page": lambda root, name: root / "runs" / folder_of_run(name),
}


def _escapes(root: Path, name: str, doors: dict[str, Door] = DOORS) -> list[str]:
    """Doors that made a path outside of the root of a name, or failed in a way that nobody expects."""
    found = []
    for door, ask in doors.items():
        try:
            place = ask(root, name)
            is_outside = place is not None and not Path(os.path.realpath(place)).is_relative_to(root)
        except (FaceloopError, UnicodeEncodeError):  # refused; text that is none stops before it is a path
            continue
        except (OSError, ValueError) as error:  # a path was made, and the kernel did not want it: say where it led
            is_outside = "embedded null" not in str(error) and getattr(error, "errno", None) != 36
        if is_outside:
            found.append(door)
    return found


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with things around it that a name could reach."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "x").write_text("not ours")
    (outside / "a" / "root").mkdir(parents=True)
    return (outside / "a" / "root").resolve()


@pytest.fixture(scope="module")
def around(root: Path) -> Iterator[None]:
    """Nothing outside of the root was made, changed or removed by any door."""
    before = _outside(root)
    yield
    assert _outside(root) == before


def _outside(root: Path) -> list[tuple[str, bytes | None]]:
    top = root.parents[1]
    paths = sorted(path for path in top.rglob("*") if not path.is_relative_to(root))
    return [(str(path), path.read_bytes() if path.is_file() else None) for path in paths]


@pytest.mark.usefixtures("around")
@given(name=NAMES)
@settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_no_name_leads_out_of_its_root_through_any_door(root: Path, name: str) -> None:
    assert _escapes(root, name) == []


@pytest.mark.usefixtures("around")
@pytest.mark.parametrize("name", FIXED, ids=range(len(FIXED)))
def test_no_name_that_is_known_to_be_bad_leads_out_either(root: Path, name: str) -> None:
    assert _escapes(root, name) == []


def test_a_door_that_does_not_ask_is_caught(root: Path) -> None:
    """The mutant."""
    careless: dict[str, Door] = {"careless": lambda root, name: root / name}
    assert _escapes(root, "../x", careless) == ["careless"]
    assert _escapes(root, "/etc/passwd", careless) == ["careless"]


@pytest.mark.parametrize("is_asked", [True, False])
def test_a_pulled_release_writes_nothing_outside_its_folder(
    tmp_path: Path, is_asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant believes the manifest of the root that it copies from."""
    theirs, ours = tmp_path / "theirs" / "release", tmp_path / "ours" / "deep" / "release"
    theirs.mkdir(parents=True)
    ours.parent.mkdir(parents=True)
    _write_manifest(theirs, "../../planted")
    (tmp_path / "planted").write_text("!")
    if not is_asked:
        monkeypatch.setattr("facestore.publish._stays_inside", lambda name: True)
    lease = cast(Any, SimpleNamespace(fenced=nullcontext))
    with pytest.raises(FaceloopError):
        pulling._take(theirs, ours, lease)
    assert (tmp_path / "ours" / "planted").exists() == (not is_asked)


def test_a_source_lists_any_names_as_text_and_opens_the_files_that_they_are_of(tmp_path: Path) -> None:
    """Links that leave it are passed over, and no two names become one."""
    source = tmp_path / "source"
    source.mkdir()
    (tmp_path / "secret").write_text("not ours")
    for number, name in enumerate(FIXED):
        raw = name.encode("utf-8", "surrogatepass").replace(b"/", b"|").replace(b"\0", b"_")[:255]
        path = source / os.fsdecode(raw)
        if raw and not raw.startswith(b".") and not path.exists():
            path.write_text(str(number))
    names = len(list(source.iterdir()))
    (source / "link").symlink_to(tmp_path / "secret")
    (source / "loop").symlink_to("loop")
    (source / "out").symlink_to(tmp_path)
    listed = list(FolderSource(source).locations())
    assert len({one.path for one in listed}) == len(listed) == names > 50
    read = set()
    for one in listed:
        one.path.encode()  # text
        with FolderSource(source).local(one) as path:
            assert Path(os.path.realpath(path)).is_relative_to(source.resolve())
            read.add(path.read_text())
    assert len(read) == names
    shutil.rmtree(source)
