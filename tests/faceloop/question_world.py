"""A made-up world whose mistakes are known: some people have a second look, and many strangers resemble each other.

Every person has a direction of his own. The few faces of a second look lie around another direction, less similar
than clustering asks for, so clustering always splits exactly those people. Look-alikes are as similar to each other,
but each of them is seen often.
"""

import numpy as np
from numpy.typing import NDArray

from faceloop.clustering.constraints import Constraints
from faceloop.clustering.nodes import Nodes
from faceloop.clustering.params import PartitionParams
from faceloop.clustering.partition import SearchParams
from faceloop.questions.beliefs import Trust
from faceloop.questions.candidates import CandidateParams
from faceloop.questions.oracle import World
from faceloop.questions.selection import SelectionParams

Int64Array = NDArray[np.int64]
NO_PAIRS = np.empty((0, 2), np.int64)
NOTHING_KNOWN = Constraints(must_link=NO_PAIRS, cannot_link=NO_PAIRS)
SEARCH = SearchParams(flat_rows_max=100_000, probes=8, block_rows=1024)
THRESHOLD = 0.5
PARTITION = PartitionParams(
    neighbours=16,
    micro_similarity=0.9,
    within_similarity=THRESHOLD,
    across_similarity=THRESHOLD,
    attach_similarity=1.0,
    attach_margin=0.05,
    min_quality=0.0,
    full_quality=0.0,
    quality_toll=0.0,
    hubness_share=0.0,
    hubness_similarity=THRESHOLD,
    hubness_skipped=0,
    hubness_cohort=4,
    hubness_prior=4,
    confidence_scale=0.05,
    search=SEARCH,
)
SELECTION = SelectionParams(
    candidates=CandidateParams(threshold=THRESHOLD, confidence_scale=0.05, neighbours=8, search=SEARCH),
    trust=Trust(error_rate=0.03, certainty=0.9),
    lowest_chance=0.005,
    merge_s=4.0,
    split_s=4.0,
    outlier_s=4.0,
)


def two_faced_world(people: int = 40, two_faced: int = 8, faces: int = 6, seed: int = 0) -> World:
    """`faces` nodes of each person, and 2 of the second look of `two_faced` of them, similarity 0.37; the others are
    families of four look-alikes, similarity 0.44."""
    rng = np.random.default_rng(seed)
    dim = 2 * people
    axes = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    centres = list(axes[:people])
    truth, counts = list(range(people)), [faces] * people
    for person in range(two_faced):
        centres.append(0.4 * axes[person] + np.sqrt(1 - 0.4**2) * axes[people + person])
        truth.append(person)
        counts.append(2)
    for person in range(two_faced, people):
        family = axes[people + two_faced + (person - two_faced) // 4]
        centres[person] = np.sqrt(0.48) * family + np.sqrt(0.52) * axes[person]
    looks = np.repeat(np.arange(len(centres)), counts)
    noise = rng.standard_normal((len(looks), dim)) * 0.3 / np.sqrt(dim)
    vectors = np.array(centres)[looks] + noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    n = len(looks)
    return World(
        nodes=Nodes(
            node_ids=tuple(f"node{row:04d}" for row in range(n)),
            vectors=vectors.astype(np.float32),
            weights=np.ones(n, np.float32),
            quality=rng.uniform(0.5, 1, n).astype(np.float32),
            subset=np.zeros(n, np.int32),
        ),
        faces=np.ones(n, np.int64),
        truth=np.array(truth)[looks],
        known=NOTHING_KNOWN,
        partition_params=PARTITION,
    )
