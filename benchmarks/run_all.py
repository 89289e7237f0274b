"""Every benchmark with short settings, their tables one after the other: what `make bench` runs.

Data that are not there are named and skipped. When a benchmark fails the others go on, and the exit code is 1.
`--full` takes the settings of the figures in RESULTS.md. Run: `python benchmarks/run_all.py [--full]`.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CROWD = HERE.parent.parent / "shared/data/video/facenet_pytorch_video.mp4"  # beside the checkout; may be absent


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A script of this folder and its settings."""

    script: str
    short: tuple[str, ...]
    full: tuple[str, ...]


def benchmarks() -> list[Benchmark]:
    crowd: tuple[str, ...] = ("--crowd", str(CROWD))
    if not CROWD.is_file():
        print(f"Skipped: the crowd clip; {CROWD.name} is not in the development data beside the checkout.")
        crowd = ()
    return [
        Benchmark(script="embed_engines.py", short=("--rounds", "3", "--crops", "32"), full=()),
        Benchmark(script="detect_embed.py", short=("--rounds", "1", "--threads", "2"), full=crowd),
        Benchmark(script="memory_hour.py", short=("--minutes", "0.5", "2"), full=()),
        Benchmark(script="clustering_faces.py", short=("--synthetic", "20000"), full=("--synthetic", "100000")),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    options = parser.parse_args()
    failed = []
    for benchmark in benchmarks():
        print(f"\n## {benchmark.script}\n", flush=True)
        settings = benchmark.full if options.full else benchmark.short
        started = time.perf_counter()
        code = subprocess.run([sys.executable, str(HERE / benchmark.script), *settings], check=False).returncode
        if code:
            failed.append(f"{benchmark.script} ended with {code}")
        print(f"\n({time.perf_counter() - started:.0f} s)", flush=True)
    if failed:
        raise SystemExit("; ".join(failed))


if __name__ == "__main__":
    main()
