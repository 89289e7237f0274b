"""The sharded classifier: memory a rank and time a step, 10,000 to 1,000,000 classes, on 1 and 2 ranks (gloo).

    python benchmarks/sharded_classifier.py [--classes 10000 100000 1000000] [--steps 3] [--batch 64]

Features are random unit vectors of 512 numbers; a step is forward and backward with SGD on the centres, no backbone.
One thread a rank. Memory is the peak of a process's resident memory, less what it held before the classifier.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DIMENSION = 512
WARM_UP_STEPS = 1


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one_rank(arguments: list[str]) -> None:
    """Work as one rank and print one JSON line."""
    import torch
    import torch.distributed as dist

    from faceloop.training.margins import Margin
    from faceloop.training.sharded_classifier import ShardedClassifier

    rank, ranks, classes, batch, steps = map(int, arguments[:5])
    rate, store = float(arguments[5]), arguments[6]
    torch.set_num_threads(1)
    if ranks > 1:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=ranks)
    rng = torch.Generator().manual_seed(rank)
    own = batch // ranks
    features = torch.nn.functional.normalize(torch.randn((own, DIMENSION), generator=rng)).requires_grad_()
    indices = torch.randint(0, classes, (own,), generator=rng)
    before = _peak_mib()
    classifier = ShardedClassifier(
        DIMENSION, classes, rank=rank, world_size=ranks, margin=Margin.arcface(), sample_rate=rate
    )
    walls, cpus = [], []
    for _ in range(WARM_UP_STEPS + steps):
        wall, cpu = time.perf_counter(), time.process_time()
        loss = classifier(features, indices)
        loss.backward()
        with torch.no_grad():
            assert classifier.centres.grad is not None
            classifier.centres.sub_(classifier.centres.grad, alpha=0.1)
            classifier.centres.grad = None
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    kept = slice(WARM_UP_STEPS, None)
    print(
        json.dumps(
            {
                "loss": loss.item(),
                "wall_s": sorted(walls[kept])[steps // 2],
                "cpu_s": sorted(cpus[kept])[steps // 2],
                "memory_mib": _peak_mib() - before,
                "centres_mib": classifier.centres.numel() * 4 / 2**20,
            }
        )
    )
    if ranks > 1:
        dist.destroy_process_group()


def _measure(ranks: int, classes: int, *, batch: int, steps: int, rate: float) -> list[dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        running = [
            subprocess.Popen(
                [sys.executable, __file__, "--rank"]
                + [str(v) for v in (rank, ranks, classes, batch, steps, rate, Path(folder) / "store")],
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in range(ranks)
        ]
        said = [process.communicate()[0] for process in running]
    assert not any(process.returncode for process in running), "a rank failed: its message is above"
    return [json.loads(line) for line in said]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rates", type=float, nargs="+", default=[1.0, 0.1])
    chosen = parser.parse_args()
    print("| classes | sampling | ranks | MiB a rank | of these centres | step wall s | step CPU s a rank |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for classes in chosen.classes:
        for rate in chosen.rates:
            for ranks in (1, 2):
                found = _measure(ranks, classes, batch=chosen.batch, steps=chosen.steps, rate=rate)
                worst = {key: max(rank[key] for rank in found) for key in found[0]}
                print(
                    f"| {classes:,} | {rate:g} | {ranks} | {worst['memory_mib']:,.0f} | {worst['centres_mib']:,.0f} "
                    f"| {worst['wall_s']:.2f} | {worst['cpu_s']:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--rank"]:
        one_rank(sys.argv[2:])
    else:
        main()
