"""migrate-model: another recogniser, tried in the shadow, then put to use or dropped. Ids and decisions stay."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from faceloop.commands.options import ALL_THREADS, ParamsOption, RootOption, SetOption, ThreadsOption, workspace
from faceloop.decision_tables import export_decisions
from faceloop.identity.impact import Impact
from faceloop.migration import complete_pending, dry_run, finish, plan_switch, roll_back
from facestore.errors import ConfigError

_SHOWN = 10


def migrate_model(
    old: Annotated[str, typer.Argument(help="The pack, or the embedding contract id, that is live.")],
    new: Annotated[str, typer.Argument(help="The pack to switch to, as embed.model.pack spells it.")],
    is_dry_run: Annotated[bool, typer.Option("--dry-run", help="Only try and compare; this is the default.")] = False,
    is_finish: Annotated[bool, typer.Option("--finish", help="Put the new model to use.")] = False,
    is_roll_back: Annotated[bool, typer.Option("--roll-back", help="Bring back what was before --finish.")] = False,
    abort_above: Annotated[
        float, typer.Option(min=0, max=1, help="Refuse to finish when a larger share of labelled faces would move.")
    ] = 0.2,
    as_json: Annotated[bool, typer.Option("--json", help="Counts as one line of JSON.")] = False,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
    threads: ThreadsOption = ALL_THREADS,
) -> None:
    """Switch to another recogniser: dry run with an impact report, then finish or roll back. Ids and decisions stay."""
    if is_dry_run + is_finish + is_roll_back > 1:
        raise ConfigError("--dry-run, --finish and --roll-back exclude one another; give one")
    work = workspace(root, params, overrides, threads)
    complete_pending(work)
    if is_roll_back:
        roll_back(work, old, new, now=datetime.now(UTC))
        typer.echo("rolled back: what was live before the switch is live again")
        return
    switch = plan_switch(work, old, new)
    export_decisions(work)
    if is_finish:
        impact = finish(work, switch, abort_above=abort_above, now=datetime.now(UTC))
    else:
        impact = dry_run(work, switch)
    typer.echo(json.dumps(counts_of(impact)) if as_json else summary(impact))
    _say_what_is_next(work.root, old, new, is_finish=is_finish)


def counts_of(impact: Impact) -> dict[str, int | float]:
    """The figures of an impact, by name."""
    return {
        **{f"identities_{fate}": count for fate, count in impact.fates.items()},
        "faces_labelled": impact.labelled,
        "faces_moved": len(impact.moves),
        "faces_moved_share": round(impact.moved_share, 4),
        "confirmed_faces": impact.confirmed,
        "confirmed_faces_moved": impact.confirmed_moves,
        "decisions_strained": len(impact.strained),
        "decisions_violated": len(impact.violated),
    }


def summary(impact: Impact) -> str:
    """The impact as a few lines of text."""
    fates = ", ".join(f"{count} {fate}" for fate, count in impact.fates.items())
    lines = [
        f"identities: {fates}",
        f"faces: {len(impact.moves)} of {impact.labelled} would change their identity ({impact.moved_share:.1%})",
        f"confirmed faces: {impact.confirmed_moves} of {impact.confirmed}",
        f"decisions: {len(impact.violated)} broken; {len(impact.strained)} hold against the new vectors",
    ]
    lines += [
        f"  {entry.verb} {entry.face_ids[0]} {entry.face_ids[1]}: cosine {entry.similarity:.2f}, "
        f"{entry.margin:.2f} on the wrong side"
        for entry in impact.strained[:_SHOWN]
    ]
    if (more := len(impact.strained) - _SHOWN) > 0:
        lines.append(f"  and {more} more")
    return "\n".join(lines)


def _say_what_is_next(root: Path, old: str, new: str, *, is_finish: bool) -> None:
    if is_finish:
        typer.echo(f"{new} is live; run pack for a release, or take it back with --roll-back and pack: {old} in params")
    else:
        typer.echo(f"nothing was changed; details in {root / 'migration' / 'impact.json'}", err=True)
