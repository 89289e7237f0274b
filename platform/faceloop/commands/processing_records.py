"""faceloop processing-records: what GDPR Art. 30 asks for, generated."""

import json
from typing import Annotated, Literal

import typer

from faceloop.commands.options import ParamsOption, RootOption, SetOption, workspace
from faceloop.consent.processing import as_markdown, processing_record
from facestore.consents import Consents


def processing_records(
    form: Annotated[Literal["markdown", "json"], typer.Option("--format")] = "markdown",
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Print the record of processing activities, from the catalogue and the params as they are now."""
    work = workspace(root, params, overrides)
    consents = Consents(work.ledger_url())
    try:
        record = processing_record(work, consents.standings(), now=consents.now())
    finally:
        consents.close()
    typer.echo(as_markdown(record) if form == "markdown" else json.dumps(record, indent=1, sort_keys=True))
