"""Packs to switch to: the built-in recogniser under another name, and a real second one where it lies at hand."""

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

from faceloop.clustering.calibration import as_json, builtin_calibration
from faceloop.decision_tables import export_decisions
from faceloop.params import Tree, section
from faceloop.runner import Workspace, run_stage
from faceloop.stages.embed import Params
from faceloop.vision.model_files import sha256_of
from faceloop.vision.models import embedding_contract
from faceloop.vision.packs import load_pack
from facestore.publish import fresh_partial, publish, read_manifest
from facestore.records import Assignment, Identity
from facestore.tables import read_table, write_table


def twin_pack(folder: Path) -> str:
    """The built-in recogniser as a pack of its own: another contract, the same vectors."""
    spec = load_pack("builtin", accept_licence=None, insightface_root=None).recogniser
    assert spec is not None
    return recogniser_pack(
        folder, spec.model_path, kind="sface", colour="RGB", mean=0, std=1, dimension=spec.embedding_dimension
    )


def recogniser_pack(
    folder: Path, model: Path, *, kind: str, colour: str, mean: float, std: float, dimension: int
) -> str:
    folder.mkdir(parents=True)
    shutil.copyfile(model, folder / "recogniser.onnx")
    recognition = {
        "file": "recogniser.onnx",
        "sha256": sha256_of((folder / "recogniser.onnx").read_bytes()),
        "kind": kind,
        "preprocessing": {"colour": colour, "mean": mean, "std": std},
        "input_size": 112,
        "embedding_dimension": dimension,
    }
    manifest = {
        "manifest_version": 1,
        "pack_id": folder.name,
        "licence": "as the original",
        "tasks": {"recognition": recognition},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return str(folder)


def with_scale(tree: Tree, folder: Path, *packs: str) -> Tree:
    """Params whose calibration file knows the built-in recogniser and, by the same numbers, packs such as its twin."""
    ours = builtin_calibration()
    known = [ours]
    for pack in packs:
        model = section(tree, "embed", Params).model.model_copy(update={"pack": pack})
        contract_id = embedding_contract(model.load(), precision=model.precision).contract_id
        known.append(replace(ours, contract_id=contract_id))
    (folder / "scale.json").write_text(as_json(known), encoding="utf-8")
    changed = copy.deepcopy(tree)
    changed["cluster"]["calibration"] = str(folder / "scale.json")  # type: ignore[index,call-overload]  # a section
    return changed


def label(work: Workspace) -> None:
    """Decisions, clusters and identities, as far as they are not up to date."""
    export_decisions(work)
    for name in ("cluster", "identify"):
        run_stage(work, name)


def publish_a_label_that_no_machine_repeats(work: Workspace) -> None:
    """One labelled face gets an identity of its own, in a table that passes for `identify`'s."""
    place = work.path("assignments")
    published = read_manifest(place)
    assert published is not None
    staging = fresh_partial(place, keep=False)
    shutil.copytree(place, staging, dirs_exist_ok=True)
    rows = list(read_table(staging, "assignments", Assignment))
    doomed = next(row for row in rows if row.identity_id is not None)
    labels = [replace(row, identity_id="person-x") if row == doomed else row for row in rows]
    write_table(staging / "assignments.parquet", Assignment, labels)
    publish(place, stage="identify", run_key=published.run_key, counts=published.counts, inputs=published.inputs)


def identity_of(work: Workspace) -> dict[str, str | None]:
    return {row.face_id: row.identity_id for row in read_table(work.path("assignments"), "assignments", Assignment)}


def identities(work: Workspace) -> dict[str, Identity]:
    return {row.identity_id: row for row in read_table(work.path("assignments"), "identities", Identity)}
