"""Find somebody whom nobody labelled by a photo, and take down who of the candidates it is, for `erase apply`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from faceloop.commands.options import (
    ALL_THREADS,
    ByOption,
    ParamsOption,
    RootOption,
    SetOption,
    ThreadsOption,
    user,
    workspace,
)
from faceloop.erasure.probe_papers import PAGE, probe_folder
from faceloop.erasure.probing import LEAST_SIGMAS, MOST_CANDIDATES, ask, check_photo, close
from faceloop.erasure.probing import confirm as take_down
from faceloop.erasure.saga import utc_now
from facestore.errors import DataError
from facestore.ids import JsonValue

FacesOption = Annotated[
    str, typer.Option("--faces", help="Faces by their ids or first digits, separated by commas; or a file of them.")
]


def probe(
    photo: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A photo of the person. It is read and not kept.")
    ],
    face: Annotated[int | None, typer.Option("--face", min=1, help="Which face, from left to right.")] = None,
    least_sigmas: Annotated[
        float, typer.Option("--sigmas", min=0.0, max=20.0, help="Least likeness, in spreads of that of strangers.")
    ] = LEAST_SIGMAS,
    most: Annotated[int, typer.Option("--most", min=1, help="Candidates on the page.")] = MOST_CANDIDATES,
    by: ByOption = "",
    threads: ThreadsOption = ALL_THREADS,
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Search every vector for a face, and write a page of who resembles it. Erases nothing."""
    work = workspace(root, params, overrides, threads)
    found = ask(
        work, photo, face_number=face, least_sigmas=least_sigmas, most=most, by=by or user(), now=utc_now()
    )  # fmt: skip
    page = probe_folder(work.root, found.probe_id) / PAGE
    _say(
        {
            "subject": found.probe_id,
            "faces_compared": found.faces_compared,
            "faces_not_compared": found.faces_not_compared,
            "candidates": len(found.candidates),
            "candidates_not_shown": found.not_shown,
            "faces": found.faces_shown,
            "page": page.relative_to(work.root).as_posix() if found.candidates else None,
        }
    )


def confirm(
    probe_id: Annotated[str, typer.Argument(metavar="PROBE", help="The id that `erase probe` gave.")],
    identity: Annotated[
        list[str] | None, typer.Option("--identity", help="A candidate of the page, whole; may be repeated.")
    ] = None,
    faces: FacesOption = "",
    is_nobody: Annotated[bool, typer.Option("--nobody", help="None of them: remove page and probe.")] = False,
    keep_probe: Annotated[bool, typer.Option("--keep-probe", help="Leave the probe's face on the page.")] = False,
    photo: Annotated[
        Path | None,
        typer.Option("--remove-photo", exists=True, dir_okay=False, help="The photo that was probed: delete it."),
    ] = None,
    by: ByOption = "",
    root: RootOption = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
) -> None:
    """Take down which candidates are the person. `erase apply PROBE` then erases these faces."""
    work = workspace(root, params, overrides)
    if photo is not None:
        check_photo(work, probe_id, photo)
    if is_nobody:
        if identity or faces:
            raise DataError("--nobody goes without --identity and --faces; nothing was confirmed")
        close(work, probe_id)
        candidates_confirmed = faces_confirmed = 0
    else:
        said = take_down(
            work,
            probe_id,
            candidates=identity or (),
            faces=listed(faces),
            keep_probe=keep_probe,
            by=by or user(),
            now=utc_now(),
        )
        candidates_confirmed, faces_confirmed = said.candidates, len(said.face_ids)
    if photo is not None:
        photo.unlink()
    _say({"subject": probe_id, "candidates_confirmed": candidates_confirmed, "faces_confirmed": faces_confirmed})


def listed(text: str) -> list[str]:
    """Ids of a comma-separated list, or of a file with one a line. Raises DataError for a file that cannot be read."""
    if "/" in text or Path(text).suffix or (text and Path(text).is_file()):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"the file of faces cannot be read ({type(error).__name__}); give one id a line") from error
    return [word for word in text.replace(",", " ").split() if word]


def _say(body: dict[str, JsonValue]) -> None:
    typer.echo(json.dumps(body, sort_keys=True))
