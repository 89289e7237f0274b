"""train_attributes: what people said of faces to heads that say it of others. Optional: no answers, no heads."""

from faceloop.stage import Context, In, Out, Report
from faceloop.training.attributes.attribute_params import TrainAttributesParams
from faceloop.vision.packs import load_pack

VERSION = 1


class Params(TrainAttributesParams):
    """The section `train_attributes`."""


def fingerprint(params: Params) -> str:
    """The recogniser that is trained on, where one is."""
    if not params.backbone.trained_layers:
        return ""
    pack = load_pack(params.backbone.pack, accept_licence=params.backbone.accept_licence, insightface_root=None)
    return pack.recogniser.sha256 if pack.recogniser else ""


def run(
    *, faces: In, crops: In, embeddings: In, assignments: In, attributes: Out, params: Params, context: Context
) -> Report:
    # torch takes seconds to load, and every command loads every stage.
    from faceloop.training.attributes.gathering import read_known
    from faceloop.training.attributes.training_heads import train_heads

    known = read_known(faces, embeddings, assignments, context.withheld.of("training"))
    with context.stopwatch.on("train"):
        outcome = train_heads(known, crops, attributes, params)
    report = Report(items_in=known.labels, published=outcome.used, rejected=outcome.dropped)
    report.figures["face_heads"] = outcome.face_heads
    report.figures["clip_heads"] = outcome.clip_heads
    report.figures["clips"] = outcome.clips
    report.figures["clip_disagreements"] = outcome.clip_disagreements
    report.figures["heads_not_measured"] = outcome.refused
    if not outcome.face_heads + outcome.clip_heads:
        context.progress.say("train_attributes: no attribute has enough answers; attributes.json says why")
    return report
