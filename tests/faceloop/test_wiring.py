"""Signature, dvc.yaml and params.yaml say the same: the promise that three callers run one stage."""

from pathlib import Path

import pytest
import yaml

from faceloop.params import Paths, read_params, section
from faceloop.stage import STAGES, load_stage
from facestore.errors import ConfigError

ROOT = Path(__file__).parents[2]
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
TREE = read_params(ROOT / "params.yaml")


def _artifacts(entries: list[object]) -> set[str]:
    names = set()
    for entry in entries:
        text = next(iter(entry)) if isinstance(entry, dict) else str(entry)
        if text.startswith("${root}/${paths."):
            names.add(text.removeprefix("${root}/${paths.").rstrip("}"))
    return names


@pytest.mark.parametrize("name", STAGES)
def test_dvc_wires_a_stage_as_its_signature_says(name: str) -> None:
    stage = load_stage(name)
    assert _artifacts(DVC[name]["outs"]) == set(stage.outs)
    assert _artifacts(DVC[name]["deps"]) == set(stage.ins) | set(stage.externals)
    assert DVC[name]["cmd"] == f"faceloop run {name} --root ${{root}}"
    assert DVC[name]["params"] == [name]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_reads_exactly_the_keys_of_its_section(name: str) -> None:
    params = load_stage(name).params
    assert set(TREE[name]) == set(params.model_fields)  # type: ignore[arg-type]
    section(TREE, name, params)


@pytest.mark.parametrize("name", STAGES)
def test_dvc_lists_the_code_that_a_stage_imports(name: str) -> None:
    code = {dep for dep in DVC[name]["deps"] if dep.startswith("platform/")}
    assert f"platform/faceloop/stages/{name}.py" in code
    source = (ROOT / f"platform/faceloop/stages/{name}.py").read_text(encoding="utf-8")
    folders = {
        f"platform/faceloop/{folder}"
        for folder in ("footage", "vision", "clustering", "identity", "release")
        if f"from faceloop.{folder}" in source
    }
    assert folders <= code


def test_every_artifact_has_a_path_of_its_own() -> None:
    paths = section(TREE, "paths", Paths)
    names = [str(value) for value in paths.model_dump().values()]
    assert len(set(names)) == len(names)
    for stage in map(load_stage, STAGES):
        assert {*stage.ins, *stage.outs, *stage.externals} <= set(Paths.model_fields)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("detect.min_score=1.7", ("detect.min_score", "1.7", "less than or equal to 1")),
        ("detect.sample_fps=0", ("detect.sample_fps", "0", "greater than 0")),
        ("detect.model.engine=magic", ("detect.model.engine", "magic", "onnxruntime")),
        ("embed.batch_size=eight", ("embed.batch_size", "eight", "integer")),
        ("pack.val_share=0.9", ("pack", "below 1")),
        ("cluster.min_quality=-1", ("cluster.min_quality", "-1", "greater than or equal to 0")),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_what_is_allowed(override: str, said: tuple[str, ...]) -> None:
    key = override.partition(".")[0]
    tree = read_params(ROOT / "params.yaml", [override])
    with pytest.raises(ConfigError) as error:
        section(tree, key, load_stage(key).params)
    for part in said:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("of_select", "of_cluster"), [("threshold_sigmas", "across_sigmas"), ("confidence_scale_sigmas",) * 2]
)
def test_select_judges_by_the_numbers_that_cluster_merges_by(of_select: str, of_cluster: str) -> None:
    assert TREE["select"][of_select] == TREE["cluster"][of_cluster]  # type: ignore[call-overload,index]
