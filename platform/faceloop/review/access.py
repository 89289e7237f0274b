"""Which labelling server a workspace's people work at, where pictures are laid out for it, and the review log."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from faceloop.decision_tables import with_log
from faceloop.params import section
from faceloop.review_params import ReviewParams
from faceloop.runner import Workspace
from facereview.asking.shelf import FolderShelf
from facereview.asking.shelf_s3 import BucketShelf
from facereview.labelstudio.adapter import LabelStudioServer
from facereview.labelstudio.local import running
from facereview.pictures import Shelf
from facestore.errors import ConfigError
from facestore.ids import sha256_hex
from facestore.reviewlog import ReviewLog

HOOK_URL, HOOK_SECRET = "FACELOOP_WEBHOOK_URL", "FACELOOP_WEBHOOK_SECRET"
URL, TOKEN = "FACELOOP_LABEL_STUDIO_URL", "FACELOOP_LABEL_STUDIO_TOKEN"  # names, not secrets
DEFAULT_FOLDER = Path("data/label-studio")  # of `make labelstudio`
_LINK_MINUTES = 15
_KEY_ID, _SECRET = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
_SHOW_KEY_ID, _SHOW_SECRET = "FACELOOP_LABEL_STUDIO_S3_KEY_ID", "FACELOOP_LABEL_STUDIO_S3_SECRET"
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """A labelling server and how it lets us in."""

    url: str
    token: str  # personal access token, or a legacy one
    files: Path | None  # folder that it serves pictures from, if it runs on this machine


def server_address(folder: Path, environ: Mapping[str, str]) -> ServerAddress:
    """From the environment, else the server that runs in the folder. Raises ConfigError where neither names one."""
    if environ.get(URL) and environ.get(TOKEN):
        files = environ.get("FACELOOP_LABEL_STUDIO_FILES")
        return ServerAddress(url=environ[URL], token=environ[TOKEN], files=Path(files) if files else None)
    if (known := running(folder)) is None:
        raise ConfigError(
            f"no labelling server: none runs in {folder}, and {URL} and {TOKEN} are not both set; "
            "start one with `make labelstudio`, or set them"
        )
    return ServerAddress(url=known.url, token=known.token, files=Path(known.files))


def review_params(work: Workspace) -> ReviewParams:
    return section(work.tree, "review", ReviewParams)


def with_review_log(work: Workspace, use: Callable[[ReviewLog], Result]) -> Result:
    """What `use` returns for the workspace's review log, which is open meanwhile."""
    return with_log(work, ReviewLog, use)


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """Where pictures lie, and how a new project is told of it and of our webhook."""

    shelf: Shelf
    connect: Callable[[int], None]  # project id


def shelf_of(work: Workspace, address: ServerAddress) -> FolderShelf | BucketShelf | None:
    """Where pictures of this workspace lie; None where nobody knows which folder the server serves."""
    pictures = review_params(work).pictures
    own = "questions-" + sha256_hex(work.ledger_url().encode())[:12]
    if pictures != "folder":
        return BucketShelf.from_url(f"{pictures.rstrip('/')}/{own}")
    return None if address.files is None else FolderShelf(root=address.files, prefix=own)


def showing(work: Workspace, server: LabelStudioServer, address: ServerAddress, environ: Mapping[str, str]) -> Showing:
    """The shelf that `review.pictures` names. Each workspace has a folder of its own on it.

    Raises ConfigError for a folder that the server does not serve from here, or a bucket without credentials for it.
    """
    pictures = review_params(work).pictures
    shelf = shelf_of(work, address)
    if shelf is None:
        raise ConfigError(
            "review.pictures is `folder`, but it is not known which folder the labelling server serves: "
            "set FACELOOP_LABEL_STUDIO_FILES, or review.pictures to s3://BUCKET/PREFIX"
        )
    if isinstance(shelf, FolderShelf):
        shelf.begin()
        folder = str(shelf.folder)
        return Showing(shelf=shelf, connect=_hooked(server, environ, lambda one: server.connect_folder(one, folder)))
    bucket = shelf
    key_id, secret = _shown_with(environ, pictures)
    bucket.begin()

    def connect(project: int) -> None:
        server.connect_bucket(
            project,
            bucket=bucket.bucket.name,
            prefix=bucket.prefix,
            endpoint=environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL"),
            region=environ.get("AWS_DEFAULT_REGION"),
            access_key=key_id,
            secret_key=secret,
            link_minutes=_LINK_MINUTES,
        )

    return Showing(shelf=bucket, connect=_hooked(server, environ, connect))


def _shown_with(environ: Mapping[str, str], pictures: str) -> tuple[str, str]:
    """The credentials that the server keeps and signs links with: its own (role `show`), else this process's."""
    own, ours = [[environ.get(one, "") for one in pair] for pair in ((_SHOW_KEY_ID, _SHOW_SECRET), (_KEY_ID, _SECRET))]
    if any(own) and not all(own):
        raise ConfigError(f"{_SHOW_KEY_ID} and {_SHOW_SECRET} belong together: set both, or neither")
    if all(own) or all(ours):
        key_id, secret = own if all(own) else ours
        return key_id, secret
    raise ConfigError(
        f"review.pictures is {pictures}, and the server signs links to it: set {_SHOW_KEY_ID} and {_SHOW_SECRET}, "
        f"or {_KEY_ID} and {_SECRET}"
    )


def _hooked(
    server: LabelStudioServer, environ: Mapping[str, str], connect: Callable[[int], None]
) -> Callable[[int], None]:
    """`connect`, and then the project's webhook, where the environment says where one listens."""

    def both(project: int) -> None:
        connect(project)
        if environ.get(HOOK_URL) and environ.get(HOOK_SECRET):
            server.add_webhook(project, environ[HOOK_URL], environ[HOOK_SECRET])

    return both
