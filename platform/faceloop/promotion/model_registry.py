"""Models of our own: kept under their digest, judged, promoted, taken back.

The candidate that `train` published is a model pack. Registering keeps a copy of it, put once in `models/DIGEST`, so
that the next training does not replace what may be in use.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from faceloop.loop_params import ModelGateParams
from faceloop.params import section
from faceloop.promotion.latency import latency_to_judge
from faceloop.promotion.model_gate import Judged, check_model_gate, judged_of
from faceloop.runner import Workspace
from faceloop.stages.embed import Params as EmbedParams
from faceloop.vision.models import embedding_contract
from faceloop.vision.packs import load_pack
from facestore.errors import InputsNotReady, StageError, StoreError
from facestore.ids import JsonValue, canonical_json
from facestore.models import MODELS_FOLDER, Model, Models, ModelTurn
from facestore.publish import MANIFEST, Manifest, is_intact, read_manifest, sync_tree, verify

PROMOTED_NOTE = f"{MODELS_FOLDER}/promoted.json"  # of the root


@contextmanager
def opened_models(work: Workspace) -> Iterator[Models]:
    """The models of a workspace's catalogue."""
    work.root.mkdir(parents=True, exist_ok=True)
    models = Models(work.ledger_url())
    try:
        yield models
    finally:
        models.close()


def register(work: Workspace, models: Models, *, revision: str | None) -> Model:
    """Keep the published candidate, and remember it; twice is once.

    Raises InputsNotReady where none is published, StoreError without room, and what `load_pack` raises.
    """
    candidate, manifest = _published(work, "candidate")
    model = Model(
        model_id=manifest.digest,
        release=manifest.inputs.get("release", ""),
        contract_id=_contract(work, candidate),
        folder=f"{MODELS_FOLDER}/{manifest.digest}",
        revision=revision,
        params=work.tree.get("train"),
    )
    _keep(candidate, manifest, work.root / model.folder)
    models.register(model)
    return model


def judge(work: Workspace, model_id: str | None = None) -> tuple[str, str, Judged]:
    """(model, evaluation, what it says) of the published evaluation; `model_id`: the model that is meant.

    Raises InputsNotReady where the evaluation is of another candidate than is published, StageError where it is of
    another model than is meant.
    """
    evaluation, manifest = _published(work, "evaluation")
    _, candidate = _published(work, "candidate")
    if manifest.inputs.get("candidate") != candidate.digest:
        raise InputsNotReady("the published evaluation is of another candidate; run evaluate")
    if model_id is not None and model_id != candidate.digest:
        raise StageError(
            f"model {model_id[:12]} was meant, evaluated is {candidate.digest[:12]}; train and evaluate it"
        )
    return candidate.digest, manifest.digest, replace(judged_of(evaluation), latency=latency_to_judge(work))


def promote_model(
    work: Workspace, models: Models, floors: ModelGateParams, *, by: str, model_id: str | None, revision: str | None
) -> ModelTurn:
    """Promote the published candidate, once it has passed its gate; promoted already, nothing is written.

    `model_id` names what was approved. Raises StageError where that is another one, or it fails its gate.
    """
    current = models.current()
    if current is not None and model_id == current.model_id:  # once it labels, it is no better than itself
        return current
    meant, evaluation, judged = judge(work, model_id)
    check_model_gate(meant, judged, floors)
    register(work, models, revision=revision)
    return models.promote(meant, by=by, evaluation=evaluation, figures=_figures(judged))


def note_promoted(work: Workspace, models: Models) -> None:
    """Write which model is promoted to `models/promoted.json`, by which DVC sees that it changed."""
    current = models.current()
    text = canonical_json({"model_id": current.model_id if current is not None else None}) + "\n"
    path = work.root / PROMOTED_NOTE
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = path.with_name(f".{path.name}.{os.getpid()}")
    waiting.write_text(text, encoding="utf-8")
    waiting.replace(path)


def promoted_pack(work: Workspace, models: Models) -> Path | None:
    """The folder of the promoted model's pack, every file of it checked; None where none is promoted.

    Raises StoreError where it is not there any more, DataError where a file differs.
    """
    current = models.current()
    if current is None:
        return None
    folder = work.root / models.find(current.model_id).folder
    if not folder.is_dir():
        raise StoreError(f"{folder} is gone, and its model is promoted; bring it back, or `faceloop models rollback`")
    verify(folder)
    return folder


def _published(work: Workspace, artifact: str) -> tuple[Path, Manifest]:
    path = work.path(artifact)
    manifest = read_manifest(path)
    if manifest is None or not is_intact(path, manifest):
        stage = {"candidate": "train", "evaluation": "evaluate"}[artifact]
        raise InputsNotReady(f"models: no whole {artifact} is published; run {stage}")
    return path, manifest


def _contract(work: Workspace, candidate: Path) -> str:
    model = section(work.tree, "embed", EmbedParams).model
    pack = load_pack(str(candidate), accept_licence=model.accept_licence, insightface_root=None, is_made_here=True)
    return embedding_contract(pack, precision=model.precision).contract_id


def _keep(candidate: Path, manifest: Manifest, target: Path) -> None:
    """Copy under the digest, unless it is there; whole or not at all."""
    if target.is_dir():
        verify(target)
        return
    staging = target.with_name(f".{target.name}.partial")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        for name in [*manifest.files, MANIFEST]:
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(candidate / name, staging / name)
        verify(staging)
        sync_tree(staging)
        staging.rename(target)
    except OSError as error:
        raise StoreError(f"cannot keep the model: {error}; make room, then register it again") from error


def _figures(judged: Judged) -> list[JsonValue]:
    """The rates, and how long a batch took where that was judged."""
    rows = [asdict(row) for row in judged.rates]
    took = [] if judged.latency is None else [asdict(judged.latency)]
    found: list[JsonValue] = json.loads(json.dumps([*rows, *took]))
    return found
