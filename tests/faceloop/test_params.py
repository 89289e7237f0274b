"""Params: every mistake is found before work starts and names the key, the value and what is allowed."""

import json
from pathlib import Path

import pytest

from faceloop.params import Tree, read_params, section
from faceloop.progress import SilentProgress
from faceloop.runner import open_workspace
from faceloop.stages import detect, ingest
from facestore.errors import ConfigError

SHIPPED = Path(__file__).parents[2] / "params.yaml"


def _open(tree: Tree) -> None:
    open_workspace(None, tree, threads=1, progress=SilentProgress())


def test_the_shipped_params_are_right() -> None:
    _open(read_params(SHIPPED))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("detect.min_score=1.5", r"detect\.min_score = 1\.5: .*less than or equal to 1"),
        ("detect.min_score=-0.1", r"detect\.min_score = -0\.1: .*greater than or equal to 0"),
        ("detect.min_score=.nan", r"detect\.min_score = nan: .*finite"),
        ("detect.sample_fps=0", r"detect\.sample_fps = 0: .*greater than 0"),
        ("detect.best_shots=many", r"detect\.best_shots = 'many': .*integer"),
        ("detect.best_shots=2.5", r"detect\.best_shots = 2\.5: .*integer"),
        ("detect.best_shots=true", r"detect\.best_shots = True: .*integer"),
        ("detect.best_shots=null", r"detect\.best_shots = None: .*integer"),
        ("detect.model.engine=magic", r"detect\.model\.engine = 'magic': .*'onnxruntime'"),
        ("detect.model.accept_licence=yes please", r"detect\.model\.accept_licence = 'yes please': .*'non-commercial'"),
        ("ingest.subset_from=moon", r"ingest\.subset_from = 'moon': .*'parent' or 'source'"),
        ("ingest.batches=5000", r"ingest\.batches = 5000: .*4096"),
        ("ingest.min_fps=.inf", r"ingest\.min_fps = inf"),
        ("detect=3", r"detect = 3: .*"),
        ("root=null", r"root = None: must name the folder"),
    ],
)
def test_a_wrong_value_names_key_value_and_range(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _open(read_params(SHIPPED, [override]))


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        _open(read_params(SHIPPED, ["detect.min_score=7", "detect.context_px=1"]))
    assert "detect.min_score = 7" in str(caught.value)
    assert "detect.context_px = 1" in str(caught.value)


def test_an_unknown_key_is_named_with_those_that_exist() -> None:
    tree = read_params(SHIPPED)
    tree["ingest"] = {**tree["ingest"], "min_hight_px": 3}  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match=r"ingest\.min_hight_px = 3: unknown key; keys are .*min_height_px"):
        section(tree, "ingest", ingest.Params)


def test_a_missing_key_and_a_missing_section_are_named() -> None:
    tree = read_params(SHIPPED)
    tree["detect"] = {key: value for key, value in tree["detect"].items() if key != "min_score"}  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match=r"detect\.min_score is missing"):
        section(tree, "detect", detect.Params)
    del tree["detect"]
    with pytest.raises(ConfigError, match="no section 'detect'"):
        _open(tree)


def test_an_unknown_section_is_named() -> None:
    tree = read_params(SHIPPED)
    tree["detecct"] = {}
    with pytest.raises(ConfigError, match=r"unknown sections \['detecct'\]"):
        _open(tree)


@pytest.mark.parametrize(
    "override",
    ["detect.min_scor=1", "detect", "detect.=1", "nope.min_score=1", "=1", "detect.min_score=[", "detect.model.x.y=1"],
)
def test_a_wrong_override_is_named(override: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        read_params(SHIPPED, [override])


@pytest.mark.parametrize("payload", [b"", b"- a\n- b\n", b"a: [", b"\xff\xfe\x00a", b"just text"])
def test_a_file_that_holds_no_params_is_a_config_error(payload: bytes, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_bytes(payload)
    with pytest.raises(ConfigError, match=r"p\.yaml"):
        read_params(tmp_path / "p.yaml")
    with pytest.raises(ConfigError, match="cannot read params"):
        read_params(tmp_path / "missing.yaml")


@pytest.mark.parametrize("value", [1e-6, 1.5e300, -2e-9, 5.0, 3, True, "1e", "e5", "12e", "0x1f", "1e-6 px"])
def test_what_json_writes_is_read_back_as_it_was(tmp_path: Path, value: object) -> None:
    """A job keeps its params as JSON; people write 1e-6 too, which is no number to YAML 1.1."""
    kept = tmp_path / "params.json"
    kept.write_text(json.dumps({"value": value}), encoding="utf-8")
    found = read_params(kept)["value"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("word", ["off", "on", "Off", "ON"])
def test_a_word_stays_a_word_without_quotes(word: str, tmp_path: Path) -> None:
    """DVC writes params back by YAML 1.2, where these need no quotes; to YAML 1.1 they are truth values."""
    kept = tmp_path / "params.yaml"
    kept.write_text(f"value: {word}\nother: true\n", encoding="utf-8")
    assert read_params(kept) == {"value": word, "other": True}
    assert read_params(kept, [f"other={word}"])["other"] == word
    assert [read_params(kept, [f"other={said}"])["other"] for said in ("False", "no", "Yes")] == [False, False, True]


def test_a_small_number_may_be_set_without_a_point(tmp_path: Path) -> None:
    kept = tmp_path / "params.yaml"
    kept.write_text("value: 1e-6\n", encoding="utf-8")
    assert read_params(kept) == {"value": 1e-6}
    assert read_params(kept, ["value=2e-7"]) == {"value": 2e-7}
