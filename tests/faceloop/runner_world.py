"""A small workspace with its chain run, for the tests of the runner and of its batches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path

import pytest

from faceloop.params import Tree, read_params
from faceloop.progress import SilentProgress
from faceloop.runner import Outcome, Workspace, open_workspace, run_stage
from faceloop.stage import Report
from facestore.publish import read_manifest, verify

ROOT = Path(__file__).parents[2]
CHAIN = ("ingest", "detect", "embed")
ARTIFACTS = ("footage", "faces", "crops", "embeddings")
SMALL = (
    "ingest.batches=4",
    "detect.long_side_px=320",
    "detect.detail_long_side_px=320",
    "embed.model.engine=onnxruntime",
)


def tree_of(source: Path, *overrides: str) -> Tree:
    return read_params(ROOT / "params.yaml", [*SMALL, f"paths.source={source}", *overrides])


def open_root(root: Path, tree: Tree) -> Workspace:
    return open_workspace(root, tree, threads=2, progress=SilentProgress())


def run_chain(work: Workspace) -> dict[str, Outcome]:
    return {name: run_stage(work, name) for name in CHAIN}


def digests(work: Workspace) -> dict[str, str]:
    found = {}
    for artifact in ARTIFACTS:
        verify(work.path(artifact))
        manifest = read_manifest(work.path(artifact))
        assert manifest is not None
        found[artifact] = manifest.digest
    return found


@contextmanager
def counted(
    monkeypatch: pytest.MonkeyPatch, module: object, before: Callable[[int], None] = lambda call: None
) -> Iterator[list[str]]:
    """Batches that a stage's `run` was called for; `before` may raise."""
    real = module.run  # type: ignore[attr-defined]
    calls: list[str] = []

    @wraps(real)
    def run(**arguments: object) -> Report:
        before(len(calls))
        calls.append(Path(str(arguments.get("faces", ""))).name)
        report: Report = real(**arguments)
        return report

    with monkeypatch.context() as patch:
        patch.setattr(module, "run", run)
        yield calls


def digests_of(work: Workspace, *artifacts: str) -> list[str]:
    manifests = [read_manifest(work.path(artifact)) for artifact in artifacts]
    return [manifest.digest for manifest in manifests if manifest is not None]
