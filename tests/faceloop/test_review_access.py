"""Which labelling server, which shelf: from a folder or the environment, or a line that says what is missing."""

from pathlib import Path
from typing import cast

import pytest

from faceloop.params import read_params
from faceloop.progress import SilentProgress
from faceloop.review.access import ServerAddress, server_address, showing
from faceloop.runner import Workspace, open_workspace
from facereview.asking.shelf import FolderShelf
from facereview.labelstudio.adapter import LabelStudioServer
from facestore.errors import ConfigError
from facestore.s3 import S3Bucket

ROOT = Path(__file__).parents[2]
GIVEN = {"FACELOOP_LABEL_STUDIO_URL": "http://127.0.0.1:1", "FACELOOP_LABEL_STUDIO_TOKEN": "t"}


class Connected:
    """Notes what projects were told."""

    def __init__(self) -> None:
        self.said: list[tuple[object, ...]] = []

    def connect_folder(self, project_id: int, path: str) -> None:
        self.said.append((project_id, path))

    def connect_bucket(self, project_id: int, *, bucket: str, access_key: str, secret_key: str, **_: object) -> None:
        self.said.append((project_id, bucket, access_key, secret_key))

    def add_webhook(self, project_id: int, url: str, secret: str) -> None:
        self.said.append((project_id, url, secret))


def workspace(folder: Path, *overrides: str) -> Workspace:
    tree = read_params(ROOT / "params.yaml", overrides)
    return open_workspace(folder, tree, threads=1, progress=SilentProgress())


def test_the_environment_names_a_server_before_any_folder_does(tmp_path: Path) -> None:
    found = server_address(tmp_path, {**GIVEN, "FACELOOP_LABEL_STUDIO_FILES": "/served"})
    assert (found.url, found.token, found.files) == ("http://127.0.0.1:1", "t", Path("/served"))


def test_without_a_server_it_is_said_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make labelstudio"):
        server_address(tmp_path, {"FACELOOP_LABEL_STUDIO_URL": "http://127.0.0.1:1"})


def test_each_workspace_has_a_folder_of_its_own_and_projects_are_told_of_folder_and_webhook(tmp_path: Path) -> None:
    server, served = Connected(), tmp_path / "served"
    address = ServerAddress(url="http://127.0.0.1:1", token="t", files=served)  # noqa: S106
    environ = {"FACELOOP_WEBHOOK_URL": "http://127.0.0.1:2/hook", "FACELOOP_WEBHOOK_SECRET": "s"}
    shelves = []
    for name in ("one", "other"):
        shown = showing(workspace(tmp_path / name), cast("LabelStudioServer", server), address, environ)
        assert isinstance(shown.shelf, FolderShelf)
        shelves.append(shown.shelf)
        shown.connect(7)
    assert shelves[0].prefix != shelves[1].prefix
    assert all(shelf.folder.is_dir() for shelf in shelves)
    assert server.said == [
        said for shelf in shelves for said in ((7, str(shelf.folder)), (7, "http://127.0.0.1:2/hook", "s"))
    ]


def test_a_server_elsewhere_needs_its_folder_named_and_a_bucket_its_credentials(tmp_path: Path) -> None:
    address = ServerAddress(url="http://127.0.0.1:1", token="t", files=None)  # noqa: S106
    server = cast("LabelStudioServer", Connected())
    with pytest.raises(ConfigError, match="FACELOOP_LABEL_STUDIO_FILES"):
        showing(workspace(tmp_path), server, address, {})
    with pytest.raises(ConfigError, match="AWS_ACCESS_KEY_ID"):
        showing(workspace(tmp_path, "review.pictures=s3://bucket/open"), server, address, {})


@pytest.mark.integration
def test_the_server_is_told_credentials_of_its_own_where_there_are_any(
    s3_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    bucket, _ = S3Bucket.from_url("s3://review-access")
    bucket.make()
    address = ServerAddress(url="http://127.0.0.1:1", token="t", files=None)  # noqa: S106
    work, server = workspace(tmp_path, "review.pictures=s3://review-access/open"), Connected()
    own = {"FACELOOP_LABEL_STUDIO_S3_KEY_ID": "own", "FACELOOP_LABEL_STUDIO_S3_SECRET": "its"}
    for environ in (s3_environment, s3_environment | own):
        showing(work, cast("LabelStudioServer", server), address, environ).connect(7)
    ours = tuple(s3_environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    assert server.said == [(7, "review-access", *ours), (7, "review-access", "own", "its")]
    with pytest.raises(ConfigError, match="belong together"):
        showing(work, cast("LabelStudioServer", server), address, s3_environment | {next(iter(own)): "own"})
