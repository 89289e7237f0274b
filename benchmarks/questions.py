"""How many answers until the clusters are right: our choice of questions against random order and smallest margin.

    python -m benchmarks.questions EMBEDDINGS.npz … [--seeds N] [--questions N] [--json FILE]

An oracle answers from truth (`faceloop simulate` is the same on a root). EMBEDDINGS.npz holds `vectors` (n, d) float32
unit norm, `labels` (n,) str, and if known `quality` (n,) in [0, 1] and `face_id`. All strategies draw from the same
candidates, with the same beliefs; only the order differs, and that ours may ask again what it is not sure of.
Each start is clustered with the default params; `+0.10` with every threshold that much too strict, as with a
recogniser whose calibration is off. Halves of people by sha256 of the label, as in clustering_faces.py: prior
weights of the questions were set on all people and confirmed on the tuning half.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from benchmarks.thresholds import calibrated_params, slipped

from faceloop.clustering.constraints import Constraints
from faceloop.clustering.nodes import Nodes
from faceloop.clustering.params import PartitionParams
from faceloop.commands.simulate import STRATEGIES, selection_params
from faceloop.params import default_params_path, read_params, section
from faceloop.questions.oracle import Oracle, Progress, SimulationParams, World, questions_to_reach, simulate
from faceloop.questions.plan_params import SelectParams

SLIPS = (0.0, 0.10)
ERROR_RATES = (0.0, 0.03)
TARGETS = (0.99, 0.995, 0.998)
SECONDS = 4.0
BATCH = 5


def read_world(path: Path, params: PartitionParams, part: str) -> World:
    """The faces of one part of the people: all, or held out (odd sha256 of the label)."""
    with np.load(path) as stored:
        vectors, labels = stored["vectors"].astype(np.float32), stored["labels"].astype(str)
        quality = stored["quality"].astype(np.float32) if "quality" in stored else np.ones(len(labels), np.float32)
    people, truth = np.unique(labels, return_inverse=True)
    is_odd = np.array([int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2 == 1 for name in people.tolist()])
    rows = np.flatnonzero(is_odd[truth]) if part == "held out" else np.arange(len(truth))
    none = np.empty((0, 2), np.int64)
    return World(
        nodes=Nodes(
            node_ids=tuple(f"{row:09d}" for row in rows.tolist()),
            vectors=vectors[rows],
            weights=np.ones(len(rows), np.float32),
            quality=quality[rows],
            subset=np.zeros(len(rows), np.int32),
        ),
        faces=np.ones(len(rows), np.int64),
        truth=truth[rows],
        known=Constraints(must_link=none, cannot_link=none),
        partition_params=params,
    )


def params_of(path: Path) -> PartitionParams:
    """The default params, calibrated to these vectors without labels."""
    with np.load(path) as stored:
        return calibrated_params(path.stem, stored["vectors"].astype(np.float32))


def shown(counts: Sequence[int | None]) -> str:
    """Median and range of answers to a target; `never` counts as more than all."""
    known = sorted(np.inf if count is None else count for count in counts)
    middle = known[len(known) // 2]
    text = ["never" if not np.isfinite(value) else f"{value:.0f}" for value in (middle, known[0], known[-1])]
    return text[0] if text[1] == text[2] else f"{text[0]} ({text[1]} to {text[2]})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("embeddings", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print("| recogniser | people | start | wrong answers | strategy | F at start |", end="")
    print("".join(f" answers to {target:g} |" for target in TARGETS), f"F after {options.questions} | cpu s a run |")
    print("|---|---|---|--:|---|" + "--:|" * (len(TARGETS) + 3))
    asking = section(read_params(default_params_path()), "select", SelectParams)
    written: dict[str, list[list[Progress]]] = {}
    for path in options.embeddings:
        params = params_of(path)
        for part in ("held out", "all"):
            for slip in SLIPS:
                world = read_world(path, slipped(params, slip), part)
                for error_rate in ERROR_RATES:
                    for strategy in STRATEGIES:
                        selection = selection_params(world.partition_params, asking, error_rate=0.03, seconds=SECONDS)
                        start_s = time.process_time()
                        runs = [
                            simulate(
                                world,
                                Oracle(truth=world.truth, error_rate=error_rate),
                                selection,
                                SimulationParams(
                                    strategy=strategy, questions=options.questions, batch_size=BATCH, seed=seed
                                ),
                            )
                            for seed in range(options.seeds)
                        ]
                        cpu_s = (time.process_time() - start_s) / options.seeds
                        cells = [shown([questions_to_reach(run, target) for run in runs]) for target in TARGETS]
                        ends = np.mean([run[-1].pairwise_f for run in runs])
                        start = "default" if slip == 0 else f"{slip:+.2f}"
                        print(
                            f"| {path.stem} | {part} | {start} | {error_rate:.0%} | {strategy} | "
                            f"{runs[0][0].pairwise_f:.4f} | {' | '.join(cells)} | {ends:.4f} | {cpu_s:.1f} |",
                            flush=True,
                        )
                        written[f"{path.stem}/{part}/{start}/{error_rate}/{strategy}"] = runs
    if options.json:
        plain = {
            name: [[(p.questions, p.pairwise_f, p.wrong_constraints) for p in run] for run in runs]
            for name, runs in written.items()
        }
        options.json.write_text(json.dumps(plain), encoding="utf-8")


if __name__ == "__main__":
    main()
