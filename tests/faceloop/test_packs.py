"""Model packs: found offline, verified byte by byte, licence asked for, every mistake named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from faceloop.vision.model_files import sha256_of
from faceloop.vision.models import embedding_contract, open_detector, open_recogniser
from faceloop.vision.packs import SFACE_SHA256, load_pack, parse_ref
from faceloop.vision.specs import ModelPack, PackRef, Preprocessing
from facestore.errors import ConfigError, LicenceRefused, ModelCorrupt


def _load(pack: str | Path, accept_licence: str | None = None, root: Path | None = None) -> ModelPack:
    return load_pack(str(pack), accept_licence=accept_licence, insightface_root=root)


def _tiny_recogniser(*, is_normalising: bool = False) -> bytes:
    """Mean colour of a crop: (n, 3, 112, 112) to (n, 3)."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["data" if not is_normalising else "scaled"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["vector"]),
    ]
    if is_normalising:
        before = [("Sub", "data", "shifted"), ("Mul", "shifted", "scaled")]
        nodes = [helper.make_node(op, [source, f"by_{op}"], [target]) for op, source, target in before] + nodes
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(np.array([2], np.float32), f"by_{op}") for op in ("Sub", "Mul") if is_normalising],
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _manifest(content: bytes) -> dict[str, Any]:
    return {
        "manifest_version": 1,
        "pack_id": "tiny",
        "licence": "CC0-1.0",
        "tasks": {
            "recognition": {
                "file": "tiny.onnx",
                "sha256": sha256_of(content),
                "kind": "arcface",
                "preprocessing": {"colour": "RGB", "mean": 127.5, "std": 128},
                "input_size": 112,
                "embedding_dimension": 3,
            }
        },
    }


def _folder(path: Path, manifest: dict[str, Any] | None = None, content: bytes | None = None) -> Path:
    content = _tiny_recogniser() if content is None else content
    path.mkdir(parents=True, exist_ok=True)
    (path / "tiny.onnx").write_bytes(content)
    (path / "manifest.json").write_text(json.dumps(_manifest(content) if manifest is None else manifest), "utf-8")
    return path


def test_builtin_pack_has_both_models_and_feeds_sface_raw_rgb() -> None:
    pack = _load("builtin")
    assert pack.ref == PackRef(source="builtin", name="builtin")
    assert pack.detector is not None
    assert pack.recogniser is not None
    assert pack.recogniser.sha256 == SFACE_SHA256 == sha256_of(pack.recogniser.model_path.read_bytes())
    assert pack.recogniser.preprocessing == Preprocessing(colour="RGB", mean=0.0, std=1.0)
    assert pack.detector.preprocessing.colour == "BGR"


@pytest.mark.parametrize(
    ("name", "source", "rest"),
    [
        ("builtin", "builtin", "builtin"),
        ("insightface:buffalo_l", "insightface", "buffalo_l"),
        ("./builtin", "folder", "./builtin"),
        ("models/ours v2", "folder", "models/ours v2"),
    ],
)
def test_name_says_its_source(name: str, source: str, rest: str) -> None:
    ref = parse_ref(name)
    assert (ref.source, ref.name) == (source, rest)


def test_empty_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="builtin"):
        parse_ref(" ")


def test_folder_pack_carries_what_its_manifest_says(tmp_path: Path) -> None:
    pack = _load(_folder(tmp_path / "my pack ü"))
    assert (pack.pack_id, pack.licence, pack.detector) == ("tiny", "CC0-1.0", None)
    contract = embedding_contract(pack, precision="bf16")
    assert (contract.mean, contract.std, contract.dimension, contract.precision) == (127.5, 128.0, 3, "bf16")


def test_folder_without_manifest_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"manifest\.json is missing"):
        _load(tmp_path)


@pytest.mark.parametrize(
    ("keys", "value", "says"),
    [
        (("manifest_version",), 2, "manifest_version"),
        (("pack_id",), "../x", "pack_id"),
        (("licence",), "", "licence"),
        (("surprise",), 1, "surprise"),
        (("tasks",), {}, "tasks is empty"),
        (("tasks", "recognition", "kind"), "facenet", "kind.*'arcface'"),
        (("tasks", "recognition", "sha256"), "abc", "sha256"),
        (("tasks", "recognition", "input_size"), 160, "input_size.*112"),
        (("tasks", "recognition", "embedding_dimension"), 0, "embedding_dimension.*greater than or equal to 1"),
        (("tasks", "recognition", "preprocessing", "colour"), "rgb", "colour.*'RGB' or 'BGR'"),
        (("tasks", "recognition", "preprocessing", "std"), 0, "std.*greater than 0"),
        (("tasks", "recognition", "file"), "../tiny.onnx", "inside the pack"),
        (("tasks", "recognition", "file"), "/etc/passwd", "inside the pack"),
        (("tasks", "recognition", "file"), "manifest.json", "inside the pack"),
    ],
)
def test_wrong_manifest_names_key_and_allowed_range(
    tmp_path: Path, keys: tuple[str, ...], value: object, says: str
) -> None:
    manifest = _manifest(_tiny_recogniser())
    place = manifest
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    with pytest.raises(ConfigError, match=says):
        _load(_folder(tmp_path / "pack", manifest))


def test_manifest_that_is_no_json_is_refused(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "pack")
    (folder / "manifest.json").write_bytes(b'{"manifest_version": 1,')
    with pytest.raises(ConfigError, match=r"manifest\.json.*correct the manifest"):
        _load(folder)


def test_link_that_leaves_the_pack_is_refused(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "pack")
    (tmp_path / "outside.onnx").write_bytes(_tiny_recogniser())
    (folder / "tiny.onnx").unlink()
    (folder / "tiny.onnx").symlink_to(tmp_path / "outside.onnx")
    with pytest.raises(ConfigError, match="inside the pack"):
        _load(folder)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(min_value=0), flip=st.integers(1, 255))
def test_any_changed_byte_of_a_model_is_found(tmp_path: Path, position: int, flip: int) -> None:
    folder = _folder(tmp_path / "pack")
    content = bytearray(_tiny_recogniser())
    content[position % len(content)] ^= flip
    (folder / "tiny.onnx").write_bytes(content)
    with pytest.raises(ModelCorrupt, match=r"tiny\.onnx: sha256"):
        _load(folder)


def test_model_changed_after_loading_the_pack_is_found_when_it_is_opened(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "pack")
    pack = _load(folder)
    (folder / "tiny.onnx").write_bytes(_tiny_recogniser() + b" ")
    with pytest.raises(ModelCorrupt, match="sha256"):
        open_recogniser(pack, engine="onnxruntime", precision="f32", threads=1, batch_size=1)


def test_missing_model_file_is_named(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "pack")
    (folder / "tiny.onnx").unlink()
    with pytest.raises(ModelCorrupt, match=r"tiny\.onnx cannot be read"):
        _load(folder)


def test_pack_that_asks_for_acceptance_opens_only_with_its_word(tmp_path: Path) -> None:
    manifest = _manifest(_tiny_recogniser()) | {"requires_acceptance": "research-only"}
    folder = _folder(tmp_path / "pack", manifest)
    for word in (None, "non-commercial"):
        with pytest.raises(LicenceRefused, match="'research-only'"):
            _load(folder, accept_licence=word)
    assert _load(folder, accept_licence="research-only").pack_id == "tiny"


def test_recogniser_without_a_detector_says_which_pack_to_take(tmp_path: Path) -> None:
    pack = _load(_folder(tmp_path / "pack"))
    with pytest.raises(ConfigError, match=r"no detector.*builtin"):
        open_detector(pack, engine="onnxruntime", precision="f32", threads=1)


def test_graph_that_normalises_itself_is_never_fed_normalised_pixels(tmp_path: Path) -> None:
    content = _tiny_recogniser(is_normalising=True)
    pack = _load(_folder(tmp_path / "pack", content=content))
    with pytest.raises(ConfigError, match="mean 0 and std 1"):
        open_recogniser(pack, engine="onnxruntime", precision="f32", threads=1, batch_size=1)


def test_dimension_that_the_model_does_not_give_is_refused(tmp_path: Path) -> None:
    manifest = _manifest(_tiny_recogniser())
    manifest["tasks"]["recognition"]["embedding_dimension"] = 128
    pack = _load(_folder(tmp_path / "pack", manifest))
    with pytest.raises(ModelCorrupt, match="the manifest says 128"):
        open_recogniser(pack, engine="onnxruntime", precision="f32", threads=1, batch_size=1)


def _insightface(root: Path, names: tuple[str, ...] = ("det_10g.onnx", "w600k_r50.onnx", "genderage.onnx")) -> Path:
    folder = root / "models" / "buffalo_l"
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(_tiny_recogniser())
    return folder


def test_insightface_pack_needs_its_licence_accepted(tmp_path: Path) -> None:
    _insightface(tmp_path)
    for word in (None, "commercial", "NON-COMMERCIAL"):
        with pytest.raises(LicenceRefused, match="non-commercial"):
            _load("insightface:buffalo_l", accept_licence=word, root=tmp_path)


def test_accepted_insightface_pack_has_the_contract_of_its_authors(tmp_path: Path) -> None:
    _insightface(tmp_path)
    pack = _load("insightface:buffalo_l", accept_licence="non-commercial", root=tmp_path)
    assert (pack.pack_id, pack.licence) == ("insightface-buffalo_l", "insightface-non-commercial")
    assert pack.detector is not None
    assert pack.recogniser is not None
    assert pack.detector.model_path.name == "det_10g.onnx"
    assert pack.detector.preprocessing == Preprocessing(colour="RGB", mean=127.5, std=128.0)
    assert pack.recogniser.preprocessing == Preprocessing(colour="RGB", mean=127.5, std=127.5)
    assert (pack.recogniser.kind, pack.recogniser.embedding_dimension) == ("arcface", 512)


def test_old_insightface_export_that_normalises_itself_is_fed_raw_pixels(tmp_path: Path) -> None:
    folder = _insightface(tmp_path)
    (folder / "w600k_r50.onnx").write_bytes(_tiny_recogniser(is_normalising=True))
    pack = _load("insightface:buffalo_l", accept_licence="non-commercial", root=tmp_path)
    assert pack.recogniser is not None
    assert pack.recogniser.preprocessing == Preprocessing(colour="RGB", mean=0.0, std=1.0)


@pytest.mark.parametrize("name", ["buffalo_l", "../models", "", ".", ".."])
def test_insightface_pack_that_is_not_installed_is_never_downloaded(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"not installed.*nothing is downloaded"):
        _load(f"insightface:{name}", accept_licence="non-commercial", root=tmp_path)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("names", [(), ("det_10g.onnx",), ("w600k_r50.onnx",)])
def test_interrupted_insightface_download_is_told(tmp_path: Path, names: tuple[str, ...]) -> None:
    _insightface(tmp_path, names)
    with pytest.raises(ConfigError, match="interrupted download"):
        _load("insightface:buffalo_l", accept_licence="non-commercial", root=tmp_path)


def _write_v2(folder: Path, **recognition: object) -> None:
    content = _tiny_recogniser()
    task = {"file": "w600k_r50.onnx", "sha256": sha256_of(content), "embedding_dimension": 3} | recognition
    document = {
        "manifest_version": 2,
        "model_id": "buffalo_l",
        "license": "MODEL.LICENSE",
        "tasks": {"recognition": task},
    }
    (folder / "manifest.json").write_text(json.dumps(document), "utf-8")


def test_insightface_manifest_v2_is_read_with_its_own_normalisation(tmp_path: Path) -> None:
    _write_v2(_insightface(tmp_path), preprocessing={"mean": 10, "std": 20})
    pack = _load("insightface:buffalo_l", accept_licence="non-commercial", root=tmp_path)
    assert pack.detector is None
    assert pack.recogniser is not None
    assert pack.recogniser.preprocessing == Preprocessing(colour="RGB", mean=10.0, std=20.0)
    assert pack.recogniser.embedding_dimension == 3


def test_insightface_manifest_v2_is_held_to_its_hash_and_version(tmp_path: Path) -> None:
    folder = _insightface(tmp_path)
    _write_v2(folder, sha256="0" * 64)
    with pytest.raises(ModelCorrupt, match="manifest says 0000"):
        _load("insightface:buffalo_l", accept_licence="non-commercial", root=tmp_path)
    _write_v2(folder, preprocessing_version="insightface-arcface-9")
    with pytest.raises(ConfigError, match="insightface-arcface-9"):
        _load("insightface:buffalo_l", accept_licence="non-commercial", root=tmp_path)


def test_forged_licence_file_does_not_open_a_pack(tmp_path: Path) -> None:
    folder = _insightface(tmp_path)
    (folder / "MODEL.LICENSE").write_text('{"grant": "commercial"}', "utf-8")
    with pytest.raises(LicenceRefused, match="cannot be verified"):
        _load("insightface:buffalo_l", root=tmp_path)
