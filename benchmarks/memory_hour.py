"""Peak memory of a run must not grow with the length of footage: a clip is looped to a minute, ten, an hour.

The loop is a stream copy (no re-encoding, times shifted). Each length runs `ingest` to `identify` as `faceloop run`
processes; their resident memory, children included, is sampled, and the part of it that is the process's own: pages of
mapped files (the crop stores) are the kernel's cache and go back to it when memory is short. Looped clips show the
same people again and again, so the number of faces must grow with the length.
Run: `python benchmarks/memory_hour.py [--minutes 1 10 60]`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import psutil

STAGES = ("ingest", "detect", "embed", "cluster", "identify")
SAMPLE_CLIP = "gate/gate-day.mp4"
LIMIT_MB = 2000.0
SAMPLE_EVERY_S = 0.1
MB = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class StageUse:
    """One `faceloop run`: wall seconds, highest resident memory and highest own memory seen, and its counts."""

    stage: str
    wall_s: float
    peak_mb: float
    own_peak_mb: float  # without the pages of mapped files
    counts: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """All stages over footage of one length."""

    footage_s: float
    uses: tuple[StageUse, ...]

    @property
    def peak_mb(self) -> float:
        return max(use.peak_mb for use in self.uses)

    def count(self, stage: str, name: str) -> int:
        return int(str(next(use.counts[name] for use in self.uses if use.stage == stage)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10, 60])
    parser.add_argument("--clip", type=Path, help="the clip to loop; default: one of the sample footage")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        clip = options.clip or sample_clip(scratch)
        lengths = []
        for minutes in options.minutes:
            source, root = scratch / f"source-{minutes:g}", scratch / f"root-{minutes:g}"
            source.mkdir()
            looped_s = loop_clip(clip, source / "looped.mp4", minutes * 60)
            uses = tuple(run_stage(stage, source, root, options.threads) for stage in STAGES)
            lengths.append(Length(footage_s=looped_s, uses=uses))
            print(f"{minutes:g} min: peak {lengths[-1].peak_mb:.0f} MB", file=sys.stderr)
    print_table(lengths)
    if any(length.peak_mb >= LIMIT_MB for length in lengths):
        raise SystemExit(f"peak memory reached {LIMIT_MB:.0f} MB")


def sample_clip(scratch: Path) -> Path:
    subprocess.run([faceloop(), "sample-footage", str(scratch / "sample")], check=True, capture_output=True)
    return scratch / "sample" / SAMPLE_CLIP


def faceloop() -> str:
    return str(Path(sys.executable).parent / "faceloop")


def loop_clip(clip: Path, looped: Path, seconds: float) -> float:
    """Copy the clip's packets again and again until `seconds` are reached; returns the length written, s."""
    with av.open(str(looped), "w") as target, av.open(str(clip)) as first:
        inputs = first.streams.video[0]
        assert inputs.duration is not None and inputs.time_base is not None
        output = target.add_stream_from_template(inputs)
        clip_s = float(inputs.duration * inputs.time_base)
        times = max(round(seconds / clip_s), 1)
        for turn in range(times):
            with av.open(str(clip)) as source:
                stream = source.streams.video[0]
                for packet in source.demux(stream):
                    if packet.dts is None or packet.pts is None:  # the flush packet at the end
                        continue
                    packet.pts += turn * inputs.duration
                    packet.dts += turn * inputs.duration
                    packet.stream = output
                    target.mux(packet)
    return times * clip_s


def run_stage(stage: str, source: Path, root: Path, threads: int) -> StageUse:
    command = [faceloop(), "run", stage, "--root", str(root), "--threads", str(threads)]
    command += ["--set", f"paths.source={json.dumps(str(source))}"]
    started, peak_mb, own_peak_mb = time.perf_counter(), 0.0, 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            resident_mb, own_mb = memory_mb(process.pid)
            peak_mb, own_peak_mb = max(peak_mb, resident_mb), max(own_peak_mb, own_mb)
            time.sleep(SAMPLE_EVERY_S)
        assert process.stdout is not None
        told = process.stdout.read()
    if process.returncode:
        raise SystemExit(f"faceloop run {stage} ended with {process.returncode}")
    return StageUse(
        stage=stage,
        wall_s=time.perf_counter() - started,
        peak_mb=peak_mb,
        own_peak_mb=own_peak_mb,
        counts=json.loads(told.splitlines()[-1]),
    )


def memory_mb(pid: int) -> tuple[float, float]:
    """Resident and own memory of a process and its children; 0 once it has ended."""
    try:
        process = psutil.Process(pid)
        found = [member.memory_info() for member in (process, *process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return 0.0, 0.0
    return sum(info.rss for info in found) / MB, sum(info.rss - info.shared for info in found) / MB


def print_table(lengths: Sequence[Length]) -> None:
    """Cells are resident MB (of it own MB)."""
    stages = " | ".join(f"{stage}, MB (own)" for stage in STAGES)
    print(f"| footage | {stages} | peak MB | faces | faces/min | wall s |")
    print("|--:|" + "--:|" * (len(STAGES) + 4))
    for length in lengths:
        faces, minutes = length.count("detect", "in"), length.footage_s / 60
        cells = [f"{use.peak_mb:.0f} ({use.own_peak_mb:.0f})" for use in length.uses]
        cells += [f"**{length.peak_mb:.0f}**", f"{faces}", f"{faces / minutes:.0f}"]
        cells += [f"{sum(use.wall_s for use in length.uses):.0f}"]
        print(f"| {minutes:.1f} min | " + " | ".join(cells) + " |")
    if len(lengths) > 1:
        lengths_min = [length.footage_s / 60 for length in lengths]
        slopes = []
        for place, stage in enumerate(STAGES):
            uses = [length.uses[place] for length in lengths]
            whole, own = (
                float(np.polyfit(lengths_min, peaks_mb, 1)[0])
                for peaks_mb in ([use.peak_mb for use in uses], [use.own_peak_mb for use in uses])
            )
            slopes.append(f"{stage} {whole:+.2f} ({own:+.2f})")
        print(f"\nSlope, MB a minute of footage (own): {', '.join(slopes)}. Limit of the peak: {LIMIT_MB:.0f} MB.")


if __name__ == "__main__":
    main()
