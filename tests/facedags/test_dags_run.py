"""Every Dag, run by Airflow with the real commands on sample footage; its tables against those of plain commands."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from faceloop.flow import run_flow
from faceloop.params import read_params
from faceloop.progress import SilentProgress
from faceloop.runner import open_workspace, run_stage
from faceloop.sample.build import build_sample_footage
from facestore.records import Assignment
from facestore.tables import read_table

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
TAKEN = ("album/pair-0", "album/portrait-0", "album/picnic-0", "lobby/lobby-720p", "gate/gate-day", "gate/gate-storm")
OVERRIDE = "pack.samples_per_shard=64"
HOSTILE = "x'; touch broken; {{ 7 * 7 }} $(touch broken)"
Run = dict[str, Any]


class Deployment:
    """One root with its inbox and its Airflow."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root, self.inbox = folder, folder / "root", folder / "inbox"
        whole = folder / "sample"
        build_sample_footage(whole, seed=7, progress=lambda _: None)
        for file in sorted(path for path in whole.rglob("*") if path.is_file()):
            name = file.relative_to(whole).as_posix()
            if name.startswith(TAKEN):
                (self.inbox / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, self.inbox / name)
        tree = yaml.safe_load((ROOT / "params.yaml").read_text())
        tree["paths"]["source"] = str(self.inbox)
        tree["ingest"]["batches"] = 1  # a task for each costs seconds; more of them are in tests/loop
        tree["loop"] |= {"settle_s": 0.0, "gate": {"identities": 1, "samples": 1, "purity": 0.0}}
        _make_small(tree)
        self.params = folder / "params.yaml"
        self.params.write_text(yaml.safe_dump(tree, sort_keys=False))
        self.environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("FACELOOP", "AIRFLOW"))
        }
        self.environ |= {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "FACELOOP_ROOT": str(self.root),
            "FACELOOP_PARAMS": str(self.params),
            "FACELOOP_RETRIES": "0",
            "FACELOOP_JOB_PAUSE_S": "0.5",
            "FACELOOP_LABEL_STUDIO_URL": "http://127.0.0.1:9",  # nobody listens there: Label Studio is away
            "FACELOOP_LABEL_STUDIO_TOKEN": "0123456789",
            "FACELOOP_LABEL_STUDIO_FILES": str(folder / "pictures"),
        }
        (folder / "pictures").mkdir()
        self.call("airflow", "db", "migrate")

    def call(self, *words: str) -> str:
        done = subprocess.run(
            [str(BIN / words[0]), *words[1:]],
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def accept_any_model(self) -> None:
        """Nothing speaks against a model any more; what was trained and evaluated stays as it is."""
        tree = yaml.safe_load(self.params.read_text())
        tree["loop"]["model_gate"] |= {"needs_gain": False, "allowed_loss": 1.0, "allowed_slice_loss": 1.0}
        self.params.write_text(yaml.safe_dump(tree, sort_keys=False))

    def run(self, *wanted: Run) -> list[Run]:
        """Dag runs one after another, each as the driver reports it."""
        results = self.folder / "results.jsonl"
        results.unlink(missing_ok=True)
        driver = [sys.executable, str(Path(__file__).with_name("dag_driver.py")), str(ROOT / "dags"), str(results)]
        lines = "".join(json.dumps(one) + "\n" for one in wanted)
        done = subprocess.run(
            driver, env=self.environ, cwd=self.folder, input=lines, capture_output=True, text=True, check=False
        )
        found = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
        assert len(found) == len(wanted), done.stdout[-3000:] + done.stderr[-3000:]
        return found

    def labels(self) -> list[Assignment]:
        return list(read_table(self.root / "assignments", "assignments", Assignment))


def _make_small(tree: dict[str, Any]) -> None:
    """A training of seconds: it shows no gain, so that its model is refused."""
    tree["train"] |= {"batch_size": 8, "workers": 0, "device": "cpu"}
    tree["train"]["schedule"]["epochs"] = 1
    tree["train"]["optimiser"]["learning_rate"] = 0.00001
    tree["evaluate"]["intervals"]["replicates"] = 100
    tree["evaluate"]["unfamiliar"]["pictures_per_kind"] = 2
    tree["evaluate"]["labelling"]["resamples"] = 100
    tree["evaluate"]["labelling"]["asked"]["most"] = 0
    tree["evaluate"]["coverage"]["floors"] = []
    tree["export"] |= {"forms": ["float32"], "targets": ["onnxruntime"], "triton": None}


def _digests(root: Path) -> dict[str, str]:
    """Every table of every artifact, and what a release lists."""
    artifacts = (
        "footage",
        "faces",
        "embeddings",
        "clusters",
        "assignments",
        "questions",
        "release",
        "candidate",
        "evaluation",
    )
    files = [path for artifact in artifacts for path in (root / artifact).rglob("*") if path.is_file()]
    wanted = [path for path in files if path.suffix in {".parquet", ".onnx"} or path.parts[-2] == "release"]
    wanted.append(root / "evaluation" / "metrics.json")
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in wanted}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return Deployment(tmp_path_factory.mktemp("dags"))


@pytest.fixture(scope="module")
def turn(deployment: Deployment) -> dict[str, Run]:
    """One turn of the loop, up to a promoted release; its model shows no gain."""
    release = {"force": True, "overrides": [OVERRIDE]}
    found = deployment.run(
        {"dag": "label_identities"},
        {"dag": "ingest_footage"},
        {"dag": "ingest_footage"},
        {"dag": "label_identities"},
        {"dag": "sync_reviews"},
        {"dag": "release_and_train", "conf": release, "answer": "Approve"},
    )
    names = ("label too early", "ingest", "ingest again", "label", "sync", "release")
    return dict(zip(names, found, strict=True))


@pytest.fixture(scope="module")
def promoted(deployment: Deployment, turn: dict[str, Run]) -> Run:
    """The same release again, when its model is good enough. The tables of the turn are compared first."""
    deployment.accept_any_model()
    (run,) = deployment.run(
        {"dag": "release_and_train", "conf": {"force": True, "overrides": [OVERRIDE]}, "answer": "Approve"}
    )
    return run


@pytest.fixture(scope="module")
def on_request(deployment: Deployment, turn: dict[str, Run], promoted: Run) -> dict[str, Run]:
    """What people start by hand."""
    subject = sorted({label.identity_id for label in deployment.labels() if label.identity_id})[0]
    mining = {"name": "ci", "hard_positives": 5, "hard_negatives": 5}
    found = deployment.run(
        {"dag": "mine_hard_examples", "conf": mining},
        {"dag": "erase_subject", "conf": {"subject": HOSTILE, "reason": "person_asked"}, "answer": "Approve"},
        {"dag": "erase_subject", "conf": {"subject": subject, "reason": "person_asked"}, "answer": "Reject"},
        {"dag": "erase_subject", "conf": {"subject": subject, "reason": "person_asked"}, "answer": "Approve"},
    )
    return dict(zip(("mine", "hostile", "rejected", "erased"), found, strict=True)) | {"subject": {"id": subject}}


def _said(run: Run, task: str, key: str = "return_value") -> Any:
    found = run["said"].get(f"{task}[-1].{key}")
    return json.loads(found) if isinstance(found, str) else found


def test_new_footage_becomes_faces_and_vectors(turn: dict[str, Run], deployment: Deployment) -> None:
    run = turn["ingest"]
    assert run["state"] == "success"
    assert set(run["tasks"].values()) == {"success"}
    assert {"take[0]", "detect_batches[0]", "embed_batches[0]"} <= set(run["tasks"])
    taken = _said(run, "ingest")
    files = len([path for path in deployment.inbox.rglob("*") if path.is_file()])
    assert taken["in"] == files == taken["published"] + sum(taken["rejected"].values()) + sum(taken["pending"].values())
    assert _said(run, "faces_changed")["changed"] is True


def test_mapped_tasks_show_what_they_work_on(turn: dict[str, Run]) -> None:
    assert any(label.startswith("b00") for label in turn["ingest"]["labels"])
    assert any(label.endswith("/000") for label in turn["ingest"]["labels"])


def test_nothing_new_is_a_run_of_one_command(turn: dict[str, Run]) -> None:
    run = turn["ingest again"]
    assert run["state"] == "success"
    assert set(run["tasks"].values()) == {"skipped"}


def test_labels_whose_inputs_are_not_whole_leave_the_work_to_a_later_run(turn: dict[str, Run]) -> None:
    run = turn["label too early"]
    assert run["state"] == "success"
    assert {name for name, state in run["tasks"].items() if state == "success"} == {"decisions"}
    assert set(run["tasks"].values()) == {"success", "skipped"}


def test_labels_are_announced_though_label_studio_is_away_and_the_failure_is_seen(turn: dict[str, Run]) -> None:
    run = turn["label"]
    assert run["tasks"]["labels_changed"] == "success"
    assert run["tasks"]["push"] == "failed"
    assert run["state"] == "failed"


def test_a_pull_from_a_server_that_is_away_is_skipped_and_no_alarm(turn: dict[str, Run]) -> None:
    run = turn["sync"]
    assert run["state"] == "success"
    assert run["tasks"] == {"pull": "skipped", "decisions_changed": "skipped", "push_late": "skipped"}


def test_a_release_is_trained_on_approved_and_promoted_without_its_model(
    turn: dict[str, Run], deployment: Deployment
) -> None:
    run = turn["release"]
    assert run["state"] == "success"
    left_out = {"promote_model", "export", "switch"}
    assert {name for name, state in run["tasks"].items() if state == "skipped"} == left_out, run["tasks"]
    assert {state for name, state in run["tasks"].items() if name not in left_out} == {"success"}
    for kind in ("train", "evaluate"):
        done = _said(run, kind)
        assert (done["state"], done["result"]["stage"]) == ("succeeded", kind)
        assert done["release"] == done["result"]["release"] == _said(run, "gate")["release"]
    assert _said(run, "judge")["model_id"] == _said(run, "train")["result"]["digest"]
    assert _said(run, "promote")["job_id"] == _said(run, "train")["job_id"]
    current = json.loads(deployment.call("faceloop", "releases", "list").splitlines()[-1])
    assert current["current"] == _said(run, "gate")["release"]
    assert current["promotions"][0]["by"] == "operator"
    models = json.loads(deployment.call("faceloop", "models", "list").splitlines()[-1])
    assert models["current"] is None


def test_who_approves_sees_the_figures_and_what_speaks_against_the_model(turn: dict[str, Run]) -> None:
    shown, asked = _said(turn["release"], "judge"), turn["release"]["asked"]
    assert f"| samples | {shown['samples']} |" in asked
    assert "the release alone" in asked
    assert shown["objections"] >= 1
    assert f"| against the model 1 | {shown['against the model 1']} |" in asked


def test_tables_are_those_of_the_plain_commands_to_the_byte(turn: dict[str, Run], deployment: Deployment) -> None:
    plain = deployment.folder / "plain"
    tree = read_params(deployment.params, [OVERRIDE])
    work = open_workspace(plain, tree, threads=os.cpu_count() or 1, progress=SilentProgress())
    run_flow(work)
    for stage in ("train", "evaluate"):
        run_stage(work, stage)
    expected, found = _digests(plain), _digests(deployment.root)
    assert len(expected) > 8
    assert found == expected


def test_no_result_holds_a_path_or_the_name_of_a_file(turn: dict[str, Run], deployment: Deployment) -> None:
    names = {path.name for path in deployment.inbox.rglob("*") if path.is_file()}
    for run in turn.values():
        for task, said in run["said"].items():
            text = str(said)
            assert str(deployment.folder) not in text, task
            assert not [name for name in names if name in text], task
            assert len(text) <= 48 * 1024


def test_a_model_that_passes_is_promoted_and_exported_and_the_sample_is_too_small_to_label_by_it(
    turn: dict[str, Run], promoted: Run, deployment: Deployment
) -> None:
    """A new embedding contract is calibrated on 40 people or more: `switch` gives way and says so, labels stay."""
    assert {promoted["tasks"][name] for name in ("promote_model", "export")} == {"success"}, promoted["tasks"]
    assert (promoted["tasks"]["switch"], promoted["state"]) == ("skipped", "success")
    assert _said(promoted, "train")["job_id"] == _said(turn["release"], "train")["job_id"], "not trained again"
    assert _said(promoted, "train")["attempt"] == 1
    models = json.loads(deployment.call("faceloop", "models", "list").splitlines()[-1])
    assert models["current"] == _said(promoted, "judge")["model_id"]
    assert models["turns"][0]["by"] == "operator"
    exported = _said(promoted, "export")["result"]
    assert (exported["stage"], exported["published"] > 0) == ("export", True)
    contract = json.loads((deployment.root / "embeddings" / "contract.json").read_text())["contract_id"]
    assert contract != models["models"][0]["contract_id"], "the model before goes on labelling"


def test_a_mining_request_is_what_the_form_says(on_request: dict[str, Run]) -> None:
    run = on_request["mine"]
    assert run["state"] == "success"
    assert _said(run, "mine")["hard_set"] == "ci"
    assert run["tasks"] == {"mine": "success", "push": "skipped"}


def test_what_people_type_into_a_form_is_no_code(on_request: dict[str, Run], deployment: Deployment) -> None:
    run = on_request["hostile"]
    assert run["state"] == "failed"
    assert run["tasks"]["find"] == "failed"
    assert run["tasks"]["apply"] == "upstream_failed"
    assert not list(deployment.folder.rglob("broken"))


def test_after_a_no_nothing_is_restricted_or_erased(on_request: dict[str, Run]) -> None:
    tasks = on_request["rejected"]["tasks"]
    assert tasks["find"] == tasks["approve"] == "success"
    assert {tasks[name] for name in ("apply", "decisions", "identify", "erase")} == {"skipped"}


def test_after_a_yes_the_person_is_erased_and_there_is_a_certificate_which_a_second_call_gives_again(
    on_request: dict[str, Run], deployment: Deployment
) -> None:
    run, subject = on_request["erased"], on_request["subject"]["id"]
    assert run["state"] == "success", run["tasks"]
    done = _said(run, "erase")
    assert done["faces"] == _said(run, "find")["faces"] > 0
    assert run["tasks"]["decisions_changed"] == "success"
    labels = deployment.labels()
    assert labels
    assert subject not in {label.identity_id for label in labels}
    holding = [path for path in deployment.root.rglob("*") if path.is_file() and subject.encode() in path.read_bytes()]
    assert holding == []
    told = str(run["said"])
    assert str(deployment.folder) not in told
    assert not [path for path in deployment.inbox.rglob("*") if path.is_file() and path.name in told]
    deployment.call("faceloop", "erase", "verify", str(deployment.root / done["certificate"]))
    again = deployment.call("faceloop", "erase", "apply", "--yes", "--reason=person_asked", "--", subject)
    assert json.loads(again.splitlines()[-1])["certificate"] == done["certificate"]


def test_airflow_finds_no_import_error(deployment: Deployment) -> None:
    assert "No data found" in deployment.call("airflow", "dags", "list-import-errors", "--local")
