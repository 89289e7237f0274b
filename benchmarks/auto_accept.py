"""Does risk-controlled acceptance keep its word on clusters of real faces, and how much does it accept?

    python -m benchmarks.auto_accept EMBEDDINGS.npz … [--resamples 200]

EMBEDDINGS.npz as for questions.py. Faces are clustered with the default params, and with thresholds 0.10 too loose,
so that there are wrong labels to refuse. A label is right where its face is of the person most faces of its cluster
show. Each resample draws labels at random (with replacement), has them checked, and asks for a precision of 0.995 at
95 % confidence; the claim holds if the labels of the whole set above the threshold are that precise.
"""

import argparse
from pathlib import Path

import numpy as np
from benchmarks.questions import params_of, read_world
from benchmarks.thresholds import slipped
from numpy.typing import NDArray

from faceloop.clustering.partition import partition
from faceloop.identity.accept import choose_threshold
from faceloop.identity.confidence_scale import fit_scale
from faceloop.questions.oracle import World

SLIPS = (0.0, -0.10)
SAMPLES = (600, 1000, 2000, 5000)
PRECISION, LEVEL = 0.995, 0.95


def labels_of(world: World) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Confidence of each machine label, and whether it is right."""
    found = partition(nodes=world.nodes, constraints=world.known, params=world.partition_params)
    is_in = found.labels >= 0
    labels, truth = found.labels[is_in], world.truth[is_in]
    table = np.zeros((labels.max() + 1, truth.max() + 1), np.int64)
    np.add.at(table, (labels, truth), 1)
    return found.confidence[is_in].astype(np.float64), table.argmax(axis=1)[labels] == truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("embeddings", nargs="+", type=Path)
    parser.add_argument("--resamples", type=int, default=200)
    options = parser.parse_args()
    print(
        "| recogniser | thresholds | labels | wrong | checked | claim held | accepted something | share accepted |",
        end="",
    )
    print(" more needed where not | ECE before | ECE after |\n|---|---|" + "--:|" * 9)
    for path in options.embeddings:
        params = params_of(path)
        for slip in SLIPS:
            confidence, is_right = labels_of(read_world(path, slipped(params, slip), "all"))
            for samples in SAMPLES:
                rng = np.random.default_rng(samples)
                held, share, needed, ece = 0, [], [], []
                for _ in range(options.resamples):
                    rows = rng.integers(0, len(confidence), samples)
                    found = choose_threshold(
                        confidence[rows], is_right[rows], precision=PRECISION, confidence_level=LEVEL
                    )
                    scale = fit_scale(confidence[rows], is_right[rows], min_samples=200)
                    ece.append((scale.ece_before, scale.ece))
                    if found.threshold is None:
                        held += 1
                        needed.append(found.more_samples_needed)
                        continue
                    is_accepted = confidence >= found.threshold
                    held += bool(is_right[is_accepted].mean() >= PRECISION)
                    share.append(is_accepted.mean())
                before, after = np.mean(ece, axis=0)
                print(
                    f"| {path.stem} | {'default' if slip == 0 else f'{slip:+.2f}'} | {len(is_right)} | "
                    f"{np.count_nonzero(~is_right)} | {samples} | {held / options.resamples:.1%} | "
                    f"{len(share) / options.resamples:.0%} | {np.mean(share) if share else 0:.0%} | "
                    f"{np.median(needed) if needed else 0:.0f} | {before:.3f} | {after:.3f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
