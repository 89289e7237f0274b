"""The README that lies in a model repository: what to ask of it, for somebody who has only the folder."""

from faceloop.export.triton_config import Message

README = "README.md"


def readme_of(ensemble: Message, contract_id: str) -> str:
    """Plain Markdown. `ensemble` is the config that was just written."""
    version = ensemble.version_policy.specific.versions[0]
    outputs = "\n".join(
        f"| `{tensor.name}` | {list(tensor.dims)} | {_MEANING[tensor.name]} |" for tensor in ensemble.output
    )
    return _TEXT.format(version=version, contract_id=contract_id, outputs=outputs, name=ensemble.name)


_MEANING = {
    "BOXES": "x1, y1, x2, y2 in pixels of the picture, best score first; may reach over its border",
    "LANDMARKS": "eyes, nose, mouth corners, left before right as seen in the picture, px",
    "SCORES": "of the detector, 0 to 1; one row of score 0 means: no face",
    "EMBEDDINGS": "unit vectors; all zero where the recogniser gave no direction",
    "CONTRACT": "id of the embedding contract, on every row",
}
_TEXT = """# Triton model repository

Ask the ensemble `{name}`, version {version}. It takes one decoded picture,
`IMAGE`: uint8 RGB (height, width, 3), and gives

| output | shape | what |
|---|---|---|
{outputs}

Vectors may be compared only with vectors of the same contract, here `{contract_id}`; a published gallery says its own.
There are no label files: no output is a classification.

Steps: `face_detect` (letterbox, YuNet, suppression), `face_align` (five-point similarity transform, bilinear),
`face_embed` (the exported recogniser, batched over requests), `face_unit`. All but a TensorRT engine are ONNX graphs:
no Python backend. Every version stays in its folder; `faces/VERSION/contents.json` names the files of each by sha256.
"""
