"""Footage seconds a wall second: our stages against the plain script that a user would write, same weights.

Ours is `ingest` to `identify` by the runner with the default params; the peer is `plain_script.py` (OpenCV capture,
detector on every frame, SFace face by face), whose embeddings DBSCAN groups outside of its clock. Every run is a
process of its own, held to the same cores; models are loaded inside of both clocks, modules outside. Order alternates
from round to round. Run: `python benchmarks/detect_embed.py [--rounds 3] [--threads 1 2] [--crowd CLIP]`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.cluster import DBSCAN

from faceloop.params import default_params_path, read_params
from faceloop.progress import SilentProgress
from faceloop.runner import open_workspace, run_stage
from faceloop.sample.truth import Truth, load_truth
from faceloop.stage import load_stage
from facestore.ledger import Ledger
from facestore.records import Assignment, Face, Footage
from facestore.tables import read_table

HERE = Path(__file__).parent
STAGES = ("ingest", "detect", "embed", "cluster", "identify")
SAMPLE_CLIPS = ("gate/gate-day.mp4", "gate/Tor Süd – it's “late”.mp4", "lobby/variable-rate.mp4")  # 1080p, with faces
EPS_SWEEP = (0.40, 0.45, 0.50, 0.55, 0.60, 0.637)  # cosine distance; the last is OpenCV's own threshold for SFace
EPS_UNKNOWN = 0.50  # where no truth can choose
MIN_SAMPLES = 4  # identify.min_faces_alone
PURE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way through the clips. `arguments` go to `plain_script.py`; None is ours."""

    name: str
    arguments: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one process came to. Seconds; `timings` say where our or their wall time went."""

    wall_s: float
    cpu_s: float
    timings: dict[str, float]
    faces: int
    found: "Found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Identities, and the true people among them: `as_one` have 90 % of their labelled faces in an identity that is
    theirs by 90 %. None where nothing is known about the clips."""

    identities: int
    people: int | None
    as_one: int | None

    def __str__(self) -> str:
        return f"{self.identities}" + ("" if self.people is None else f"; {self.as_one} of {self.people} people as one")


WAYS = (
    Way(name="ours", arguments=None),
    Way(name="plain, detector at 1080p", arguments=()),
    Way(name="plain, detector at 640", arguments=("--long-side", "640")),
    Way(name="plain, detector at 640, SFace as shipped", arguments=("--long-side", "640", "--weights", "shipped")),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--crowd", type=Path, help="a clip without truth, measured on its own")
    parser.add_argument("--worker", type=Path, nargs=2, metavar=("SOURCE", "ROOT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        run_ours(*options.worker)
        return
    with tempfile.TemporaryDirectory() as scratch:
        source, truth = sample_clips(Path(scratch))
        compare("1080p sample clips", source, truth, options.rounds, options.threads, Path(scratch))
        if options.crowd:
            crowd = Path(scratch) / "crowd"
            crowd.mkdir()
            shutil.copy(options.crowd, crowd)
            compare(f"crowd clip {options.crowd.name}", crowd, None, options.rounds, options.threads, Path(scratch))


def sample_clips(scratch: Path) -> tuple[Path, Truth]:
    """The 1080p clips of the sample footage that show people, and who is where."""
    made, source = scratch / "sample", scratch / "source"
    faceloop = [str(Path(sys.executable).parent / "faceloop"), "sample-footage", str(made)]
    subprocess.run(faceloop, check=True, capture_output=True)
    for clip in SAMPLE_CLIPS:
        (source / clip).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(made / clip, source / clip)
    return source, load_truth(made / "truth.json")


def compare(title: str, source: Path, truth: Truth | None, rounds: int, threads: Sequence[int], scratch: Path) -> None:
    clips = sorted(path for path in source.rglob("*") if path.is_file())
    for cores in threads:
        runs: dict[str, list[Run]] = {way.name: [] for way in WAYS}
        for turn in range(rounds):
            for way in WAYS if turn % 2 == 0 else WAYS[::-1]:
                run = run_way(way, source, clips, truth, cores, scratch)
                runs[way.name].append(run)
                print(f"round {turn + 1}, {way.name}: {run.wall_s:.1f} s wall", file=sys.stderr)
        print_table(f"{title}, {cores} core{'s' * (cores > 1)}, {rounds} rounds", runs, footage_s(scratch / "ours"))


def run_way(
    way: Way, source: Path, clips: Sequence[Path], truth: Truth | None, cores: int, scratch: Path
) -> Run:  # fmt: skip
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    root, faces_file = scratch / "ours", scratch / "plain.npz"
    if way.arguments is None:
        shutil.rmtree(root, ignore_errors=True)
        command = [str(Path(__file__)), "--worker", str(source), str(root)]
    else:
        command = [str(HERE / "plain_script.py"), "--out", str(faces_file), *way.arguments, *map(str, clips)]
    done = subprocess.run(
        [sys.executable, *command],
        check=True,
        stdout=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": str(cores), "PYTHONWARNINGS": "ignore"},
        preexec_fn=lambda: os.sched_setaffinity(0, allowed),  # one thread here
    )
    body = json.loads(done.stdout.splitlines()[-1])
    found = our_identities(root, truth) if way.arguments is None else plain_identities(faces_file, source, clips, truth)
    return Run(
        wall_s=body["wall_s"], cpu_s=body["cpu_s"], timings=body["timings"], faces=body["faces"], found=found
    )  # fmt: skip


def run_ours(source: Path, root: Path) -> None:
    """In the measured process: every stage once, timed by the same clocks as the plain script."""
    for stage in STAGES:
        load_stage(stage)  # imports, as the plain script has them before its clock starts
    started, cpu_started = time.perf_counter(), time.process_time()
    tree = read_params(default_params_path(), [f"paths.source={json.dumps(str(source))}"])
    work = open_workspace(root, tree, threads=len(os.sched_getaffinity(0)), progress=SilentProgress())
    outcomes = [run_stage(work, stage) for stage in STAGES]
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
    ledger = Ledger(work.ledger_url())
    runs = {stage: ledger.latest(stage) for stage in STAGES}
    timings: Counter[str] = Counter()
    for stage, run in runs.items():
        assert run is not None and isinstance(run.timings, dict)
        told = {str(what): float(str(value)) for what, value in run.timings.items() if what != "peak_memory_mb"}
        if stage in ("detect", "embed"):
            timings.update(told)
    timings["rest"] = wall_s - timings.total()  # type: ignore[assignment]
    faces = outcomes[1].report.items_in
    print(json.dumps({"wall_s": wall_s, "cpu_s": cpu_s, "faces": faces, "timings": timings}))


def footage_s(root: Path) -> float:
    return sum(record.duration_s or 0.0 for record in read_table(root / "footage", "footage", Footage))


def our_identities(root: Path, truth: Truth | None) -> Found:
    uri = {record.footage_id: record.uri for record in read_table(root / "footage", "footage", Footage)}
    identity = {row.face_id: row.identity_id for row in read_table(root / "assignments", "assignments", Assignment)}
    sights = []
    for face in read_table(root / "faces", "faces", Face):
        x1, y1, x2, y2 = face.bbox
        who = truth.person_at(uri[face.footage_id], face.pts_ms, (x1, y1, x2, y2)) if truth else None
        sights.append((who, identity.get(face.face_id)))
    return judge(sights, is_known=truth is not None)


def plain_identities(faces_file: Path, source: Path, clips: Sequence[Path], truth: Truth | None) -> Found:
    """DBSCAN at the eps that finds most people as one: truth chooses for the peer."""
    found = np.load(faces_file)
    names = [clip.relative_to(source).as_posix() for clip in clips]
    who = [
        truth.person_at(names[clip], pts_ms, (x1, y1, x2, y2)) if truth else None
        for clip, pts_ms, (x1, y1, x2, y2) in zip(
            found["clip"].tolist(), found["pts_ms"].tolist(), found["boxes_xyxy_px"].tolist(), strict=True
        )
    ]
    best = None
    for eps in EPS_SWEEP if truth else (EPS_UNKNOWN,):
        labels = DBSCAN(eps=eps, min_samples=MIN_SAMPLES, metric="cosine").fit_predict(found["vectors"])
        names_of = [None if label < 0 else str(label) for label in labels]
        outcome = judge(zip(who, names_of, strict=True), is_known=truth is not None)
        if best is None or (outcome.as_one or 0) > (best.as_one or 0):
            best = outcome
    assert best is not None
    return best


def judge(sights: Iterable[tuple[str | None, str | None]], *, is_known: bool) -> Found:
    """From (true person, identity) of every face."""
    cells = Counter(sights)
    of_identity, of_person = Counter[str](), Counter[str]()
    for (who, identity), count in cells.items():
        if identity is not None:
            of_identity[identity] += count
            if who is not None:
                of_person[who] += count
    people = {who for who, _ in cells if who is not None}
    as_one = {
        who
        for (who, identity), count in cells.items()
        if who is not None
        and identity is not None
        and count >= PURE * of_person[who]
        and count >= PURE * of_identity[identity]
    }
    return Found(
        identities=len(of_identity),
        people=len(people) if is_known else None,
        as_one=len(as_one) if is_known else None,
    )


def print_table(title: str, runs: dict[str, list[Run]], footage_seconds: float) -> None:
    print(f"\n**{title}: {footage_seconds:.1f} s of footage**\n")
    print("| way | footage s / wall s | ours is faster by (min to max) | CPU s | by CPU | faces | identities |")
    print("|---|--:|--:|--:|--:|--:|---|")
    ours = runs[WAYS[0].name]
    for name, own in runs.items():
        wall, cpu = np.array([run.wall_s for run in own]), np.array([run.cpu_s for run in own])
        ratios = wall / np.array([run.wall_s for run in ours])
        by_cpu = cpu / np.array([run.cpu_s for run in ours])
        print(
            f"| {name} | {footage_seconds / np.median(wall):.2f} | {np.median(ratios):.1f}× "
            f"({ratios.min():.1f} to {ratios.max():.1f}) | {np.median(cpu):.1f} | {np.median(by_cpu):.1f}× | "
            f"{own[-1].faces} | {own[-1].found} |"
        )
    print()
    for name, own in runs.items():
        median = sorted(own, key=lambda run: run.wall_s)[len(own) // 2]
        parts = sorted(median.timings.items(), key=lambda part: -part[1])
        print(f"- {name}: " + ", ".join(f"{what} {value:.1f} s" for what, value in parts if value >= 0.05))


if __name__ == "__main__":
    main()
