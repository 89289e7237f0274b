"""Every benchmark with short settings, their tables one after the other: what `make bench` runs.

Data that are not there are named and skipped. When a benchmark fails the others go on, and the exit code is 1.
`--full` takes the settings of the figures in RESULTS.md. Run: `python benchmarks/run_all.py [--full]
[--faces SOURCE ...]`, where each SOURCE is one of `clustering_faces.py`.
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


def benchmarks(faces: tuple[str, ...]) -> list[Benchmark]:
    crowd: tuple[str, ...] = ("--crowd", str(CROWD))
    if not CROWD.is_file():
        print(f"Skipped: the crowd clip; {CROWD.name} is not in the development data beside the checkout.")
        crowd = ()
    if not faces:
        print("Skipped: clustering_faces.py; name embeddings of photos with --faces (how: benchmarks/README.md).")
    return [
        Benchmark(script="embed_engines.py", short=("--rounds", "3", "--crops", "32"), full=()),
        Benchmark(script="detect_embed.py", short=("--rounds", "1", "--threads", "2"), full=crowd),
        Benchmark(script="memory_hour.py", short=("--minutes", "0.5", "2"), full=()),
        Benchmark(
            script="clustering.py",
            short=("--faces", "5000", "20000", "--peers-up-to", "5000"),
            full=("--faces", "20000", "100000", "1000000", "--dims", "128", "512"),
        ),
        *[Benchmark(script="clustering_faces.py", short=(source,), full=(source,)) for source in faces],
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument(
        "--faces", nargs="*", default=[], type=Path, metavar="SOURCE", help="photos with names, embedded"
    )
    options = parser.parse_args()
    failed = []
    for benchmark in benchmarks(tuple(str(source.resolve()) for source in options.faces)):
        print(f"\n## {benchmark.script}\n", flush=True)
        settings = benchmark.full if options.full else benchmark.short
        started = time.perf_counter()
        command = [sys.executable, "-m", f"benchmarks.{Path(benchmark.script).stem}", *settings]
        code = subprocess.run(command, check=False, cwd=HERE.parent).returncode
        if code:
            failed.append(f"{benchmark.script} ended with {code}")
        print(f"\n({time.perf_counter() - started:.0f} s)", flush=True)
    if failed:
        raise SystemExit("; ".join(failed))


if __name__ == "__main__":
    main()
