"""The catalogue itself: revisions of its tables, backups and the drill that proves one, copies, rebuilding."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from faceloop.commands.erase_again import CertificatesOption
from faceloop.commands.options import ParamsOption, RootOption, SetOption, workspace
from facestore.backups import Backup, back_up, drill, restore, states_at
from facestore.ids import JsonValue
from facestore.rowcopies import copy_catalogue

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

UrlOption = Annotated[
    str | None, typer.Option("--url", help="A catalogue's URL; default: the one of the root. Passwords: PGPASSWORD.")
]


@app.command()
def migrate(
    url: UrlOption = None, root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None
) -> None:
    """Bring the catalogue's tables to this version's revision: all of it, or nothing. Back it up first."""
    from facestore.migrations import migrate as migrate_catalogue

    done = migrate_catalogue(_url(url, root, params, overrides))
    _print({"before": done.before, "after": done.after})


@app.command()
def backup(
    to: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    url: UrlOption = None,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Write a backup while everything goes on: one file, its sha256, and what each table holds."""
    _print(_in_short(back_up(_url(url, root, params, overrides), to)))


@app.command(name="restore")
def restore_command(
    folder: Annotated[Path, typer.Argument(metavar="FROM", help="The folder of a backup.")],
    url: UrlOption = None,
    certificates: CertificatesOption = None,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Put a backup back where no catalogue is, and compare every table. Erasures since then are taken in from their
    certificates in the root: `faceloop erase again` then erases whom the restore brought back."""
    done = restore(folder, _url(url, root, params, overrides))
    since: list[str] = []
    if url is None:
        from faceloop.erasure.again import take_in

        _, since = take_in(workspace(root, params, overrides), certificates or [])
    then: dict[str, JsonValue] = {"then": "faceloop erase again"} if since else {}
    _print({**_in_short(done), "erasures_since": len(since), **then})


@app.command(name="drill")
def drill_command(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FROM]", help="The folder of a backup; default: one is taken.")
    ] = None,
    url: UrlOption = None,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Restore a backup into a scratch place and compare every table with what it was made from. Touches nothing.

    `rows_since`: what the catalogue holds now beyond the backup, and would lose.
    """
    where = _url(url, root, params, overrides)
    done = drill(where, folder)
    for state in done.restored:
        typer.echo(f"{state.name}: {state.rows} rows, restored as they were")
    since = sum(state.rows for state in states_at(where)) - done.backup.rows
    _print({**_in_short(done.backup), "rows_since": since, "equal": done.restored == done.backup.tables})


@app.command()
def copy(
    to: Annotated[str, typer.Option("--to", help="URL of an empty or new database. Passwords: PGPASSWORD.")],
    url: UrlOption = None,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Copy every row to another database, SQLite or PostgreSQL, and compare both. Then set paths.ledger to it."""
    copied = copy_catalogue(_url(url, root, params, overrides), to)
    _print({"tables": len(copied), "rows": sum(state.rows for state in copied), "equal": True})


@app.command(name="rebuild")
def rebuild_command(root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None) -> None:
    """Give a lost catalogue what the root's artifacts prove: runs and decisions. Names what only a backup holds."""
    from faceloop.catalogue_rebuild import NOT_REBUILT, rebuild

    done = rebuild(workspace(root, params, overrides))
    for tables, why in NOT_REBUILT:
        typer.echo(f"not rebuilt: {tables}: {why}")
    _print(asdict(done))


def _url(url: str | None, root: Path | None, params: Path | None, overrides: list[str] | None) -> str:
    return url or workspace(root, params, overrides).ledger_url()


def _in_short(made: Backup) -> dict[str, JsonValue]:
    return {
        "kind": made.kind,
        "revision": made.revision,
        "taken_at": made.taken_at.isoformat(),
        "tables": len(made.tables),
        "rows": made.rows,
        "bytes": made.size_bytes,
        "sha256": made.sha256,
    }


def _print(said: dict[str, JsonValue]) -> None:
    typer.echo(json.dumps(said))
