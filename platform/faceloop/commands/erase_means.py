"""What the commands that erase are given: the labelling server, folders to search, the key that signs."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from faceloop.erasure.certificate import Certificate
from faceloop.erasure.labelling import open_labelling
from faceloop.erasure.saga import Means, utc_now
from faceloop.review.access import URL as LABELLING_URL
from faceloop.runner import Workspace
from facestore.ciphers import Signer
from facestore.ids import JsonValue
from facestore.secretkeys import SIGNING_KEY, read_secret

LabellingOption = Annotated[
    Path | None,
    typer.Option("--label-studio", help="Folder of a labelling server here; FACELOOP_LABEL_STUDIO_URL."),
]
SearchOption = Annotated[
    list[Path] | None, typer.Option("--search", help="Another folder that must hold no byte; may be repeated.")
]
AlsoSourceOption = Annotated[bool, typer.Option("--also-source", help="Remove the files of the source, too.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask: somebody has approved it.")]


@contextmanager
def means_for(
    work: Workspace,
    labelling: Path | None,
    tasks: Sequence[object],
    *,
    also_source: bool,
    search_too: Sequence[Path] | None,
) -> Iterator[Means]:
    """The means of an erasure. The server that the environment names is asked only where there are `tasks`.

    Raises what `open_labelling` and `read_secret` raise.
    """
    has_server = labelling is not None or bool(tasks and os.environ.get(LABELLING_URL))
    secret = read_secret(os.environ, SIGNING_KEY)
    with open_labelling(work, labelling, os.environ) if has_server else nullcontext() as opened:
        yield Means(
            clock=utc_now,
            signer=Signer(secret.key) if secret else None,
            labelling=opened,
            also_source=also_source,
            search_too=tuple(search_too or ()),
        )


def certified(done: Certificate) -> dict[str, JsonValue]:
    """What a command prints of an erasure that is done."""
    return {
        "erasure": done.erasure_id,
        "faces": done.faces,
        "files_searched": done.files_searched,
        "bytes_searched": done.bytes_searched,
        "certificate": done.place,
        "sha256": done.sha256,
    }
