"""The whole: answers to heads of faces and of clips, in a folder."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from faceloop.training.attributes.attribute_params import RecipeParams, TrainAttributesParams
from faceloop.training.attributes.fitting import Course, as_they_are
from faceloop.training.attributes.gathering import (
    Known,
    Labelled,
    clip_answers,
    clip_vectors,
    labelled,
)
from faceloop.training.attributes.heads import ClipHeads, FaceHeads, PixelHeads, unfreeze_last
from faceloop.training.attributes.one_set import save_set, train_set
from faceloop.training.attributes.publishing_heads import PublishedSet, write_index, write_metrics, write_page
from faceloop.training.attributes.targets import Head
from faceloop.training.preparing import Preparation
from faceloop.training.start.starting import start_from_pack
from faceloop.training.starting import start_id
from faceloop.vision.packs import load_pack
from facestore.crops import CropReader

_NO_ANSWERS = "Nobody has said anything of any face yet; answer attribute questions, and run identify again."
_TOO_FEW = "No attribute has enough answers to learn from yet; attributes.json names the reason of each."


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the answers: `used` + `dropped` are all of them."""

    used: int
    dropped: Counter[str]
    face_heads: int
    clip_heads: int
    clips: int
    clip_disagreements: int
    refused: int  # heads that were trained and could not be measured


def train_heads(known: Known, crops: Path, folder: Path, params: TrainAttributesParams) -> Outcome:
    """Fill `folder`. Without any head that could be trained it holds the reason, and no model."""
    items = labelled(known.answers, params)
    sets = []
    backbone_id = None
    if items.chosen.heads:
        inputs: Tensor
        if params.backbone.trained_layers:
            network, preparation, backbone_id = _pixel_heads(items.chosen.heads, params)
            inputs, prepare, recipe = _crops(known, items, crops), preparation.pixels, params.backbone.recipe
            course = _course(items.chosen.heads, recipe, params)
            course = Course(
                heads=course.heads, recipe=recipe, balancing=course.balancing, label_smoothing=course.label_smoothing,
                seed=course.seed, mix=params.backbone.mix, mix_alpha=params.backbone.mix_alpha, prepare=prepare,
            )  # fmt: skip
            made = train_set(network, items, inputs, course, params)
        else:
            places = {face: row for row, face in enumerate(known.face_ids)}
            inputs = torch.from_numpy(known.vectors[[places[item] for item in items.item_ids]])
            heads = items.chosen.heads
            network_of_faces = FaceHeads(inputs.shape[1], heads, hidden_units=params.hidden_units, seed=params.seed)
            made = train_set(network_of_faces, items, inputs, _course(heads, params.recipe, params), params)
        model = save_set(folder, "faces", made, inputs)
        takes = "pixels" if params.backbone.trained_layers else "embedding"
        sets.append(PublishedSet(name="faces", takes=takes, made=made, model=model, untrained=items.chosen.untrained))
    said = clip_answers(known, params.clips.attributes)
    clips = labelled(said.answers, params, params.clips.attributes)
    if clips.chosen.heads:
        sets.append(_clip_set(known, clips, folder, params))
    reason = None if sets else (_TOO_FEW if known.labels else _NO_ANSWERS)
    write_index(
        folder,
        sets,
        contract_id=known.contract_id,
        backbone_id=backbone_id,
        reason=reason,
        untrained=items.chosen.untrained,
    )
    write_metrics(folder, sets)
    write_page(folder, sets, reason=reason, confidence=params.intervals.confidence)
    return Outcome(
        used=len(items.chosen.answers),
        dropped=known.dropped + items.chosen.dropped,
        face_heads=len(items.chosen.heads),
        clip_heads=len(clips.chosen.heads),
        clips=len(clips.item_ids),
        clip_disagreements=said.disagreeing,
        refused=sum(head.refused is not None for one in sets for head in one.made.figures),
    )


def _course(heads: tuple[Head, ...], recipe: RecipeParams, params: TrainAttributesParams) -> Course:
    return Course(
        heads=heads,
        recipe=recipe,
        balancing=params.balancing,
        label_smoothing=params.label_smoothing,
        seed=params.seed,
        prepare=as_they_are,
    )


def _clip_set(known: Known, clips: Labelled, folder: Path, params: TrainAttributesParams) -> PublishedSet:
    inputs = torch.from_numpy(clip_vectors(known, clips.item_ids, most_faces=params.clips.most_faces))
    heads = clips.chosen.heads
    network = ClipHeads(inputs.shape[2], heads, hidden_units=params.clips.hidden_units, seed=params.seed)
    made = train_set(network, clips, inputs, _course(heads, params.clips.recipe, params), params)
    model = save_set(folder, "clips", made, inputs)
    return PublishedSet(name="clips", takes="clip", made=made, model=model, untrained=clips.chosen.untrained)


def _pixel_heads(heads: tuple[Head, ...], params: TrainAttributesParams) -> tuple[PixelHeads, Preparation, str]:
    pack = load_pack(params.backbone.pack, accept_licence=params.backbone.accept_licence, insightface_root=None)
    start = start_from_pack(pack, is_batch_norm_frozen=True)
    unfreeze_last(start.module, params.backbone.trained_layers)
    faces = FaceHeads(start.dimension, heads, hidden_units=params.hidden_units, seed=params.seed)
    return PixelHeads(start.module, faces), Preparation(preprocessing=start.preprocessing), start_id(pack)


def _crops(known: Known, items: Labelled, crops: Path) -> Tensor:
    """(items, 3, 112, 112) uint8 RGB; every face with an embedding has a crop."""
    reader = CropReader(crops)
    try:
        images = [reader.image("aligned", known.crop_keys[item]) for item in items.item_ids]
    finally:
        reader.close()
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
