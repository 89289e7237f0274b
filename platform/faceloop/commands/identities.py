"""Look at people's identities, and merge, split, rename and undo with a preview."""

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from faceloop.commands.find_faces import find_faces
from faceloop.commands.options import ByOption, ParamsOption, RootOption, SetOption, user, workspace
from faceloop.commands.word import Word, read_word
from faceloop.decision_tables import with_identity_log
from faceloop.identity.edits import Author, Plan, plan_merge, plan_rename, plan_split, plan_undo
from faceloop.runner import Workspace
from facestore.decisions import IdentityEvent
from facestore.ids import JsonValue

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Write it; without this only the preview is shown.")]
NoteOption = Annotated[str | None, typer.Option("--note", help="Why, for those who read the history.")]
_SHOWN_MOVES = 20


@app.command(name="list")
def list_all(
    as_json: JsonOption = False,
    with_retired: Annotated[bool, typer.Option("--retired", help="Retired ones too.")] = False,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Identities as they are now, largest first."""
    word = read_word(workspace(root, params, overrides))
    rows = _summaries(word, with_retired)
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False))
        return
    table = Table("identity", "name", "faces", "tracklets", "confirmed", "state", box=None)
    for row in rows:
        table.add_row(*(str("" if row[key] is None else row[key]) for key in _COLUMNS))
    _console().print(table)


@app.command()
def show(
    identity: Annotated[str, typer.Argument(help="Its id, the beginning of it, or its name.")],
    as_json: JsonOption = False,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """One identity: its faces, best first, and why each is in it."""
    word = read_word(workspace(root, params, overrides))
    name = word.current.identity(identity)
    (summary,) = [row for row in _summaries(word, with_retired=True) if row["identity_id"] == name]
    faces: list[dict[str, JsonValue]] = [
        {
            "face_id": member.face.face_id,
            "tracklet_id": member.face.tracklet_id,
            "quality": round(member.face.quality, 4),
            "state": member.label.state,
            "source": member.label.source,
            "via": member.label.via,
            "confidence": round(member.label.confidence, 4),
        }
        for member in word.current.members(name)
    ]
    if as_json:
        typer.echo(json.dumps({**summary, "members": [*faces]}, ensure_ascii=False))
        return
    _console().print(", ".join(f"{key} {summary[key]}" for key in summary if summary[key] is not None))
    table = Table("face", "tracklet", "quality", "state", "source", "via", "confidence", box=None)
    for row in faces:
        table.add_row(*(str("" if value is None else value) for value in row.values()))
    _console().print(table)


@app.command()
def merge(
    survivor: Annotated[str, typer.Argument(help="The identity that remains.")],
    absorbed: Annotated[str, typer.Argument(help="The identity whose faces it takes over.")],
    yes: YesOption = False,
    by: ByOption = "",
    note: NoteOption = None,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Two identities are one person: show which faces would move, and with --yes write it."""
    work = workspace(root, params, overrides)
    word = read_word(work)
    one, other = word.current.identity(survivor), word.current.identity(absorbed)
    _finish(work, plan_merge(word.known(), one, other, author=_author(by, note)), yes)


@app.command()
def split(
    identity: Annotated[str, typer.Argument(help="The identity that holds two persons.")],
    faces: Annotated[list[str], typer.Argument(help="Faces that leave it; their tracklets go with them.")],
    only_these: Annotated[
        bool, typer.Option("--only-these", help="Take their tracklets apart: only these faces leave.")
    ] = False,
    yes: YesOption = False,
    by: ByOption = "",
    note: NoteOption = None,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Some faces are another person: show which would leave, and with --yes write it."""
    work = workspace(root, params, overrides)
    word = read_word(work)
    named = find_faces(work, faces)
    name = word.current.identity(identity)
    plan = plan_split(word.known(), name, named, author=_author(by, note), whole_tracklets=not only_these)
    _finish(work, plan, yes)


@app.command()
def rename(
    identity: Annotated[str, typer.Argument(help="Its id, the beginning of it, or its name.")],
    name: Annotated[str, typer.Argument(help="What people call it.")],
    by: ByOption = "",
    note: NoteOption = None,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Give an identity a name. A name is an attribute: nothing is found by it but by people."""
    work = workspace(root, params, overrides)
    word = read_word(work)
    _finish(work, plan_rename(word.known(), word.current.identity(identity), name, author=_author(by, note)), yes=True)


@app.command()
def undo(
    event: Annotated[str, typer.Argument(help="An event of the history, or the beginning of its id.")],
    yes: YesOption = False,
    by: ByOption = "",
    note: NoteOption = None,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Take back a merge, a split, a name or an undo: its faces return, its decisions are retracted."""
    work = workspace(root, params, overrides)
    word = read_word(work)
    plan = plan_undo(
        word.known(),
        word.current.event(event),
        events=word.current.events,
        decisions=word.logs.decisions,
        author=_author(by, note),
    )
    _finish(work, plan, yes)


@app.command()
def history(
    identity: Annotated[str | None, typer.Argument(help="Only events of this identity.")] = None,
    as_json: JsonOption = False,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Every merge, split, name and undo, oldest first. An event is never removed, only undone by another."""
    word = read_word(workspace(root, params, overrides))
    name = word.current.identity(identity) if identity else None
    events = [event for event in word.current.events if name in {None, event.identity_id, event.other_identity_id}]
    if as_json:
        typer.echo(json.dumps([event_row(event) for event in events], ensure_ascii=False))
        return
    standing = {event.event_id for event in word.current.replayed.standing}
    table = Table("event", "when (UTC)", "by", "what", "faces", "note", box=None)
    for event in events:
        fate = "" if event.event_id in standing or event.kind == "undo" else " (undone)"
        when = f"{event.happened_at:%Y-%m-%d %H:%M}"
        faces = str(len(event.face_ids))
        table.add_row(event.event_id[:12], when, event.annotator, _told(event) + fate, faces, event.note or "")
    _console().print(table)


def event_row(event: IdentityEvent) -> dict[str, JsonValue]:
    """An event for programs."""
    return {
        "event_id": event.event_id,
        "kind": event.kind,
        "identity_id": event.identity_id,
        "other_identity_id": event.other_identity_id,
        "face_ids": list(event.face_ids),
        "decision_ids": list(event.decision_ids),
        "name": event.name,
        "undoes": event.undoes,
        "annotator": event.annotator,
        "happened_at": event.happened_at.isoformat(),
        "note": event.note,
    }


_COLUMNS = ("identity_id", "name", "faces", "tracklets", "confirmed_faces", "state")


def _summaries(word: Word, with_retired: bool) -> list[dict[str, JsonValue]]:
    current = word.current
    faces, confirmed, tracklets = Counter[str](), Counter[str](), set()
    for face in current.faces():
        if face.identity_id is not None:
            faces[face.identity_id] += 1
            confirmed[face.identity_id] += current.labels[face.face_id].state == "confirmed"
            tracklets.add((face.identity_id, face.tracklet_id))
    of_identity = Counter(name for name, _ in tracklets)
    retired = sorted(current.ids() - faces.keys()) if with_retired else []
    names = [*sorted(faces, key=lambda name: (-faces[name], name)), *retired]
    return [
        {
            "identity_id": name,
            "name": current.replayed.names.get(name),
            "faces": faces[name],
            "tracklets": of_identity[name],
            "confirmed_faces": confirmed[name],
            "state": "active" if faces[name] else "retired",
            "successor": None if faces[name] else current.successor(name),
        }
        for name in names
    ]


def _told(event: IdentityEvent) -> str:
    match event.kind:
        case "merge":
            return f"merge: {event.other_identity_id} into {event.identity_id}"
        case "split":
            return f"split: {event.other_identity_id} from {event.identity_id}"
        case "rename":
            return f"name of {event.identity_id}: {event.name}"
        case _:
            return f"undo of {(event.undoes or '')[:12]}"


def _author(by: str, note: str | None) -> Author:
    return Author(annotator=by or user(), at=datetime.now(UTC), note=note)


def _finish(work: Workspace, plan: Plan, yes: bool) -> None:
    """Show what would happen, and write it when it is wanted: decisions and event together, all or none."""
    console = _console()
    console.print(_told(plan.event))
    for move in plan.moves[:_SHOWN_MOVES]:
        console.print(f"  face {move.face_id}: {move.before} → {move.after}")
    if len(plan.moves) > _SHOWN_MOVES:
        console.print(f"  … and {len(plan.moves) - _SHOWN_MOVES} more faces")
    console.print(f"{len(plan.moves)} faces move; {len(plan.decisions)} decisions are added")
    if plan.pictures_together:
        console.print(
            f"careful: {plan.pictures_together} pictures show both; a `same` for each says that this is meant"
        )
    if not yes:
        console.print("nothing written; add --yes to write it")
        return
    with_identity_log(work, lambda log: log.append([plan.event], plan.decisions))
    console.print(
        f"written as event {plan.event.event_id}; `faceloop identities undo {plan.event.event_id}` takes it back"
    )


def _console() -> Console:
    return Console(soft_wrap=True, highlight=False, markup=False)
