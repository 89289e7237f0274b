"""A process that pushes pairs to a real server: `python -m tests.facereview.pushing URL TOKEN FOLDER FILES COUNT`."""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from facereview.asking.push import Pushed, PushParams, push
from facereview.asking.shelf import FolderShelf
from facereview.labelstudio.adapter import LabelStudioServer
from facestore.questions import Question
from facestore.reviewlog import ReviewLog

from .paper_server import SCHEMA, DrawnPictures, grid, pairs, whose


def plan(count: int) -> list[Question]:
    """Pairs, and now and then another kind."""
    found = pairs(count)
    for rank in range(0, count, 10):
        faces = [f"g{rank:04d}{letter}" for letter in "abcdefg"]
        found[rank] = grid(faces[0], faces[1:], rank=rank) if rank % 20 else whose(faces[0], faces[1:5], rank=rank)
    return found


def shelf_of(folder: Path, files: Path) -> FolderShelf:
    """Of this log alone: a push clears away what its own log does not know."""
    return FolderShelf(root=files, prefix=f"push-{folder.name}")


def push_plan(url: str, token: str, folder: Path, files: Path, count: int) -> Pushed:
    log, server = ReviewLog(f"sqlite:///{folder / 'catalogue.sqlite3'}"), LabelStudioServer(url, token)
    shelf = shelf_of(folder, files)
    shelf.folder.mkdir(exist_ok=True)
    try:
        return push(
            plan(count),
            log=log,
            server=server,
            shelf=shelf,
            pictures=DrawnPictures(),
            schema=SCHEMA,
            params=PushParams(project_tasks=200, backlog=count, max_rounds=2),
            now=datetime(2026, 5, 1, tzinfo=UTC),
            say=lambda _: None,
            group_of_face={},
            connect=lambda project_id: server.connect_folder(project_id, str(shelf.folder)),
        )
    finally:
        log.close()
        server.close()


if __name__ == "__main__":
    began = time.perf_counter()
    done = push_plan(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]))
    sys.stdout.write(f"{done}\n{time.perf_counter() - began:.1f} s\n")
