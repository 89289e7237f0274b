"""The local S3 profile: credentials drawn once, a real server on loopback, nothing lost when it is killed."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from faceloop.operate.bucket import (
    OBJECTS_URL,
    PICTURES_URL,
    READY,
    command_of,
    env_file,
    known_access,
    make_access,
    program,
)
from faceloop.operate.deployment import params_text, prepare
from faceloop.operate.parts import Site, parts_of
from faceloop.operate.place import Place, Ports, kept_keys, place_of
from facereview.labelstudio.local import RunningServer
from facestore.errors import ConfigError
from facestore.ids import media_key, sha256_hex
from facestore.objects import open_store

ROOT = Path(__file__).parents[2]
SERVER = RunningServer(url="http://127.0.0.1:2", email="a@b.c", password="p" * 9, token="t" * 9, files="/files", pid=1)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    try:
        program()
    except ConfigError as error:
        pytest.skip(str(error))
    return place_of(tmp_path)


def _site(place: Place) -> Site:
    ports = Ports(airflow=1, labels=2, webhook=3, metrics=4)
    return Site(
        place=place, ports=ports, keys=kept_keys(place), dags=ROOT / "dags", cores=2, has_metrics=True,
        bucket=known_access(place),
    )  # fmt: skip


def test_access_is_drawn_once_and_its_owner_alone_reads_it(place: Place) -> None:
    assert known_access(place) is None
    access = make_access(place)
    assert make_access(place) == known_access(place) == access
    assert stat.S_IMODE(env_file(place).stat().st_mode) == 0o600
    assert access.variables["AWS_SECRET_ACCESS_KEY"] not in " ".join(command_of(place, access))
    env_file(place).write_text("AWS_ENDPOINT_URL=x\n")
    with pytest.raises(ConfigError, match="is damaged"):
        known_access(place)


def test_only_who_works_on_media_gets_the_credentials(place: Place) -> None:
    make_access(place)
    parts = {part.name: part for part in parts_of(_site(place), SERVER, {"PATH": "/bin"})}
    assert next(iter(parts)) == "s3"
    told = {name for name, part in parts.items() if "AWS_SECRET_ACCESS_KEY" in part.environment}
    assert told == {"s3", "scheduler", "triggerer", "webhook"}


def test_a_new_deployment_keeps_its_media_there_and_an_old_one_is_not_moved(place: Place, tmp_path: Path) -> None:
    make_access(place)
    site = _site(place)
    prepare(site, ROOT / "params.yaml")
    tree = yaml.safe_load(place.params.read_text())
    assert (tree["paths"]["objects"], tree["review"]["pictures"]) == (OBJECTS_URL, PICTURES_URL)
    assert "objects: objects " in params_text((ROOT / "params.yaml").read_text(), place)
    old = place_of(tmp_path / "old")
    old.folder.mkdir()
    old.params.write_text("theirs")
    with pytest.raises(ConfigError, match="was made without --s3"):
        make_access(old)
    assert not env_file(old).exists()


@contextmanager
def _serving(place: Place) -> Iterator["subprocess.Popen[str]"]:
    """The part as its supervisor starts it: in a session of its own, which is killed at the end."""
    command = [sys.executable, "-m", "faceloop.operate.bucket", str(place.folder)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as part:
        try:
            assert part.stderr is not None
            assert any(line.strip() == READY for line in part.stderr), "it ended before it was ready"
            yield part
        finally:
            os.killpg(part.pid, signal.SIGKILL)


@pytest.mark.integration
def test_what_was_stored_is_there_after_a_kill(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in make_access(place).variables.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "clip"
    path.write_bytes(b"media" * 1000)
    key = media_key(sha256_hex(path.read_bytes()))
    with _serving(place):
        store = open_store(OBJECTS_URL, may_link=False)
        assert store.put(key, path) is True
    with _serving(place):
        open_store(OBJECTS_URL, may_link=False).check(key)
