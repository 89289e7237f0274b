"""The `manifest.json` of a folder pack.

    {
      "manifest_version": 1,
      "pack_id": "mobilefacenet-128",
      "licence": "Apache-2.0",
      "requires_acceptance": "non-commercial",          (optional: the word `accept_licence` must then carry)
      "tasks": {                                         (one of the two, or both)
        "detection":   {"file": "det.onnx", "sha256": "…64 hex…", "kind": "yunet" | "scrfd",
                        "preprocessing": {"colour": "BGR", "mean": 0, "std": 1}},
        "recognition": {"file": "rec.onnx", "sha256": "…64 hex…", "kind": "sface" | "arcface",
                        "preprocessing": {"colour": "RGB", "mean": 127.5, "std": 128},
                        "input_size": 112, "embedding_dimension": 128}
      }
    }

Files are single ONNX files beside the manifest. Pixels are fed as `(x - mean) / std`. Unknown keys are refused.
"""

from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from faceloop.vision.specs import DetectorSpec, ModelPack, PackRef, Preprocessing, RecogniserSpec
from facestore.errors import ConfigError, LicenceRefused

MANIFEST = "manifest.json"
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Preprocessing(_Strict):
    colour: Literal["RGB", "BGR"]
    mean: _Finite
    std: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Detection(_Strict):
    file: str
    sha256: _Sha256
    kind: Literal["yunet", "scrfd"]
    preprocessing: _Preprocessing


class _Recognition(_Strict):
    file: str
    sha256: _Sha256
    kind: Literal["sface", "arcface"]
    preprocessing: _Preprocessing
    input_size: Literal[112]
    embedding_dimension: Annotated[int, Field(ge=1, le=4096)]


class _Tasks(_Strict):
    detection: _Detection | None = None
    recognition: _Recognition | None = None


class _Manifest(_Strict):
    manifest_version: Literal[1]
    pack_id: _Name
    licence: Annotated[str, Field(min_length=1)]
    requires_acceptance: Annotated[str, Field(min_length=1)] | None = None
    tasks: _Tasks


def read_manifest(folder: Path, *, accept_licence: str | None) -> ModelPack:
    """The pack of a folder, its files not yet opened.

    Raises ConfigError for a manifest that is missing or says something else than the schema (key, value and
    allowed range are named), LicenceRefused where it asks for an acceptance that is not given.
    """
    path = folder / MANIFEST
    try:
        manifest = _Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(f"no model pack in {folder}: {MANIFEST} is missing; write one beside the files") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error}); make it readable") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'file'}: {item['msg']}, found {item['input']!r:.60}"
            for item in error.errors()
        )
        raise ConfigError(f"{path}: {problems}; correct the manifest") from error
    if manifest.requires_acceptance not in (None, accept_licence):
        raise LicenceRefused(
            f"pack {manifest.pack_id!r} is under {manifest.licence!r}; if its terms fit your use, set "
            f"accept_licence to {manifest.requires_acceptance!r}"
        )
    detection, recognition = manifest.tasks.detection, manifest.tasks.recognition
    if detection is None and recognition is None:
        raise ConfigError(f"{path}: tasks is empty; name a file for detection, recognition or both")
    return ModelPack(
        pack_id=manifest.pack_id,
        licence=manifest.licence,
        ref=PackRef(source="folder", name=str(folder)),
        detector=None if detection is None else _detector(folder, detection),
        recogniser=None if recognition is None else _recogniser(folder, recognition),
    )


def _detector(folder: Path, task: _Detection) -> DetectorSpec:
    return DetectorSpec(
        kind=task.kind,
        model_path=_inside(folder, task.file),
        sha256=task.sha256,
        preprocessing=Preprocessing(**task.preprocessing.model_dump()),
    )


def _recogniser(folder: Path, task: _Recognition) -> RecogniserSpec:
    return RecogniserSpec(
        kind=task.kind,
        model_path=_inside(folder, task.file),
        sha256=task.sha256,
        preprocessing=Preprocessing(**task.preprocessing.model_dump()),
        embedding_dimension=task.embedding_dimension,
    )


def _inside(folder: Path, name: str) -> Path:
    relative = PurePosixPath(name)
    path = folder / relative
    is_plain = name and "\\" not in name and "\0" not in name and not relative.is_absolute()
    if not is_plain or relative.suffix != ".onnx" or not path.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"{folder / MANIFEST}: file {name!r} is not an .onnx file inside the pack; move it there")
    return path
