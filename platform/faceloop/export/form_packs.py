"""A form as a model pack: the same folder that every other model of the platform comes in."""

from dataclasses import asdict
from pathlib import Path

from faceloop.export.canonical import RecogniserGraph, recogniser_of
from faceloop.export.engines import Form
from faceloop.vision.align import CROP_SIDE_PX
from faceloop.vision.manifest import MANIFEST
from faceloop.vision.specs import ModelPack
from facestore.ids import JsonValue, canonical_json

MODEL = "model.onnx"


def write_form_pack(exported: Path, pack: ModelPack, form: Form, graph: RecogniserGraph) -> str:
    """Write `packs/FORM/` and return where its ONNX is, relative to the export."""
    folder = f"packs/{form}"
    spec = recogniser_of(pack)
    recognition: JsonValue = {
        "file": MODEL,
        "sha256": graph.sha256,
        "kind": spec.kind,
        "preprocessing": asdict(spec.preprocessing),
        "input_size": CROP_SIDE_PX,
        "embedding_dimension": graph.dimension,
    }
    manifest: dict[str, JsonValue] = {
        "manifest_version": 1,
        "pack_id": f"{pack.pack_id}-{form}",
        "licence": pack.licence,
        "tasks": {"recognition": recognition},
    }
    (exported / folder).mkdir(parents=True)
    (exported / folder / MODEL).write_bytes(graph.onnx_bytes)
    (exported / folder / MANIFEST).write_text(canonical_json(manifest) + "\n", encoding="utf-8")
    return f"{folder}/{MODEL}"
