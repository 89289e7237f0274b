"""A source of small photos and the root that takes it in."""

import os
import time
from pathlib import Path

from PIL import Image

from faceloop.params import section
from faceloop.runner import Workspace
from faceloop.stage import Context, Report, Stopwatch
from faceloop.stages import ingest
from facestore.intake import known_findings
from facestore.objects import open_store

from .runner_world import open_root, tree_of

QUICK = ("loop.settle_s=0.0", "loop.task_footage_mb=0.0001", "loop.most_tasks=3")
NOW_NS = time.time_ns()


def photo(path: Path, level: int) -> Path:
    """A photo that was changed a minute ago, so that what is found out about it is remembered."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), (level % 256, level // 256, 9)).save(path, "PNG")
    return aged(path)


def aged(path: Path, by_s: int = 60) -> Path:
    changed_ns = NOW_NS - by_s * 1_000_000_000
    os.utime(path, ns=(changed_ns, changed_ns))
    return path


def inbox(folder: Path) -> Path:
    """Six photos, one of them twice, and three files that are none."""
    for number in range(6):
        photo(folder / f"cam {number % 2}" / f"{number}.png", number)
    photo(folder / "again.png", 3)
    for name, payload in (("notes.jpg", b"notes"), ("empty.mp4", b""), ("broken.mp4", b"\x00\x00\x00\x20ftypisom")):
        (folder / name).write_bytes(payload)
        aged(folder / name)
    (folder / "sources.csv").write_text("path,subset,keys\ncam 0/0.png,door,badge=7\nagain.png,,badge=9\n")
    aged(folder / "sources.csv")
    return folder


def opened(root: Path, source: Path, *overrides: str) -> Workspace:
    return open_root(root, tree_of(source, *QUICK, *overrides))


def ingest_with_findings(
    work: Workspace, out: Path, *, is_trusted: bool = True, now_ns: int = NOW_NS
) -> tuple[Report, dict[str, bytes], float]:
    """Run the stage into a new folder: its report, the bytes of its tables, and the number of files it hashed."""
    params = section(work.tree, "ingest", ingest.Params)
    source, objects = work.external("source"), work.external("objects")
    work.root.mkdir(exist_ok=True)
    with known_findings(
        work.ledger_url(), source=source, objects=objects, as_of_ns=now_ns, is_trusted=is_trusted
    ) as findings:
        context = Context(
            objects=open_store(objects, may_link=True),
            progress=work.progress,
            stopwatch=Stopwatch(),
            threads=1,
            run_key="k",
            previous={"footage": None},
            findings=findings,
        )
        report = ingest.run(source=source, footage=out, params=params, context=context)
    report.check("ingest")
    return report, tables(out), float(context.stopwatch.seconds["hash"])


def tables(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}
