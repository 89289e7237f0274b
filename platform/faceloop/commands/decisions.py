"""Say what is true of faces, take it back, see what stands and what contradicts it."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Literal

import typer

from faceloop.commands.find_faces import MIN_PREFIX, find_faces
from faceloop.commands.options import ByOption, ParamsOption, RootOption, SetOption, user, workspace
from faceloop.decision_tables import export_decisions, policy_of, read_logs, with_decision_log
from faceloop.identity.resolve import Resolution
from facestore.decisionlog import DecisionLog
from facestore.decisions import Contradiction, Decision, decide
from facestore.errors import DataError

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

StatedVerb = Literal["same", "different", "is", "not_a_face", "ignore", "attribute"]
NoteOption = Annotated[str | None, typer.Option("--note", help="Why, in your words.")]
_SHOWN_DIGITS = 12


@app.command()
def add(
    verb: Annotated[StatedVerb, typer.Argument(help="What is said.")],
    face: Annotated[str, typer.Argument(help="A face id, or its first six or more digits.")],
    other: Annotated[str | None, typer.Argument(help="The other face of `same` and `different`.")] = None,
    identity: Annotated[str | None, typer.Option("--identity", help="Who it is, for `is`.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Which attribute, for `attribute`.")] = None,
    value: Annotated[str | None, typer.Option("--value", help="Its value, for `attribute`.")] = None,
    note: NoteOption = None,
    question: Annotated[str | None, typer.Option("--question", help="The question that this answers.")] = None,
    by: ByOption = "",
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Append one decision to the log. Prints its id."""
    work = workspace(root, params, overrides)
    face_id, *others = find_faces(work, [face] if other is None else [face, other])
    decision = decide(
        verb,
        face_id=face_id,
        other_face_id=others[0] if others else None,
        identity_id=identity,
        name=name,
        value=value,
        annotator=by or user(),
        decided_at=datetime.now(UTC),
        question_id=question,
        note=note,
    )
    with_decision_log(work, lambda log: log.append([decision]))
    typer.echo(decision.decision_id)


@app.command()
def retract(
    decision: Annotated[str, typer.Argument(help="A decision id, or its first six or more digits.")],
    note: NoteOption = None,
    by: ByOption = "",
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Take a decision back; a retract too. The log keeps both. Prints the id of the retract."""

    def write(log: DecisionLog) -> str:
        target = _found(log, decision)
        taken_back = decide("retract", retracts=target, annotator=by or user(), decided_at=datetime.now(UTC), note=note)
        log.append([taken_back])
        return taken_back.decision_id

    typer.echo(with_decision_log(workspace(root, params, overrides), write))


@app.command(name="list")
def list_decisions(
    face: Annotated[str | None, typer.Option("--face", help="Only decisions that name this face.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Every decision, oldest first, and what became of it."""
    work = workspace(root, params, overrides)
    (only,) = find_faces(work, [face]) if face else [None]
    logs = read_logs(work)
    became = _became(logs.resolved(policy_of(work)))
    for decision in logs.decisions:
        if only is None or only in (decision.face_id, decision.other_face_id):
            state = became.get(decision.decision_id, "retract")
            typer.echo(_json(decision, state) if as_json else f"{state:10}  {_line(decision)}")


@app.command()
def conflicts(root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None) -> None:
    """Decisions that cannot all be right, and the faces that prove it. Exit code 1 while there are some."""
    work = workspace(root, params, overrides)
    logs = read_logs(work)
    found = logs.resolved(policy_of(work)).contradictions
    by_id = {decision.decision_id: decision for decision in logs.decisions}
    for contradiction in found:
        typer.echo(_explained(contradiction, by_id))
    if found:
        typer.echo(f"{len(found)} contradictions; retract what is wrong, or decide again")
        raise typer.Exit(1)


@app.command()
def export(root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None) -> None:
    """Publish the log as tables for the stages; nothing is written when nothing changed. Prints its counts."""
    work = workspace(root, params, overrides)
    typer.echo(json.dumps(export_decisions(work).counts, sort_keys=True))


def _found(log: DecisionLog, text: str) -> str:
    if log.find(text) is not None:
        return text
    fits = [entry.decision_id for entry in log.all() if entry.decision_id.startswith(text)]
    if len(text) < MIN_PREFIX or len(fits) != 1:
        raise DataError(f"{len(fits)} decisions begin with {text!r}; give an id of `faceloop decisions list`")
    return fits[0]


def _became(resolution: Resolution) -> dict[str, str]:
    aside = [decision_id for found in resolution.contradictions for decision_id in found.set_aside]
    return {
        **{decision.decision_id: "stands" for decision in resolution.effective},
        **dict.fromkeys(resolution.retracted, "retracted"),
        **dict.fromkeys(resolution.superseded, "superseded"),
        **dict.fromkeys(aside, "set aside"),
    }


def _json(decision: Decision, state: str) -> str:
    shown = {**asdict(decision), "decided_at": decision.decided_at.isoformat(), "state": state}
    return json.dumps(shown, ensure_ascii=False)


def _line(decision: Decision) -> str:
    subjects = (decision.face_id, decision.other_face_id, decision.identity_id, decision.name, decision.value)
    said = " ".join([decision.verb, *(part for part in (*subjects, decision.retracts) if part is not None)])
    note = f"  ({decision.note})" if decision.note else ""
    moment = f"{decision.decided_at:%Y-%m-%d %H:%M:%S}Z"
    return f"{decision.decision_id[:_SHOWN_DIGITS]}  {moment}  {decision.annotator}: {said}{note}"


def _explained(found: Contradiction, by_id: dict[str, Decision]) -> str:
    proof = " – ".join(found.face_ids)
    lines = [f"{found.kind}: {proof}"]
    for decision_id in found.decision_ids:
        mark = "set aside" if decision_id in found.set_aside else "stands"
        lines.append(f"  {mark:10}  {_line(by_id[decision_id])}")
    return "\n".join(lines)
