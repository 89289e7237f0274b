"""Bar B12, the list: where the params say which model files may be loaded, no engine sees another one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from faceloop.params import Tree, read_params
from faceloop.progress import SilentProgress
from faceloop.runner import Workspace, open_workspace, run_stage
from faceloop.stages.embed import Params as EmbedParams
from faceloop.vision.allowed import ModelListParams, allow_only
from faceloop.vision.choice import ModelParams
from faceloop.vision.packs import SFACE_SHA256, YUNET_SHA256, load_pack
from facestore.errors import ConfigError, ModelNotAllowed

ROOT = Path(__file__).parents[2]
OTHER = "0" * 64
BUILTIN = ModelParams(pack="builtin", accept_licence=None, engine="onnxruntime", precision="f32", provider="cpu")


@pytest.fixture(autouse=True)
def _no_list_afterwards() -> Iterator[None]:
    yield
    allow_only(ModelListParams(allowed_sha256=[]))


def _tree(source: Path, *allowed: str) -> Tree:
    return read_params(
        ROOT / "params.yaml", [f"paths.source={source}", f"models.allowed_sha256=[{', '.join(allowed)}]"]
    )


def _work(tmp_path: Path, *allowed: str) -> Workspace:
    (tmp_path / "source").mkdir(exist_ok=True)
    tree = _tree(tmp_path / "source", *allowed)
    return open_workspace(tmp_path / "root", tree, threads=1, progress=SilentProgress())


def test_an_empty_list_leaves_every_pack_whose_hashes_are_known(tmp_path: Path) -> None:
    _work(tmp_path)
    assert load_pack("builtin", accept_licence=None, insightface_root=None).recogniser is not None


def test_a_pack_is_loaded_only_where_all_its_files_are_on_the_list(tmp_path: Path) -> None:
    _work(tmp_path, f"'{YUNET_SHA256}'", f"'{SFACE_SHA256}'")
    assert load_pack("builtin", accept_licence=None, insightface_root=None).detector is not None
    _work(tmp_path, f"'{YUNET_SHA256}'")
    with pytest.raises(ModelNotAllowed, match=rf"\.onnx with sha256 {SFACE_SHA256} is not in models\.allowed_sha256"):
        load_pack("builtin", accept_licence=None, insightface_root=None)


def test_a_model_that_is_open_already_is_refused_too(tmp_path: Path) -> None:
    BUILTIN.detector(threads=1, min_score=0.7)
    _work(tmp_path, f"'{OTHER}'")
    for ask in (BUILTIN.load, lambda: BUILTIN.detector(threads=1, min_score=0.7)):
        with pytest.raises(ModelNotAllowed):
            ask()


def test_a_stage_stops_before_an_engine_sees_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    monkeypatch.setattr("faceloop.vision.models.open_session", lambda *a, **k: opened.append(a))
    work = _work(tmp_path, f"'{OTHER}'")
    run_stage(work, "ingest")
    with pytest.raises(ModelNotAllowed):
        run_stage(work, "detect")
    assert opened == []


def test_without_the_gate_the_same_pack_would_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: a `load_pack` that does not ask."""
    _work(tmp_path, f"'{OTHER}'")
    monkeypatch.setattr("faceloop.vision.packs.refuse_unlisted", lambda pack: None)
    assert load_pack("builtin", accept_licence=None, insightface_root=None).detector is not None


def test_what_this_root_trained_is_measured_before_it_is_listed(tmp_path: Path) -> None:
    _work(tmp_path, f"'{OTHER}'")
    assert load_pack("builtin", accept_licence=None, insightface_root=None, is_made_here=True).detector is not None


@pytest.mark.parametrize("wrong", ["abc", "'" + "A" * 64 + "'", "7"])
def test_what_is_no_sha256_stops_the_work_before_it_starts(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"models\.allowed_sha256"):
        _work(tmp_path, wrong)


def test_the_list_changes_nothing_of_what_is_made(tmp_path: Path) -> None:
    trees = [_tree(tmp_path), _tree(tmp_path, f"'{OTHER}'")]
    assert len({EmbedParams.model_validate(tree["embed"]).model_dump_json() for tree in trees}) == 1
