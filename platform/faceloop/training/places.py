"""Where the checkpoints of a training lie, and when they go. Needs no torch.

Beside the artifact: `training/RUN_KEY`. The work area of a stage goes with its lease, and a killed run must find them.
"""

import shutil
from pathlib import Path


def folder_of(candidate: Path, run_key: str) -> Path:
    """Of the work area's folder `ROOT/.candidate.t7.train/whole`: `ROOT/training/RUN_KEY`."""
    return trainings_of(candidate.parent) / run_key


def trainings_of(candidate: Path) -> Path:
    """Beside the published artifact, or its work area."""
    return candidate.parent / "training"


def sweep_trainings(folder: Path, run_key: str, *, kept: int) -> None:
    """Of other trainings under `folder`: those that ended go, and of the unfinished all but the `kept` latest."""
    others = [path for path in folder.iterdir() if path.is_dir() and path.name != run_key] if folder.is_dir() else []
    unfinished = sorted((path for path in others if not is_finished(path)), key=lambda path: path.stat().st_mtime_ns)
    for path in [*(path for path in others if is_finished(path)), *unfinished[: max(0, len(unfinished) - kept)]]:
        shutil.rmtree(path, ignore_errors=True)


def mark_finished(folder: Path) -> None:
    """Its candidate is written: the next other training may sweep it. Until then a lost publication costs nothing."""
    (folder / "finished").touch()


def is_finished(folder: Path) -> bool:
    return (folder / "finished").exists()
