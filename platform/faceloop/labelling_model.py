"""Which model labels: what `promoted` in the params means, here and now.

That is the model of the live embeddings while it is one of ours, and the promoted one where nothing was embedded yet.
So a promotion alone changes no label: `faceloop models switch` brings them over, measured, and until then every stage
goes on with the model it went by. Asked once at the start of a run, below which all is a function of its params.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from faceloop.params import Tree, section
from faceloop.vision.models import embedding_contract
from faceloop.vision.packs import BUILTIN, KEPT_PREFIX, PROMOTED
from facestore.errors import StoreError
from facestore.models import MODELS_FOLDER, Models
from facestore.publish import read_manifest

_NAMED_IN = {"embed": "model", "evaluate": "current"}  # section → its key that may say `promoted` or `kept:DIGEST`


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlaces:
    """What decides, of a root: its folder, its catalogue, its live embeddings."""

    root: Path
    ledger_url: str
    embeddings: Path


def with_model_named(tree: Tree, stage: str, places: ModelPlaces) -> Tree:
    """The params with a pack that can be loaded where section `stage` says `promoted` or `kept:DIGEST`.

    Raises StoreError where the promoted model's folder is gone, and what reading a pack raises.
    """
    found = tree.get(stage)
    model = found.get(_NAMED_IN[stage]) if stage in _NAMED_IN and isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(model, dict) or not _is_short(pack := str(model.get("pack"))):
        return tree
    return {**tree, stage: {**found, _NAMED_IN[stage]: {**model, "pack": _spelled(tree, pack, places)}}}


def kept_pack_name(root: Path, folder: str | Path) -> str:
    """The name by which a model of our own is loaded; `folder`: of its pack, below the root."""
    return f"{KEPT_PREFIX}{root.resolve() / folder}"


def is_one_of_ours(name: str, places: ModelPlaces) -> bool:
    """Whether `promoted` can come to mean this pack: the built-in one, or a registered model's."""
    return name in _ours(places)


def contract_of_pack(tree: Tree, pack: str, places: ModelPlaces) -> str:
    """The embedding contract id of a pack, which may be `promoted`, with the other settings of `embed.model`."""
    return _contract(tree, _spelled(tree, pack, places))


def live_contract_or_none(embeddings: Path) -> str | None:
    """The contract id of published embeddings; None where there are none."""
    path = embeddings / "contract.json"
    if read_manifest(embeddings) is None or not path.is_file():
        return None
    return str(json.loads(path.read_text(encoding="utf-8"))["contract_id"])


def _is_short(pack: str) -> bool:
    return pack == PROMOTED or (pack.startswith(KEPT_PREFIX) and "/" not in pack)


def _spelled(tree: Tree, pack: str, places: ModelPlaces) -> str:
    if not _is_short(pack):
        return pack
    if pack != PROMOTED:
        return kept_pack_name(places.root, f"{MODELS_FOLDER}/{pack.removeprefix(KEPT_PREFIX)}")
    first, *others = _ours(places)
    live = live_contract_or_none(places.embeddings)
    for name in (first, *others) if live is not None else ():
        if _is_there(name) and _contract(tree, name) == live:
            return name
    if not _is_there(first):
        gone = first.removeprefix(KEPT_PREFIX)
        raise StoreError(f"{gone} is gone, and its model is promoted; bring it back, or `faceloop models rollback`")
    return first


def _contract(tree: Tree, pack: str) -> str:
    from faceloop.stages.embed import Params as EmbedParams  # brings Numba and Faiss, 0.6 s of every command's start

    model = section(tree, "embed", EmbedParams).model.model_copy(update={"pack": pack})
    return embedding_contract(model.load(), precision=model.precision).contract_id


def _ours(places: ModelPlaces) -> list[str]:
    """All that `promoted` may come to mean: the promoted model, the built-in one, and the others, newest first."""
    models = Models(places.ledger_url)
    try:
        current = models.current()
        promoted = BUILTIN if current is None else kept_pack_name(places.root, models.find(current.model_id).folder)
        known = [kept_pack_name(places.root, model.folder) for model, _ in models.all()]
    finally:
        models.close()
    return list(dict.fromkeys([promoted, BUILTIN, *known]))


def _is_there(name: str) -> bool:
    return name == BUILTIN or Path(name.removeprefix(KEPT_PREFIX)).is_dir()
