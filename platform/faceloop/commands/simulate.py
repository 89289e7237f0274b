"""simulate: how fast a root's clusters become right when somebody who knows everybody answers questions."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from faceloop.clustering.calibration import Calibration, Shortage
from faceloop.clustering.constraints import Constraints
from faceloop.clustering.impostors import measure_calibration
from faceloop.clustering.params import PartitionParams
from faceloop.commands.calibrate import unlabelled_of
from faceloop.commands.options import ParamsOption, RootOption, SetOption, workspace
from faceloop.identity.gather import read_roster, seen_faces
from faceloop.identity.roster import Roster
from faceloop.params import section
from faceloop.questions.beliefs import Trust
from faceloop.questions.candidates import CandidateParams
from faceloop.questions.curve import CurvePoint, average_curve
from faceloop.questions.oracle import Oracle, Progress, SimulationParams, World, questions_to_reach, simulate
from faceloop.questions.plan_params import SelectParams
from faceloop.questions.selection import SelectionParams, Strategy
from faceloop.reports.material import read_boxes
from faceloop.reports.plots import save_curves
from faceloop.reports.truth import FOLDERS, TruthSpec, know
from faceloop.runner import Workspace
from faceloop.stages.cluster import Params as ClusterParams
from facestore.errors import ConfigError, DataError, StageError
from facestore.publish import read_manifest
from facestore.records import Footage, Reading, Rejection
from facestore.tables import read_table

Int64Array = NDArray[np.int64]
STRATEGIES: tuple[Strategy, ...] = ("expected_gain", "margin", "random")
_LEAST_ERROR_RATE = 0.01  # what selection presumes of people who never err

TruthOption = Annotated[str, typer.Option("--truth", help="A truth.json, or `folders`: one folder a person.")]
ExceptOption = Annotated[Path | None, typer.Option("--truth-except", help="Paths, one a line, whose folder lies.")]
QuestionsOption = Annotated[int, typer.Option("--questions", min=1, help="How many to ask at most.")]
BatchOption = Annotated[int, typer.Option("--batch", min=1, help="Answers between two clusterings.")]
ErrorOption = Annotated[float, typer.Option("--error-rate", min=0.0, max=0.49, help="Share of wrong answers.")]
SecondsOption = Annotated[float, typer.Option("--seconds", min=0.1, help="Seconds of a person for an answer.")]
SeedsOption = Annotated[int, typer.Option("--seeds", min=1, help="Runs of each strategy.")]
TargetOption = Annotated[float, typer.Option("--target", min=0.0, max=1.0, help="Pairwise F to reach.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="A folder; default: simulation, in the root.")]


def simulate_answers(
    truth: TruthOption,
    root: RootOption = None,
    truth_except: ExceptOption = None,
    questions: QuestionsOption = 100,
    batch_size: BatchOption = 5,
    error_rate: ErrorOption = 0.0,
    seconds: SecondsOption = 4.0,
    seeds: SeedsOption = 3,
    target: TargetOption = 0.99,
    out: OutOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Let an oracle that knows the truth answer questions, and draw F against questions and minutes."""
    work = workspace(root, params, overrides)
    file = None if truth == FOLDERS else Path(truth)
    if file is not None and not file.is_file():
        raise ConfigError(f"--truth {truth}: no such file; give a truth.json, or the word {FOLDERS}")
    world = read_world(work, TruthSpec(file=file, except_file=truth_except))
    oracle = Oracle(truth=world.truth, error_rate=error_rate)
    asking = section(work.tree, "select", SelectParams)
    selection = selection_params(world.partition_params, asking, error_rate=error_rate, seconds=seconds)
    runs: dict[Strategy, list[list[Progress]]] = {}
    for strategy in STRATEGIES:
        runs[strategy] = [
            simulate(
                world,
                oracle,
                selection,
                SimulationParams(strategy=strategy, questions=questions, batch_size=batch_size, seed=seed),
            )
            for seed in range(seeds)
        ]
        typer.echo(_line(strategy, runs[strategy], target))
    folder = out or work.root / "simulation"
    folder.mkdir(parents=True, exist_ok=True)
    curves: dict[str, list[CurvePoint]] = {strategy: average_curve(histories) for strategy, histories in runs.items()}
    save_curves(curves, folder / "simulation.png", title=f"{len(world.truth)} nodes, {error_rate:.0%} wrong answers")
    written = {
        strategy: {
            "questions_to_target": [questions_to_reach(history, target) for history in histories],
            "runs": [[asdict(progress) for progress in history] for history in histories],
        }
        for strategy, histories in runs.items()
    }
    document = {"target": target, "error_rate": error_rate, "seconds": seconds, "strategies": written}
    (folder / "simulation.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    typer.echo(f"written: {folder / 'simulation.json'}, {folder / 'simulation.png'}")


def selection_params(
    partition: PartitionParams, asking: SelectParams, *, error_rate: float, seconds: float
) -> SelectionParams:
    """What to ask about clusters that were made with `partition`; every kind of question takes `seconds`."""
    return SelectionParams(
        candidates=CandidateParams(
            threshold=partition.across_similarity,
            confidence_scale=partition.confidence_scale,
            neighbours=asking.neighbours,
            search=partition.search,
        ),
        trust=Trust(error_rate=max(error_rate, _LEAST_ERROR_RATE), certainty=asking.certainty),
        lowest_chance=asking.lowest_chance,
        merge_s=seconds,
        split_s=seconds,
        outlier_s=seconds,
    )


def read_world(work: Workspace, spec: TruthSpec) -> World:
    """The nodes of a root whose person is known, with the most frequent person of their faces, and no decisions.

    Raises StageError before embed has run, DataError where truth knows nobody, ContractMismatch for templates
    of two recognisers, ConfigError where their similarities cannot be calibrated.
    """
    footage, faces, embeddings = (work.path(artifact) for artifact in ("footage", "faces", "embeddings"))
    for path in (footage, faces, embeddings):
        if read_manifest(path) is None:
            raise StageError(f"simulate: missing input {path}; run ingest, detect and embed first")
    known = know(
        spec,
        list(read_table(footage, "footage", Footage)),
        read_boxes(faces),
        {reading.footage_id: reading for reading in read_table(faces, "readings", Reading)},
        list(read_table(footage, "rejections", Rejection)),
    )
    seen = seen_faces(faces)
    roster, contract_id = read_roster(embeddings, seen, effective=[], aliases={})
    truth, faces_of_node = _people(roster, known.person_of_face)
    kept = np.flatnonzero(faces_of_node)
    if len(kept) == 0:
        raise DataError("truth names nobody on the faces of this root; check --truth and --root")
    place = np.full(len(faces_of_node), -1, np.int64)
    place[kept] = np.arange(len(kept))
    together = place[roster.same_picture(seen)]
    params = section(work.tree, "cluster", ClusterParams)
    return World(
        nodes=roster.nodes.at(kept),
        faces=faces_of_node[kept],
        truth=truth[kept],
        known=Constraints(
            must_link=np.empty((0, 2), np.int64), cannot_link=together[(together >= 0).all(axis=1)].reshape(-1, 2)
        ),
        partition_params=params.partition(params.calibration_of(contract_id, lambda: _measured(work, contract_id))),
    )


def _measured(work: Workspace, contract_id: str) -> Calibration | Shortage:
    (own,) = (unlabelled for unlabelled in unlabelled_of(work) if unlabelled.contract_id == contract_id)
    return measure_calibration(own)


def _people(roster: Roster, person_of_face: Mapping[str, str]) -> tuple[Int64Array, Int64Array]:
    """Person and known faces of each node, (n,) int64 both; the first name of equals, 0 faces where nobody is known."""
    number = {person: place for place, person in enumerate(sorted(set(person_of_face.values())))}
    votes = [Counter[int]() for _ in roster.nodes.node_ids]
    for face, node in roster.node_of_face.items():
        if (person := person_of_face.get(face)) is not None:
            votes[node][number[person]] += 1
    people = [min(count, key=lambda person: (-count[person], person), default=-1) for count in votes]
    return np.array(people, np.int64), np.array([count.total() for count in votes], np.int64)


def _line(strategy: Strategy, histories: list[list[Progress]], target: float) -> str:
    reached = [questions_to_reach(history, target) for history in histories]
    shown = ", ".join("never" if count is None else str(count) for count in reached)
    ends = " ".join(f"{history[-1].pairwise_f:.4f}" for history in histories)
    return f"{strategy}: F {histories[0][0].pairwise_f:.4f}; {target:g} after {shown} questions; at the end {ends}"
