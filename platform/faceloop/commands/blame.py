"""faceloop blame FACE: which decision, run, model and footage made this label."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.tree import Tree

from faceloop.commands.find_faces import find_faces
from faceloop.commands.options import ParamsOption, RootOption, SetOption, workspace
from faceloop.commands.word import read_word
from faceloop.identity.blame import Origin, trace
from facestore.decisions import Decision
from facestore.errors import DataError

_CHAIN = ("footage", "faces", "embeddings", "decisions", "clusters", "assignments")
_WIDEST = 300  # columns: whole ids on one line; a narrow terminal wraps them itself
_VIA = {
    "face": "people spoke of this face",
    "tracklet": "people spoke of a face of the same tracklet",
    "key": "people spoke of a face that shares its key",
    "cluster": "people spoke of faces of the same cluster",
    None: "the machine's own label",
}


def blame(
    face: Annotated[str, typer.Argument(help="A face, or at least 6 of the first digits of its id.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Say why a face has its label: decision, tracklet, cluster, model contract, footage and runs."""
    work = workspace(root, params, overrides)
    word = read_word(work)
    (name,) = find_faces(work, [face])
    if name not in word.current.labels:
        raise DataError(f"face {name} has no label: it was rejected or has no vector; see the report's pending faces")
    identity = word.current.replayed.identity_of.get(name)
    origin = trace(
        word.current.labels[name],
        identity_id=identity,
        identity_name=word.current.replayed.names.get(identity or ""),
        artifacts=[(artifact, work.path(artifact)) for artifact in _CHAIN],
        decisions=word.logs.decisions,
        events=word.logs.events,
        reviews=word.logs.reviews,
    )
    if as_json:
        typer.echo(json.dumps(asdict(origin), ensure_ascii=False, default=_spelled))
    else:
        Console(width=_WIDEST, highlight=False, markup=False).print(as_tree(origin))


def as_tree(origin: Origin) -> Tree:
    """The chain of reasons, outermost first."""
    label, face, cluster = origin.label, origin.face, origin.cluster
    tree = Tree(f"face {face.face_id}")
    who = f"{origin.identity_id}{f' ({origin.identity_name})' if origin.identity_name else ''}"
    top = tree.add(f"{label.state} as {who if origin.identity_id else 'nobody'}, confidence {label.confidence:.3f}")
    reason = top.add(f"{label.source}: {_VIA[label.via]}")
    if origin.decision is not None:
        reason.add(_said(origin.decision))
    for event in origin.events:
        moved = f"event {event.event_id[:12]}: {event.kind} by {event.annotator}"
        top.add(f"{moved}, {event.happened_at:%Y-%m-%d %H:%M} UTC")
    for review in origin.reviews:
        verdict = "right" if review.is_right else "wrong"
        top.add(f"review by {review.annotator}, {review.reviewed_at:%Y-%m-%d %H:%M} UTC: {verdict}")
    if cluster is not None:
        told = f"cluster {cluster.cluster_id} with {origin.mates} other faces, {cluster.status}"
        machine = top.add(f"{told}, machine confidence {cluster.confidence:.3f}")
        machine.add(f"run {cluster.run_id[:12]}")
        machine.add(f"embedding contract {origin.contract_id}")
    seen = tree.add(f"tracklet {face.tracklet_id}, detector {face.detector}, quality {face.quality:.2f}")
    where = origin.footage.uri if origin.footage else face.footage_id
    seen.add(f"footage {where} at {face.pts_ms / 1000:.2f} s, subset {face.subset}")
    runs = tree.add("runs")
    for artifact, run_key in origin.run_keys:
        runs.add(f"{artifact} {run_key[:12]}")
    return tree


def _said(decision: Decision) -> str:
    parts = (decision.verb, decision.face_id, decision.other_face_id, decision.identity_id)
    said = " ".join(part for part in parts if part)
    note = f", “{decision.note}”" if decision.note else ""
    asked = f", question {decision.question_id}" if decision.question_id else ""
    when = f"{decision.decided_at:%Y-%m-%d %H:%M} UTC"
    return f"decision {decision.decision_id[:12]} by {decision.annotator}, {when}: {said}{asked}{note}"


def _spelled(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
