"""People check machine labels that were drawn at random. What claims about precision rest on."""

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer

from faceloop.commands.find_faces import find_faces
from faceloop.commands.options import ByOption, ParamsOption, RootOption, SetOption, user, workspace
from faceloop.decision_tables import with_identity_log
from faceloop.runner import Workspace
from facestore.decisions import Review
from facestore.errors import DataError, StageError
from facestore.publish import read_manifest
from facestore.records import Assignment, Cluster
from facestore.tables import read_columns, read_table


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineLabel:
    """What the machine said of a face: before any scale that earlier reviews gave to its confidence."""

    identity_id: str
    confidence: float


app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.command()
def draw(
    count: Annotated[int, typer.Argument(min=1, help="How many labels to check.")],
    seed: Annotated[int, typer.Option(help="Another seed draws other labels.")] = 0,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Draw machine labels at random, one JSON line each. Check all of them: a choice among them is no sample."""
    labels = machine_labels(workspace(root, params, overrides))
    names = sorted(labels)
    for name in sorted(random.Random(seed).sample(names, min(count, len(names)))):
        row = {
            "face_id": name,
            "identity_id": labels[name].identity_id,
            "confidence": round(labels[name].confidence, 4),
        }
        typer.echo(json.dumps(row))


@app.command()
def add(
    face: Annotated[str, typer.Argument(help="A face id, or its first digits.")],
    right: Annotated[bool, typer.Option("--right/--wrong", help="Whether the label is right.")],
    by: ByOption = "",
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Record that a machine label was checked. Say a wrong one's truth by `faceloop decisions` as well."""
    work = workspace(root, params, overrides)
    (name,) = find_faces(work, [face])
    labels = machine_labels(work)
    if name not in labels:
        raise DataError(f"face {name} has no label of the machine; only those are reviewed")
    manifest = read_manifest(work.path("assignments"))
    review = Review(
        face_id=name,
        identity_id=labels[name].identity_id,
        confidence=labels[name].confidence,
        run_id=manifest.run_key if manifest else "",
        is_right=right,
        annotator=by or user(),
        reviewed_at=datetime.now(UTC),
    )
    with_identity_log(work, lambda log: log.append_reviews([review]))
    typer.echo(f"{name}: {'right' if right else 'wrong'}")


def machine_labels(work: Workspace) -> dict[str, MachineLabel]:
    """Faces that the machine alone has labelled. Raises StageError before identify has run."""
    for artifact in ("clusters", "assignments"):
        if read_manifest(work.path(artifact)) is None:
            raise StageError(f"reviews: missing input {work.path(artifact)}; run cluster and identify first")
    clusters = read_columns(work.path("clusters"), "clusters", Cluster, ("face_id", "confidence"))
    bare = dict(zip(clusters["face_id"].to_pylist(), clusters["confidence"].to_pylist(), strict=True))
    return {
        row.face_id: MachineLabel(identity_id=row.identity_id, confidence=bare[row.face_id])
        for row in read_table(work.path("assignments"), "assignments", Assignment)
        if row.source == "auto" and row.identity_id is not None and row.face_id in bare
    }
