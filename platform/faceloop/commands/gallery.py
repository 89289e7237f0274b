"""Publish who is known, for consumers that recognise people live; go back to the gallery before; say which counts."""

import json
from pathlib import Path
from typing import Annotated

import typer

from faceloop.commands.options import ParamsOption, RootOption, SetOption, workspace
from faceloop.export.gallery import plain_gallery, summary_of, verify_gallery
from faceloop.export.gallery_shelf import GALLERIES, history_of
from faceloop.promotion.galleries import GalleryRequest, publish_gallery, refuse_gone, roll_back_gallery
from facestore.errors import ConfigError, DataError
from facestore.ids import JsonValue

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.command()
def publish(
    proposed: Annotated[bool, typer.Option("--proposed", help="Identities that nobody confirmed, too.")] = False,
    templates: Annotated[int, typer.Option("--templates", min=1, max=64, help="Vectors of a person at most.")] = 3,
    min_faces: Annotated[int, typer.Option("--min-faces", min=1, help="Faces that a person must have.")] = 1,
    min_quality: Annotated[float, typer.Option("--min-quality", min=0, max=1, help="Of a face that counts.")] = 0.4,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Publish confirmed identities, less who is restricted, and let that gallery count. Again, it changes nothing."""
    request = GalleryRequest(
        states=["confirmed", "proposed"] if proposed else ["confirmed"],
        templates=templates,
        min_faces=min_faces,
        min_quality=min_quality,
    )
    work = workspace(root, params, overrides)
    done = publish_gallery(work, request)
    _print(
        {
            "gallery": history_of(work.root)[-1],
            "digest": done.digest,
            "identities": done.identities,
            "rows": done.rows,
            "contract_id": done.contract_id,
            "left_out": dict(done.left_out),
            "state": "unchanged" if done.was_there_before else "published",
        }
    )


@app.command("roll-back")
def roll_back(root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None) -> None:
    """Let the gallery before count again; refused where it holds somebody who was taken out since."""
    _print({"gallery": roll_back_gallery(workspace(root, params, overrides)), "state": "rolled_back"})


@app.command()
def show(root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None) -> None:
    """The gallery that counts: contract, thresholds, counts. Every file is checked against its sha256."""
    work = workspace(root, params, overrides)
    history = history_of(work.root)
    if not history:
        raise DataError(f"no gallery was published in {work.root}; `faceloop gallery publish` does")
    folder: Path = work.root / GALLERIES / history[-1]
    _print(
        {
            "gallery": history[-1],
            "digest": verify_gallery(folder),
            "before": history[-2] if len(history) > 1 else None,
            **summary_of(folder),
        }
    )


@app.command()
def export(
    to: Annotated[Path, typer.Argument(help="A new folder outside the root, for consumers that have no keys.")],
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Copy the gallery that counts to where it can be read without the root's keys. Nobody takes it back from there;
    refused where it holds somebody who was taken out or withheld since."""
    work = workspace(root, params, overrides)
    history = history_of(work.root)
    if not history:
        raise DataError(f"no gallery was published in {work.root}; `faceloop gallery publish` does")
    if to.resolve().is_relative_to(work.root.resolve()) or to.exists():
        raise ConfigError("name a new folder outside the root: what lies in it is not encrypted")
    refuse_gone(work, work.root / GALLERIES / history[-1])
    _print({"gallery": history[-1], "digest": plain_gallery(work.root / GALLERIES / history[-1], to)})


def _print(body: dict[str, JsonValue]) -> None:
    typer.echo(json.dumps(body, sort_keys=True))
