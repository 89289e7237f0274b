"""Roots with the first stages run, for the tests of the runner and of its batches."""

import shutil
from pathlib import Path

import pytest

from faceloop.runner import Workspace

from .runner_world import open_root, run_chain, tree_of


@pytest.fixture(scope="session")
def done(face_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Everything run once. Tests that change something take a copy."""
    work = open_root(tmp_path_factory.mktemp("done"), tree_of(face_source))
    run_chain(work)
    return work


@pytest.fixture
def work(done: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(done.root, tmp_path / "root")
    return open_root(tmp_path / "root", done.tree)


@pytest.fixture
def ingested(done: Workspace, tmp_path: Path) -> Workspace:
    """Only ingest has run."""
    (tmp_path / "root").mkdir()
    for name in ("footage", "objects"):
        shutil.copytree(done.root / name, tmp_path / "root" / name)
    return open_root(tmp_path / "root", done.tree)
