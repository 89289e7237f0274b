"""A real Triton server reads the repository and runs the ensemble, from a picture to a vector.

The only server that comes as a package carries no backend but Python: there ONNX Runtime runs each model's own file
behind that backend. Names, shapes, batches, warm-ups and versions are the server's to judge all the same.
"""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton  # type: ignore[import-untyped]

from faceloop.export.triton import current_version, roll_back

from .triton_world import Array, ask, write_tiny

pytestmark = pytest.mark.integration
VENV = Path(os.environ.get("FACELOOP_TRITON_VENV", "~/.cache/faceloop/triton-server")).expanduser()
PACKAGES = VENV / "lib" / "python3.11" / "site-packages"
SERVER = PACKAGES / "pytriton" / "tritonserver"
HOW = (
    f"no Triton server in {VENV.name}; make one: /usr/bin/python3.11 -m venv ~/.cache/faceloop/triton-server, then its "
    "pip install nvidia-pytriton==0.7.0 'onnxruntime<1.24' 'numpy<2' (Debian's Python; others fail)"
)
PATIENCE_S = 120.0
STAND_IN = f"""
import sys
sys.path.insert(0, {str(PACKAGES)!r})  # the server sets a PYTHONPATH of its own
import os
import onnxruntime
import triton_python_backend_utils as backend

class TritonPythonModel:
    def initialize(self, args):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = os.path.join(args["model_repository"], args["model_version"], "model.onnx")
        self.session = onnxruntime.InferenceSession(path, options)

    def execute(self, requests):
        names = [value.name for value in self.session.get_outputs()]
        answers = []
        for request in requests:
            fed = {{
                value.name: backend.get_input_tensor_by_name(request, value.name).as_numpy()
                for value in self.session.get_inputs()
            }}
            found = self.session.run(names, fed)
            answers.append(backend.InferenceResponse([backend.Tensor(n, v) for n, v in zip(names, found)]))
        return answers
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (SERVER / "bin" / "tritonserver").is_file():
        pytest.skip(HOW)
    folder = tmp_path_factory.mktemp("served")
    write_tiny(folder)
    return write_tiny(folder, seed=1)


def with_stand_ins(repository: Path, folder: Path) -> Path:
    """A copy whose ONNX models run behind the Python backend. Nothing else of the configs is changed."""
    shutil.copytree(repository, folder)
    for model in sorted(folder.glob("*/*/model.onnx")):
        (model.parent / "model.py").write_text(STAND_IN, encoding="utf-8")
    for config in sorted(folder.glob("*/config.pbtxt")):
        text = config.read_text(encoding="utf-8")
        config.write_text(text.replace('platform: "onnxruntime_onnx"', 'backend: "python"'), encoding="utf-8")
    return folder


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports


@contextmanager
def serving(models: Path, folder: Path) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The gRPC address of a server with these models, and its index of them, once all were tried."""
    backend = folder / "backends" / "python"
    shutil.copytree(SERVER / "backends" / "python", backend)
    stub = shutil.copy(SERVER / "python_backend_stubs" / "3.11" / "triton_python_backend_stub", backend)
    Path(stub).chmod(0o755)
    http_port, grpc_port = free_ports(2)
    arguments = [
        f"--model-repository={models}", f"--backend-directory={backend.parent}", "--exit-on-error=false",
        "--strict-readiness=false", "--allow-gpu-metrics=false", "--allow-metrics=false", "--http-address=127.0.0.1",
        "--grpc-address=127.0.0.1", f"--http-port={http_port}", f"--grpc-port={grpc_port}",
    ]  # fmt: skip
    environment = {"LD_LIBRARY_PATH": str(PACKAGES / "nvidia_pytriton.libs"), "PATH": os.environ["PATH"]}
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [SERVER / "bin" / "tritonserver", *arguments],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield f"127.0.0.1:{grpc_port}", index_of(http_port, server, folder / "server.log")
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def index_of(port: int, server: "subprocess.Popen[bytes]", log: Path) -> list[dict[str, str]]:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and server.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("POST", "/v2/repository/index", body=b"")
            found: list[dict[str, str]] = json.load(connection.getresponse())
            return found
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    raise AssertionError(f"the server did not come up:\n{log.read_text(encoding='utf-8', errors='replace')[-3000:]}")


def infer(address: str, image: Array) -> dict[str, Array]:
    client = triton.InferenceServerClient(address)
    try:
        given = triton.InferInput("IMAGE", image.shape, "UINT8")
        given.set_data_from_numpy(image)
        answer = client.infer("faces", [given], client_timeout=PATIENCE_S)
        names = ("BOXES", "LANDMARKS", "SCORES", "EMBEDDINGS", "CONTRACT")
        return {name: np.asarray(answer.as_numpy(name)) for name in names}
    finally:
        client.close()


def test_the_server_runs_the_ensemble_and_answers_what_onnx_runtime_answers(
    repository: Path, tmp_path: Path, astronaut_rgb: Array
) -> None:
    pair = np.ascontiguousarray(np.concatenate([astronaut_rgb, astronaut_rgb[:, ::-1]], axis=1))
    with serving(with_stand_ins(repository, tmp_path / "models"), tmp_path) as (address, index):
        assert {entry.get("state") for entry in index} == {"READY"}
        versions = {(entry["name"], entry["version"]) for entry in index}
        assert {("face_embed", "1"), ("face_embed", "2"), ("faces", "2")} <= versions  # the version before stays loaded
        for picture, faces in ((pair, 2), (np.zeros((50, 70, 3), np.uint8), 1)):
            served, expected = infer(address, picture), ask(repository, picture)
            assert len(served["SCORES"]) == faces
            assert served["CONTRACT"].astype(str).tolist() == expected["CONTRACT"].astype(str).tolist()
            for name in ("BOXES", "LANDMARKS", "SCORES", "EMBEDDINGS"):
                assert np.allclose(served[name], expected[name], rtol=1e-3, atol=0.05 if name == "BOXES" else 1e-2)


def test_the_server_finds_nothing_wrong_with_the_configs_as_they_are_but_the_backend_it_lacks(
    repository: Path, tmp_path: Path
) -> None:
    models = shutil.copytree(repository, tmp_path / "models")
    roll_back(models)
    assert current_version(models).version == 1
    with serving(models, tmp_path) as (_, index):
        reasons = {entry["reason"] for entry in index if "reason" in entry}
    assert len(reasons) == 1 and "unable to find backend library for backend 'onnxruntime'" in reasons.pop()


@pytest.mark.parametrize(
    ("model", "pattern", "replacement"),
    [
        ("face_embed", r"max_batch_size: 32", "max_batch_size: -5"),
        ("face_align", r'name: "face_align"', 'name: "somebody"'),
        ("faces", r'model_name: "face_unit"', 'model_name: "nobody"'),
    ],
)
def test_what_our_check_refuses_the_server_refuses_too(
    repository: Path, tmp_path: Path, model: str, pattern: str, replacement: str
) -> None:
    models = with_stand_ins(repository, tmp_path / "models")
    config = models / model / "config.pbtxt"
    config.write_text(re.sub(pattern, replacement, config.read_text(encoding="utf-8"), count=1), encoding="utf-8")
    with serving(models, tmp_path) as (_, index):
        ready = {entry["name"] for entry in index if entry.get("state") == "READY"}
    assert model not in ready and "faces" not in ready
