"""What do hashing, decoding in a process apart and encryption cost? The whole flow over the sample, with and without.

Peers: the same flow that decodes in the worker itself, and on a root that is not encrypted, in turn. Hashing cannot be
left out; the time inside sha256 is taken in the run itself. CPU seconds of all processes count, since other work may
run on the machine; the order changes from round to round, and a first flow that does not count fills the caches.
Run: `python -m benchmarks.protection_cost [--rounds 3] [--footage FOLDER [--photos 600]]`.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from statistics import median

FACELOOP = str(Path(sys.executable).with_name("faceloop"))
FLOW = """
import hashlib, json, sys, time
real, spent = hashlib.sha256, [0.0]
class Timed:
    def __init__(self, payload=b"", **more):
        began = time.process_time(); self.real = real(payload, **more); spent[0] += time.process_time() - began
    def update(self, payload):
        began = time.process_time(); self.real.update(payload); spent[0] += time.process_time() - began
    def __getattr__(self, name):
        return getattr(self.real, name)
hashlib.sha256 = Timed
from faceloop.cli import app
try:
    app(sys.argv[2:])
finally:
    open(sys.argv[1], "w").write(json.dumps(spent[0]))
"""
IN_THE_WORKER = ("-S", "ingest.decoder.is_apart=false", "-S", "detect.decoder.is_apart=false")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """CPU seconds of all processes of one flow, those inside sha256, and wall seconds."""

    cpu_s: float
    hashing_s: float
    wall_s: float


def flow(source: Path, root: Path, *settings: str, environ: dict[str, str]) -> Run:
    told = root.with_suffix(".hashing")
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    words = ["flow", str(source), "--root", str(root), "--threads", "1", *settings]
    subprocess.run([sys.executable, "-c", FLOW, str(told), *words], env=environ, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Run(
        cpu_s=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        hashing_s=float(json.loads(told.read_text(encoding="utf-8"))),
        wall_s=time.perf_counter() - began,
    )


def first_files(folder: Path, files: int, target: Path) -> Path:
    """The first so many files of a folder tree, by name, copied below `target`."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file())[:files]:
        place = target / path.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--footage", type=Path, help="a folder instead of the sample footage")
    parser.add_argument("--photos", type=int, help="the first so many files of the folder, by name")
    asked = parser.parse_args()
    environ = os.environ | {"FACELOOP_MASTER_KEY": b64encode(os.urandom(32)).decode(), "OMP_NUM_THREADS": "1"}
    found: dict[str, list[Run]] = {"neither": [], "decoding apart": [], "apart and sealed": []}
    with tempfile.TemporaryDirectory(prefix="faceloop-cost-") as scratch:
        source = asked.footage or Path(scratch, "footage")
        if asked.footage is None:
            subprocess.run([FACELOOP, "sample-footage", str(source)], check=True, capture_output=True)
        elif asked.photos is not None:
            source = first_files(source, asked.photos, Path(scratch, "some"))
        flow(source, Path(scratch, "first"), environ=environ)
        for number in range(asked.rounds):
            turned = list(found.items())[number % len(found) :] + list(found.items())[: number % len(found)]
            for name, runs in turned:
                root = Path(scratch, f"{name.replace(' ', '-')}-{number}")
                if name == "apart and sealed":
                    command = [FACELOOP, "keys", "init", "--root", str(root)]
                    command += ["--keys", f"{scratch}/keys-{number}.sqlite3"]
                    subprocess.run(command, env=environ, check=True, capture_output=True)
                settings = IN_THE_WORKER if name == "neither" else ()
                runs.append(flow(source, root, *settings, environ=environ))
    print("| flow | CPU s | against neither | inside sha256 | wall s |\n|---|---|---|---|---|")
    for name, runs in found.items():
        ratios = [run.cpu_s / plain.cpu_s for run, plain in zip(runs, found["neither"], strict=True)]
        print(
            f"| {name} | {median(run.cpu_s for run in runs):.1f} | {median(ratios):.3f} "
            f"({min(ratios):.3f} to {max(ratios):.3f}) | {median(run.hashing_s / run.cpu_s for run in runs):.2%} "
            f"| {median(run.wall_s for run in runs):.1f} |"
        )


if __name__ == "__main__":
    main()
