"""A made-up clustering as questions see it: the two-faced world, clustered, with one face a node."""

from collections.abc import Mapping

import numpy as np

from faceloop.clustering.calibration import Calibration
from faceloop.clustering.clustered import Clustered
from faceloop.clustering.constraints import Constraints
from faceloop.clustering.partition import partition
from faceloop.params import read_params, section
from faceloop.questions.oracle import World
from faceloop.questions.plan_params import SelectParams
from faceloop.questions.situation import Sight, Situation

from .question_world import NOTHING_KNOWN
from .runner_world import ROOT

# Sigmas of 0.1 from 0: the threshold is question_world's 0.5, its scale 0.05.
CALIBRATION = Calibration(
    contract_id="made-up", impostor_mean=0.0, impostor_sd=0.1, impostor_pairs=1, people=1, same_picture_mean=None,
    same_picture_pairs=0, genuine_mean=None, genuine_pairs=0, method="given", source="a test",
)  # fmt: skip


def select_params(*overrides: str) -> SelectParams:
    """The shipped params on the scale of the made-up world."""
    scale = ["threshold_sigmas=5.0", "confidence_scale_sigmas=0.5", "alike_sigmas=9.5", "lowest_chance=0.005"]
    tree = read_params(ROOT / "params.yaml", [f"select.{entry}" for entry in (*scale, *overrides)])
    return section(tree, "select", SelectParams)


def face_of(row: int) -> str:
    """The only face of a node."""
    return f"face{row:04d}"


def situation_of(
    world: World,
    *,
    constraints: Constraints = NOTHING_KNOWN,
    labels: np.ndarray | None = None,  # type: ignore[type-arg]
    confidence: np.ndarray | None = None,  # type: ignore[type-arg]
    fewest_nodes: int = 3,
    confirmed: frozenset[str] = frozenset(),
    differing: Mapping[int, float] | None = None,
    shared_keys: Mapping[tuple[int, int], int] | None = None,
) -> Situation:
    """Clusters of `fewest_nodes` and more are identities `person-LABEL`; others are nobody yet."""
    found = partition(nodes=world.nodes, constraints=constraints, params=world.partition_params)
    given = Clustered(
        nodes=world.nodes,
        labels=found.labels if labels is None else labels,
        hubness=found.hubness,
        faces=world.faces,
        constraints=constraints,
    )
    sizes = np.bincount(given.labels)
    rows = range(len(given.labels))
    return Situation(
        given=given,
        confidence=found.confidence if confidence is None else confidence,
        calibration=CALIBRATION,
        shots=[(face_of(row),) for row in rows],
        sight_of={
            face_of(row): Sight(
                face_id=face_of(row), footage_id=f"photo{row}", subset=f"album{row % 3}", pts_ms=0,
                tracklet_id=world.nodes.node_ids[row], quality=float(world.nodes.quality[row]), yaw=0.0, pitch=0.0,
                occlusion=0.0, has_crop=True,
            )
            for row in rows
        },
        identity_of_label={label: f"person-{label}" for label in np.flatnonzero(sizes >= fewest_nodes).tolist()},
        confirmed=confirmed,
        differing=differing or {},
        shared_keys=shared_keys or {},
        model_version="made-up",
    )  # fmt: skip
