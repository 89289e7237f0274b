"""A release of another root: pulled with every byte checked, pinned, and let go."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from faceloop.commands.options import workspace
from faceloop.experiments.pin import PIN
from faceloop.experiments.pulling import pull_release
from faceloop.runner import Workspace, open_workspace
from facestore.errors import ConfigError, DataError, StageError
from facestore.publish import fresh_partial, publish, read_manifest
from facestore.records import ReleaseSample
from facestore.tables import write_table

from .experiment_world import said

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def theirs(tmp_path: Path) -> Workspace:
    """A root with a release "v7" that was made from its faces, embeddings and assignments."""
    work = workspace(tmp_path / "theirs", PARAMS, None)
    made = {name: _artifact(work, name, f"{name} of theirs") for name in ("faces", "embeddings", "assignments")}
    _release(work, made)
    return work


@pytest.fixture
def mine(tmp_path: Path, theirs: Workspace) -> Workspace:
    root = tmp_path / "mine"
    root.mkdir()
    (root / "params.yaml").write_text(yaml.safe_dump(theirs.tree), encoding="utf-8")
    return open_workspace(root, theirs.tree, threads=1, progress=theirs.progress)


def _artifact(work: Workspace, name: str, text: str) -> str:
    staging = fresh_partial(work.path(name), keep=False)
    (staging / "table.txt").write_text(text, encoding="utf-8")
    return publish(work.path(name), stage=name, run_key="run", counts={}, inputs={}).digest


def _release(work: Workspace, inputs: dict[str, str]) -> None:
    staging = fresh_partial(work.path("release"), keep=False)
    write_table(staging / "samples.parquet", ReleaseSample, [])
    (staging / "manifest.json").write_text(json.dumps({"release": "v7"}), encoding="utf-8")
    publish(work.path("release"), stage="pack", run_key="run", counts={}, inputs=inputs)


def _digest(work: Workspace, name: str) -> str | None:
    manifest = read_manifest(work.path(name))
    return manifest.digest if manifest is not None else None


def test_a_pulled_release_is_theirs_to_the_byte_with_the_tables_it_was_made_from(
    theirs: Workspace, mine: Workspace
) -> None:
    (told,) = said(mine.root, "release", "pull", "v7", "--from", theirs.root.as_uri())
    names = ("release", "faces", "embeddings", "assignments")
    assert [_digest(mine, name) for name in names] == [_digest(theirs, name) for name in names]
    assert (told["version"], told["was_there"], told["tables_missing"]) == ("v7", False, [])
    (again,) = said(mine.root, "release", "pull", told["digest"][:8], "--from", str(theirs.path("release")))
    assert again["was_there"]


def test_pack_refuses_a_root_whose_release_is_pinned_until_it_is_unpinned(theirs: Workspace, mine: Workspace) -> None:
    said(mine.root, "release", "pull", "v7", "--from", str(theirs.root))
    with pytest.raises(StageError, match="release unpin"):
        said(mine.root, "run", "pack")
    assert said(mine.root, "release", "unpin") == [{"unpinned": "v7"}]
    with pytest.raises(StageError, match="missing input"):
        said(mine.root, "run", "pack")


def test_a_file_that_differs_is_refused_and_nothing_is_put_in_place(theirs: Workspace, mine: Workspace) -> None:
    (theirs.path("release") / "manifest.json").write_text('{"release": "v7" }', encoding="utf-8")
    with pytest.raises(DataError, match="sha256"):
        pull_release(mine, "v7", str(theirs.root))
    assert not mine.path("release").exists()
    assert not (mine.root / PIN).exists()


def test_another_version_is_named(theirs: Workspace, mine: Workspace) -> None:
    with pytest.raises(StageError, match="v8 is not there, v7 is"):
        pull_release(mine, "v8", str(theirs.root))


def test_a_root_with_tables_of_its_own_is_refused(theirs: Workspace, mine: Workspace) -> None:
    before = _artifact(mine, "faces", "my own")
    with pytest.raises(StageError, match="faces of its own"):
        pull_release(mine, "v7", str(theirs.root))
    assert _digest(mine, "faces") == before
    assert not mine.path("release").exists()


def test_tables_that_are_gone_or_went_on_are_said_to_be_missing(theirs: Workspace, mine: Workspace) -> None:
    shutil.rmtree(theirs.path("faces"))
    _artifact(theirs, "assignments", "newer")
    pulled = pull_release(mine, "v7", str(theirs.root))
    assert (pulled.tables, pulled.tables_missing) == (("embeddings",), ("faces", "assignments"))


@pytest.mark.parametrize("source", ["s3://bucket/root", "nowhere"])
def test_a_source_that_is_no_folder_is_refused(mine: Workspace, source: str) -> None:
    with pytest.raises(ConfigError, match="--from"):
        pull_release(mine, "v7", source)
