"""What every Dag must have, found by a fresh interpreter."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DAGS = ROOT / "dags"
FACELOOP = Path(sys.executable).with_name("faceloop")
IDS = {
    "ingest_footage",
    "label_identities",
    "sync_reviews",
    "release_and_train",
    "mine_hard_examples",
    "erase_subject",
}
ANNOUNCES = {
    "ingest_footage": {"faces"},
    "label_identities": {"labels"},
    "sync_reviews": {"decisions"},
    "release_and_train": {"releases"},
    "mine_hard_examples": set(),
    "erase_subject": {"decisions", "labels"},
}
ACTS = {  # of a Dag: what changes what is used
    "release_and_train": ["promote", "promote_model", "export", "switch"],
    "erase_subject": ["apply", "erase"],
}
Facts = dict[str, Any]


def _found(**environ: str) -> Facts:
    program = [sys.executable, str(Path(__file__).with_name("dag_facts.py")), str(DAGS)]
    others = {name: value for name, value in os.environ.items() if not name.startswith("FACELOOP_")}
    done = subprocess.run(program, capture_output=True, text=True, check=True, env=others | environ)
    found: Facts = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def facts() -> Facts:
    return _found()


def _tasks(facts: Facts) -> list[tuple[str, str, Facts]]:
    return [(dag, name, task) for dag, found in facts["dags"].items() for name, task in found["tasks"].items()]


def _stages(task: Facts) -> list[str]:
    argv = task["argv"]
    if argv[:2] == ["decisions", "export"]:
        return ["decisions"]
    if argv[:2] == ["jobs", "submit"]:
        return [argv[2]]
    return [argv[1]] if argv[:1] == ["run"] else []


def _behind(tasks: Facts, name: str) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for after in tasks[waiting.pop()]["downstream"]:
            if after not in found:
                found.add(after)
                waiting.append(after)
    return found


def test_the_six_dags_are_there_and_none_fails_to_import(facts: Facts) -> None:
    assert facts["errors"] == {}
    assert set(facts["dags"]) == IDS


def test_nothing_of_ours_and_nothing_heavy_is_loaded_by_parsing(facts: Facts) -> None:
    assert facts["loaded"] == []


def test_a_file_costs_less_than_a_second_beyond_airflow(facts: Facts) -> None:
    assert set(facts["seconds"]) == IDS
    assert {name: cost for name, cost in facts["seconds"].items() if cost >= 1.0} == {}


@pytest.mark.parametrize("executor", ["docker", "kubernetes"])
def test_the_dags_are_the_same_wherever_their_commands_run(facts: Facts, executor: str) -> None:
    found = _found(FACELOOP_EXECUTOR=executor)
    assert found["errors"] == {}
    assert found["loaded"] == []
    assert set(found["dags"]) == IDS
    for dag, name, task in _tasks(found):
        here = facts["dags"][dag]["tasks"][name]
        assert here["kind"] != task["kind"] or here["kind"] == "Approval"
        for fact in ("argv", "downstream", "rule", "retries", "outlets", "pool"):
            assert task[fact] == here[fact], (dag, name, fact)


def test_every_dag_says_what_it_does_and_never_catches_up(facts: Facts) -> None:
    for name, dag in facts["dags"].items():
        assert len(dag["doc_md"]) > 200, name
        assert dag["description"], name
        assert "faceloop" in dag["tags"], name
        assert (dag["catchup"], dag["max_active_runs"]) == (False, 1), name
        assert dag["serialised_bytes"] < 100_000, name


def test_every_task_has_an_owner_retries_with_growing_pauses_and_an_end(facts: Facts) -> None:
    for dag, name, task in _tasks(facts):
        assert task["owner"] == "faceloop", (dag, name)
        assert task["backoff"] == 2.0, (dag, name)
        if task["argv"]:
            assert task["limit_s"], (dag, name)
            assert task["pool"] == "faceloop", (dag, name)
        no_retry = task["argv"][:2] in (["watch", "check"], ["releases", "gate"]) or task["kind"] == "Approval"
        assert task["retries"] == (0 if no_retry else 5), (dag, name)


def test_each_dag_announces_the_assets_that_others_wait_for(facts: Facts) -> None:
    for dag, expected in ANNOUNCES.items():
        outlets = {outlet for task in facts["dags"][dag]["tasks"].values() for outlet in task["outlets"]}
        assert outlets == expected, dag


def test_a_run_with_a_failure_never_looks_well(facts: Facts) -> None:
    """What runs though something failed before it ends no chain: else Airflow would call the run a success."""
    strict = {"all_success", "none_failed_min_one_success"}
    for dag, found in facts["dags"].items():
        tasks = found["tasks"]
        for name in set(tasks) - {"measure", "report"}:
            last = [tasks[end] for end in {name} | _behind(tasks, name) if not tasks[end]["downstream"]]
            assert any(task["rule"] in strict for task in last), (dag, name)


def test_stages_come_in_the_order_of_dvc(facts: Facts) -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    made_by = {
        str(next(iter(out)) if isinstance(out, dict) else out): stage
        for stage, found in stages.items()
        for out in found["outs"]
    }
    needs = {
        stage: {made_by[dep] for dep in found["deps"] if dep in made_by} if "deps" in found else set()
        for stage, found in stages.items()
    }
    checked = 0
    for dag, found in facts["dags"].items():
        tasks = found["tasks"]
        place = {stage: name for name, task in tasks.items() for stage in _stages(task) if not task["is_mapped"]}
        for stage, name in place.items():
            for needed in needs[stage] & set(place):
                assert name in _behind(tasks, place[needed]), f"{dag}: {stage} needs {needed}"
                checked += 1
    assert checked >= 9
    run = {stage for _, _, task in _tasks(facts) for stage in _stages(task)}
    assert run == set(stages) - {"sample", "report", "promoted", "consents", "train_attributes"}  # by hand or by DVC


def test_a_batched_stage_is_planned_mapped_and_then_published(facts: Facts) -> None:
    tasks = facts["dags"]["ingest_footage"]["tasks"]
    for chain in (["plan_footage", "take", "ingest"], ["plan_detect", "detect_batches", "detect"]):
        for before, after in pairwise(chain):
            assert after in tasks[before]["downstream"]
        assert tasks[chain[1]]["is_mapped"]
        assert tasks[chain[2]]["rule"] == "none_failed_min_one_success"


def test_nothing_is_promoted_restricted_or_erased_before_somebody_agreed(facts: Facts) -> None:
    for dag, acts in ACTS.items():
        tasks = facts["dags"][dag]["tasks"]
        assert set(acts) <= _behind(tasks, "approve")
        before = set(tasks) - _behind(tasks, "approve") - {"approve"}
        assert not {act for acts in ACTS.values() for act in acts} & before


def test_a_model_that_something_speaks_against_is_not_promoted_and_nothing_follows_it(facts: Facts) -> None:
    tasks = facts["dags"]["release_and_train"]["tasks"]
    assert "model_passes" in tasks["promote_model"]["only_if"]
    assert {"export", "switch"} <= _behind(tasks, "promote_model")
    assert "promote_model" not in _behind(tasks, "release_changed")
    assert {tasks[name]["rule"] for name in ("promote_model", "export", "switch")} == {"all_success"}


def test_what_people_type_stands_behind_two_dashes_or_in_an_option(facts: Facts) -> None:
    for dag, name, task in _tasks(facts):
        argv = [word for word in task["argv"] if isinstance(word, str)]
        for place, word in enumerate(argv):
            if "params." in word and not word.startswith("{{ '--"):
                assert word.startswith("--") or "--" in argv[:place], (dag, name, word)


def test_the_form_of_a_mining_request_is_the_request(facts: Facts) -> None:
    done = subprocess.run([str(FACELOOP), "mine", "--schema"], capture_output=True, text=True, check=True)
    fields = json.loads(done.stdout)["properties"]
    form, defaults = facts["dags"]["mine_hard_examples"]["params"], facts["dags"]["mine_hard_examples"]["defaults"]
    assert set(form) == set(fields) - {"sure"}
    for name, default in defaults.items():
        if name != "name":
            assert default == fields[name]["default"], name
        for bound in ("minimum", "maximum", "pattern", "enum", "maxLength"):
            assert form[name].get(bound) == fields[name].get(bound), (name, bound)
