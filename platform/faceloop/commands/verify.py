"""Is what was published still whole? `faceloop verify`, `repair`, `store sweep`; who may do what: `store roles`."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from faceloop.commands.options import ALL_THREADS, ParamsOption, RootOption, SetOption, workspace
from faceloop.runner import Workspace
from faceloop.upkeep.repairing import Repair
from faceloop.upkeep.repairing import repair as put_right
from faceloop.upkeep.scope import Scope
from faceloop.upkeep.sweeping import sweep as sweep_up
from faceloop.upkeep.verifying import Verified
from faceloop.upkeep.verifying import verify as look_at_all
from facestore.checks import Damage, name_of
from facestore.copies import open_copies
from facestore.errors import ConfigError, DataError
from facestore.ids import JsonValue
from facestore.s3roles import ROLES, Place, policy_of

store = typer.Typer(no_args_is_help=True, add_completion=False, help="Keep the object store and the root in order.")

_ROUNDS = 3  # a manifest that was put right names further files
JobsOption = Annotated[int, typer.Option("--jobs", min=1, help="Files read at once.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One line of JSON instead of lines for people.")]
ArtifactOption = Annotated[str | None, typer.Option("--artifact", help="Only this artifact.")]
ReleaseOption = Annotated[Path | None, typer.Option("--release", help="Only this copy of a release.")]
BatchOption = Annotated[str | None, typer.Option("--batch", help="Only this batch, in every artifact, and its media.")]
StoreOption = Annotated[bool, typer.Option("--store", help="Only the object store, and all of it.")]


def verify(
    artifact: ArtifactOption = None,
    release: ReleaseOption = None,
    batch: BatchOption = None,
    is_store: StoreOption = False,
    jobs: JobsOption = ALL_THREADS,
    again: Annotated[bool, typer.Option("--again", help="Also what a check that was cut short found good.")] = False,
    is_json: JsonOption = False,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Compare every published file and object with its sha256. Exit code 2 when any is damaged."""
    scope = _scope(artifact, release, batch, is_store)
    found = look_at_all(workspace(root, params, overrides), scope, jobs=jobs, now_s=time.time(), is_anew=again)
    _show(found, is_json=is_json)
    if found.damages:
        raise DataError(f"{len(found.damages)} damaged; `faceloop repair --from COPY` puts good copies in their place")


def repair(
    sources: Annotated[
        list[str], typer.Option("--from", help="A backup root, a source, a DVC cache, s3://…; may be repeated.")
    ],
    jobs: JobsOption = ALL_THREADS,
    is_json: JsonOption = False,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Put good copies in the place of what is damaged. Exit code 2 when something could not be put right."""
    work = workspace(root, params, overrides)
    copies = [open_copies(source) for source in sources]
    done: dict[str, Repair] = {}
    for _ in range(_ROUNDS):
        found = look_at_all(work, Scope(), jobs=jobs, now_s=time.time(), is_anew=True)
        repaired = put_right(work, found.damages, copies)
        done |= {name_of(each.damage.check): each for each in repaired}
        if not any(each.is_done for each in repaired):
            break
    for name, each in sorted(done.items()):
        if not is_json:
            typer.echo(f"repaired {name}" if each.is_done else f"not repaired {name}: {each.advice}")
    left = [each for each in done.values() if not each.is_done]
    if is_json:
        rows: list[JsonValue] = [
            {**_row(each.damage), "repaired": each.is_done, "advice": each.advice} for _, each in sorted(done.items())
        ]
        typer.echo(json.dumps({"damages": rows, "repaired": len(done) - len(left), "left": len(left)}))
    elif not done:
        typer.echo("nothing is damaged")
    if left:
        raise DataError(f"{len(left)} of {len(done)} could not be put right: no good copy there")


@store.command()
def sweep(
    remove: Annotated[bool, typer.Option("--remove", help="Take them away; without it they are listed.")] = False,
    older_than_hours: Annotated[float, typer.Option("--older-than-hours", min=0, help="Of files and uploads.")] = 24.0,
    is_json: JsonOption = False,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """What crashes left: staged files, dead work areas, open uploads, and objects that no footage refers to."""
    work: Workspace = workspace(root, params, overrides)
    found, removed = sweep_up(work, now_s=time.time(), older_than_s=older_than_hours * 3_600, is_dry=not remove)
    if is_json:
        typer.echo(json.dumps({"found": [asdict(each) for each in found], "removed": len(removed)}))
        return
    for each in found:
        left = "kept" if each.kind == "unclaimed_object" else "in use"
        state = "removed" if each in removed else left if remove else "found"
        typer.echo(f"{state} {each.kind} {each.place} ({each.size_bytes} bytes, {each.age_s / 3_600:.0f} h)")
    typer.echo(f"{len(found)} leftovers, {len(removed)} removed" + ("" if remove else "; --remove takes them away"))


@store.command("roles")
def roles(
    role: Annotated[str | None, typer.Argument(help="Print this role's policy.")] = None,
    anchors: Annotated[str, typer.Option("--anchors", help="Where `audit anchor` keeps heads: s3://…")] = "",
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """The least that each kind of work needs of the buckets in the params, as IAM policies."""
    from faceloop.review.access import review_params  # late: with it comes all that asks people

    work = workspace(root, params, overrides)
    places: dict[Place, str] = {
        "objects": work.external("objects"),
        "source": work.external("source"),
        "pictures": review_params(work).pictures,
        "anchors": anchors,
    }
    if role is None:
        for name, (commands, wanted) in ROLES.items():
            state = "" if policy_of(name, places) is not None else ", all of it in folders"
            typer.echo(f"{name:8} {commands}: {', '.join(wanted)}{state}")
        return
    found = next((name for name in ROLES if name == role), None)
    if found is None:
        raise ConfigError(f"{role!r} is no role; one of {', '.join(ROLES)}")
    policy = policy_of(found, places)
    if policy is None:
        raise ConfigError(f"{role} needs no bucket: {', '.join(ROLES[found][1])} lie in folders, or are not named")
    typer.echo(json.dumps(policy, indent=2))


def _scope(artifact: str | None, release: Path | None, batch: str | None, is_store: bool) -> Scope:
    if sum([artifact is not None, release is not None, batch is not None, is_store]) > 1:
        raise ConfigError("--artifact, --release, --batch and --store exclude one another; give one, or none for all")
    return Scope(artifact=artifact, release=release, batch=batch, is_store=is_store)


def _show(found: Verified, *, is_json: bool) -> None:
    if is_json:
        rows: list[JsonValue] = [_row(damage) for damage in found.damages]
        body: JsonValue = {"files": found.files, "objects": found.objects, "known": found.known, "damages": rows}
        typer.echo(json.dumps(body))
        return
    for damage in found.damages:
        typer.echo(damage.line)
    typer.echo(found.summary)


def _row(damage: Damage) -> dict[str, JsonValue]:
    return {"reason": damage.reason, "name": name_of(damage.check), "detail": damage.detail}
