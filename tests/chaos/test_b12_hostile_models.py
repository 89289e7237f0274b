"""Bar B12: a hostile model file is refused: none of its code runs and no file beside it is read."""

import hashlib
import io
import json
import os
import pickle
import re
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.faceloop.test_gallery import written

from faceloop.clustering.index_file import IndexFile
from faceloop.export.gallery import Gallery
from faceloop.export.probes import PROBES
from faceloop.training import tensor_files
from faceloop.training.tensor_files import read_tensors
from faceloop.vision.fold import fold_model
from faceloop.vision.models import open_detector, open_recogniser
from faceloop.vision.packs import load_pack
from facestore.errors import DataError, FaceloopError, ModelCorrupt


class _Writer:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


def _model(location: str | None, *, place: str) -> bytes:
    """x + w, with w outside of the file: as an initializer, a constant, in a branch, in a function, or sparse."""
    outside = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1, 4])
    if location is not None:
        outside.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", "16")):
            outside.external_data.add(key=key, value=value)
    else:
        outside.raw_data = np.ones(4, np.float32).tobytes()
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
    add = helper.make_node("Add", ["x", "w"], ["y"])
    constant = helper.make_node("Constant", [], ["w"], value=outside)
    graph = helper.make_graph([add], "g", [x], [y], [outside])
    if place == "constant":
        graph = helper.make_graph([constant, add], "g", [x], [y])
    if place == "branch":
        w = helper.make_tensor_value_info("w", TensorProto.FLOAT, [1, 4])
        branch = helper.make_graph([constant], "b", [], [w])
        chosen = helper.make_node("If", ["c"], ["w2"], then_branch=branch, else_branch=branch)
        graph = helper.make_graph([chosen, helper.make_node("Add", ["x", "w2"], ["y"])], "g", [x], [y])
    opset = helper.make_opsetid("", 17)
    functions = []
    if place == "function":
        functions = [helper.make_function("ours", "f", ["x"], ["y"], [constant, add], [opset])]
        graph = helper.make_graph([helper.make_node("f", ["x"], ["y"], domain="ours")], "g", [x], [y])
    made = helper.make_model(graph, opset_imports=[opset, helper.make_opsetid("ours", 1)], functions=functions)
    made.ir_version = 8
    return bytes(made.SerializeToString())


def _zip(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", content)
    return stream.getvalue()


def _hostile(folder: Path) -> dict[str, bytes]:
    canary, secret = _Writer(folder / "ran"), folder / "secret.bin"
    secret.write_bytes(np.full(4, 7, np.float32).tobytes())
    (folder / "link.bin").symlink_to(secret)
    os.link(secret, folder / "hard.bin")
    made = {f"pickle {number}": pickle.dumps(canary, protocol=number) for number in range(6)}
    made["pt"] = _zip(pickle.dumps(canary))
    stream = io.BytesIO()
    np.save(stream, np.array([canary], dtype=object), allow_pickle=True)
    made["npy of objects"] = stream.getvalue()
    made["safetensors, long header"] = struct.pack("<Q", 1 << 62) + b"{}"
    made["safetensors"] = struct.pack("<Q", 2) + b"{}"
    made["zip bomb"] = _zip(bytes(50_000_000))
    made["nothing"], made["zeros"], made["text"] = b"", bytes(1000), b"import os"
    for place in ("initializer", "constant", "branch", "function"):
        for name, location in (
            ("up", "../secret.bin"),
            ("absolute", str(secret)),
            ("symlink", "link.bin"),
            ("hardlink", "hard.bin"),
        ):
            made[f"{name} in {place}"] = _model(location, place=place)
    return made


def _tensors(header: object, content: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content


def _hostile_tensors() -> dict[str, bytes]:
    """Weights of a candidate: a header that lies about sizes, places, shapes, types, or itself."""

    def one(shape: list[int], place: list[int], kind: str = "F32") -> dict[str, object]:
        return {"dtype": kind, "shape": shape, "data_offsets": place}

    return {
        "longer than the file": struct.pack("<Q", 1 << 40) + b"{}",
        "negative": struct.pack("<q", -1) + b"{}",
        "cut off in the length": b"\x02\0\0",
        "cut off in the header": struct.pack("<Q", 100) + b'{"w":',
        "100 MB of blanks": struct.pack("<Q", 100_000_001) + b" " * 1000,
        "cut off in the tensor": _tensors({"w": one([4], [0, 16])}, bytes(8)),
        "bytes behind the tensors": _tensors({"w": one([4], [0, 16])}, bytes(64)),
        "overlapping": _tensors({"a": one([4], [0, 16]), "b": one([4], [8, 24])}, bytes(24)),
        "a hole": _tensors({"a": one([4], [0, 16]), "b": one([4], [32, 48])}, bytes(48)),
        "backwards": _tensors({"a": one([4], [16, 0])}, bytes(16)),
        "huge shape": _tensors({"a": one([1 << 40, 1 << 40], [0, 16])}, bytes(16)),
        "shape that wraps to 0": _tensors({"a": one([1 << 32, 1 << 32], [0, 0])}),
        "shape below zero": _tensors({"a": one([-4], [0, 16])}, bytes(16)),
        "other type": _tensors({"a": one([4], [0, 16], "OBJ")}, bytes(16)),
        "deep": _tensors(b"[" * 100_000),
        "a bomb of names": _tensors({f"a{number}": one([1 << 20], [0, 4 << 20]) for number in range(5000)}, bytes(16)),
        "a list": _tensors([1, 2]),
        "no text": _tensors(b"\xff\xfe{}"),
        "a pickle": pickle.dumps({"w": 1}),
        "nothing": b"",
    }


@pytest.mark.parametrize("name", sorted(_hostile_tensors()))
def test_no_hostile_weights_are_taken_and_none_costs_the_memory_that_it_promises(tmp_path: Path, name: str) -> None:
    (tmp_path / "weights.safetensors").write_bytes(_hostile_tensors()[name])
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelCorrupt):
        read_tensors(tmp_path / "weights.safetensors")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 256 * 1024


def test_weights_that_are_what_they_say_are_read(tmp_path: Path) -> None:
    """And the classes of a candidate, its optimiser and its backbone come in by no other reader."""
    (tmp_path / "w.safetensors").write_bytes(
        _tensors({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, np.ones(2, np.float32).tobytes())
    )
    assert read_tensors(tmp_path / "w.safetensors")["w"].tolist() == [1.0, 1.0]
    sources = {path: path.read_text(encoding="utf-8") for path in Path(tensor_files.__file__).parent.rglob("*.py")}
    readers = {path.name for path, text in sources.items() if re.search(r"load_file\(|torch\.load\(", text)}
    assert readers == {"tensor_files.py"}


@pytest.mark.parametrize("is_checked", [True, False])
def test_an_index_is_hashed_before_its_reader_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_checked: bool
) -> None:
    """The mutant reads first."""
    written(tmp_path / "gallery")
    (tmp_path / "gallery" / "index.faiss").write_bytes(b"IxFI" + b"\xff" * 60)
    seen: list[Path] = []
    real = IndexFile.__init__

    def noted(index: IndexFile, path: Path) -> None:
        seen.append(path)
        real(index, path)

    monkeypatch.setattr(IndexFile, "__init__", noted)
    if not is_checked:
        monkeypatch.setattr("faceloop.export.gallery.verify_gallery", lambda folder: "")
    with pytest.raises(DataError):
        Gallery(tmp_path / "gallery")
    assert len(seen) == (not is_checked)


def _asks(folder: Path, content: bytes) -> list[Callable[[], object]]:
    """All doors by which a file comes in as a model or as numbers."""
    folder.mkdir()
    (folder / "m.onnx").write_bytes(content)
    (folder / PROBES).write_bytes(content)
    task = {"file": "m.onnx", "sha256": hashlib.sha256(content).hexdigest()}
    pixels = {"preprocessing": {"colour": "RGB", "mean": 0, "std": 1}}
    recognition = {**task, "kind": "arcface", "input_size": 112, "embedding_dimension": 4, **pixels}
    tasks = {"detection": {**task, "kind": "yunet", **pixels}, "recognition": recognition}
    manifest = {"manifest_version": 1, "pack_id": "hostile", "licence": "none", "tasks": tasks}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    pack = load_pack(str(folder), accept_licence=None, insightface_root=None)

    def recogniser(engine: str) -> object:
        return open_recogniser(pack, engine=engine, precision="f32", threads=1, batch_size=1)  # type: ignore[arg-type]

    return [
        lambda: open_detector(pack, engine="onnxruntime", precision="f32", threads=1),
        lambda: recogniser("onnxruntime"),
        lambda: recogniser("openvino"),
        lambda: IndexFile(folder / "m.onnx"),
    ]


def test_no_hostile_model_is_loaded_runs_or_reads_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hostile = _hostile(tmp_path)
    assert len(hostile) >= 25
    for number, content in enumerate(hostile.values()):
        for ask in _asks(tmp_path / f"pack{number}", content):
            with pytest.raises(FaceloopError):
                ask()
    assert not (tmp_path / "ran").exists()


def test_a_reader_that_unpickles_would_run_it(tmp_path: Path) -> None:
    """The mutant: the canary sings for pickle, so its silence above means something."""
    content = _hostile(tmp_path)["pickle 4"]
    pickle.loads(content)  # noqa: S301  # our own bytes
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("place", ["initializer", "constant", "branch", "function"])
def test_the_same_model_with_its_numbers_inside_is_no_hostile_one(place: str) -> None:
    assert onnx.load_model_from_string(fold_model(_model(None, place=place), free_axes=())).graph.node
