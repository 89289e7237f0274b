"""Releases: another root's as pinned input, corrected by a delta, compacted, in other formats and back."""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from faceloop.commands.options import ParamsOption, RootOption, SetOption, workspace
from faceloop.consent_gate import ConsentParams, basis_for, refuse_withheld
from faceloop.experiments.correcting import compact, correct_release, shard_limits
from faceloop.experiments.pin import PIN, read_pin
from faceloop.experiments.pulling import pull_release
from faceloop.params import section
from faceloop.release.converting import convert_from, convert_to
from facestore.errors import ConfigError
from facestore.keys import open_keyring

WaitOption = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait while another run packs.")]

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.command()
def pull(
    version: Annotated[str, typer.Argument(help="As its card says, or the first digits of its digest.")],
    source: Annotated[str, typer.Option("--from", help="A root, or a release's folder; a path or a file:// URL.")],
    root: RootOption = None,
    params: ParamsOption = None,
    values: SetOption = None,
) -> None:
    """Copy a release here, every byte checked, and pin it: pack will not replace it."""
    pulled = pull_release(workspace(root, params, values), version, source)
    typer.echo(json.dumps(asdict(pulled), sort_keys=True))


@app.command()
def unpin(root: RootOption = None, params: ParamsOption = None, values: SetOption = None) -> None:
    """Let pack replace the release again. What was pulled stays until then."""
    work = workspace(root, params, values)
    pin = read_pin(work.root)
    (work.root / PIN).unlink(missing_ok=True)
    typer.echo(json.dumps({"unpinned": pin.version if pin is not None else None}))


@app.command()
def correct(
    wait: WaitOption = 0, root: RootOption = None, params: ParamsOption = None, values: SetOption = None
) -> None:
    """Bring the release up to today's labels by a delta: nothing else of it is written again."""
    typer.echo(json.dumps(asdict(correct_release(workspace(root, params, values), wait_s=wait)), sort_keys=True))


@app.command(name="compact")
def compact_deltas(
    wait: WaitOption = 0, root: RootOption = None, params: ParamsOption = None, values: SetOption = None
) -> None:
    """Write the release without deltas and without what they took away; classes are numbered anew, without gaps."""
    typer.echo(json.dumps({"version": compact(workspace(root, params, values), wait_s=wait).version}))


class _Format(StrEnum):
    RECORDIO = "recordio"
    IMAGEFOLDER = "imagefolder"
    WEBDATASET = "webdataset"


class _Split(StrEnum):
    TRAIN = "train"
    VAL = "val"
    TEST = "test"


@app.command()
def convert(
    folder: Annotated[Path, typer.Argument(help="To write, then new; or to read, with --from.")],
    to: Annotated[_Format | None, typer.Option("--to", help="The release here in another format.")] = None,
    source: Annotated[_Format | None, typer.Option("--from", help="FOLDER's format.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="With --from: the new release, for `release pull`.")] = None,
    split: Annotated[_Split, typer.Option("--split", help="With --to.")] = _Split.TRAIN,
    root: RootOption = None,
    params: ParamsOption = None,
    values: SetOption = None,
) -> None:
    """A split as RecordIO, ImageFolder or WebDataset, or a release from one. Pictures stay as they are, to the byte."""
    work = workspace(root, params, values)
    if to is not None and source is None and out is None:
        consent = section(work.tree, "consent", ConsentParams)
        basis = basis_for("export", work.path, work.ledger_url(), consent)
        refuse_withheld("export", work.path, basis.withheld)  # nobody takes samples back from there
        done = convert_to(
            to.value, work.path("release"), split.value, folder, work.progress, payload=open_keyring(work.root)
        )
    elif to is None and source is not None and out is not None:
        shard = shard_limits(work).samples
        done = convert_from(source.value, folder, out, work.progress, samples_per_shard=shard)
    else:
        raise ConfigError("give --to FORMAT, or --from FORMAT with --out FOLDER")
    typer.echo(json.dumps(asdict(done), sort_keys=True))
