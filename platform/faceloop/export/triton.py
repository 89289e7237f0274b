"""The Triton model repository: versions are only ever added, and the ensemble says which one counts.

`FOLDER/MODEL/config.pbtxt` and `FOLDER/MODEL/VERSION/model.onnx` (or `model.plan`). A version is written under another
name and renamed; the config of the ensemble `faces` is replaced last, so that a server never sees half of one. The
version before stays, on disk and in the server: going back is one more replacement.
"""

import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from faceloop.export.triton_check import check_repository, versions_of
from faceloop.export.triton_config import CONFIG, MODEL_FILES, Message, as_text, read_config, serve_versions
from faceloop.export.triton_models import ENSEMBLE, ServedModel, ServedRecogniser, TritonParams, served_models
from faceloop.export.triton_words import README, readme_of
from faceloop.vision.specs import DetectorSpec
from facestore.errors import ConfigError, DataError
from facestore.ids import JsonValue, canonical_json, digest_of, sha256_hex
from facestore.publish import sync_path

_MODEL_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
CONTENTS = "contents.json"  # of a version of the ensemble: Triton wants the folder, people want to know what it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What a repository serves now."""

    version: int
    before: int | None  # the version to go back to
    contract_id: str
    digest: str  # of all files and configs of the version
    was_there_before: bool


def write_repository(
    folder: Path, *, detector: DetectorSpec, recogniser: ServedRecogniser, params: TritonParams
) -> Served:
    """Add a version made of these models and let it count; what counts already stays, and nothing is written.

    Raises ConfigError for a detector or engine that cannot be served so, ModelCorrupt for a file that is not what it
    says, DataError for a folder that is no repository of ours.
    """
    return add_version(folder, served_models(detector, recogniser, params))


def deploy(source: Path, folder: Path) -> Served:
    """Add what counts in repository `source` to repository `folder`, where servers read. As `write_repository`."""
    check_repository(source)
    version = current_version(source).version
    models = []
    for name in sorted(path.parent.name for path in source.glob(f"*/{CONFIG}")):
        config = read_config(source / name / CONFIG)
        file_name = MODEL_FILES.get(config.platform)
        content = (source / name / str(version) / file_name).read_bytes() if file_name else b""
        models.append(ServedModel(name=name, config=_bare(config), file_name=file_name, content=content))
    return add_version(folder, sorted(models, key=lambda model: model.name == ENSEMBLE))


def roll_back(folder: Path) -> Served:
    """Let the version before count again. Raises DataError where there is none."""
    now = current_version(folder)
    if now.before is None or not (folder / ENSEMBLE / str(now.before)).is_dir():
        raise DataError(f"{folder} serves version {now.version} and knows none before; nothing was changed")
    return _point_at(folder, now.before, leaving=now.version)


def current_version(folder: Path) -> Served:
    """What the ensemble points at. Raises DataError for a folder that is no repository of ours."""
    path = folder / ENSEMBLE / CONFIG
    if not path.is_file():
        raise DataError(f"{folder} has no model {ENSEMBLE!r}; write a repository there first")
    versions = read_config(path).version_policy.specific.versions
    if len(versions) != 1:
        raise DataError(f"{path} pins no single version; write the repository anew")
    return _served(folder, int(versions[0]), was_there_before=True)


def add_version(folder: Path, models: Sequence[ServedModel]) -> Served:
    """Write the models as the next version, unless the one that counts is of the same content."""
    digest = _digest(models)
    is_new = not (folder / ENSEMBLE / CONFIG).is_file()
    before = None if is_new else current_version(folder)
    if before is not None and before.digest == digest:
        return before
    if before is not None:
        _refuse_other_tensors(folder, models)
    elif folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise DataError(f"{folder} is no repository of ours and is not empty; choose another folder")
    version = 1 + max((number for model in models for number in versions_of(folder / model.name)), default=0)
    for model in models:
        contents: dict[str, JsonValue] = {
            "version": version,
            "before": before.version if before else None,
            "contract_id": _contract_of(model.config),
            "digest": digest,
            "files": {one.name: sha256_hex(one.content) for one in models if one.file_name},
            "configs": {one.name: as_text(one.config) for one in models},
        }
        name, content = model.file_name or CONTENTS, model.content or (canonical_json(contents) + "\n").encode()
        _write_version(folder / model.name / str(version), name, content)
    return _point_at(folder, version, leaving=before.version if before else None)


def _point_at(folder: Path, version: int, *, leaving: int | None) -> Served:
    """Replace the configs, the ensemble's last: until then, and as long as requests are under way, the version that
    is left is served too."""
    served = _served(folder, version, was_there_before=False)
    beside = [number for number in (leaving if leaving is not None else served.before,) if number is not None]
    contents = _contents(folder, version)
    configs = contents["configs"]
    if not isinstance(configs, dict) or not all(map(_MODEL_NAME.fullmatch, configs)):
        raise DataError(f"{folder}: version {version} has no configs; deploy it again")
    for name in sorted(configs, key=lambda one: one == ENSEMBLE):
        waiting = folder / f".{os.getpid()}.{name}.pbtxt"
        waiting.write_text(str(configs[name]), encoding="utf-8")
        config = serve_versions(read_config(waiting), version, beside=beside, there=versions_of(folder / name))
        waiting.write_text(as_text(config), encoding="utf-8")
        _replace(waiting, folder / name / CONFIG)
    waiting = folder / f".{os.getpid()}.{README}"
    waiting.write_text(readme_of(read_config(folder / ENSEMBLE / CONFIG), served.contract_id), encoding="utf-8")
    _replace(waiting, folder / README)
    check_repository(folder)
    return served


def _write_version(path: Path, name: str, content: bytes) -> None:
    """A version's folder with one file, whole or absent. The number of one that a crash cut short is not used again."""
    waiting = path.with_name(f".{path.name}.{os.getpid()}")
    shutil.rmtree(waiting, ignore_errors=True)
    waiting.mkdir(parents=True)
    (waiting / name).write_bytes(content)
    sync_path(waiting / name)
    sync_path(waiting)
    try:
        waiting.rename(path)
    except OSError as error:
        shutil.rmtree(waiting, ignore_errors=True)
        raise DataError(f"{path} was written by somebody else meanwhile; deploy again") from error
    sync_path(path.parent)


def _replace(waiting: Path, path: Path) -> None:
    sync_path(waiting)
    waiting.replace(path)
    sync_path(path.parent)


def _digest(models: Sequence[ServedModel]) -> str:
    return digest_of({model.name: [as_text(model.config), sha256_hex(model.content)] for model in models})


def _bare(config: Message) -> Message:
    """The config as it was before a version was chosen."""
    found = type(config)()
    found.CopyFrom(config)
    found.ClearField("version_policy")
    for step in found.ensemble_scheduling.step:
        step.model_version = -1
    return found


def _contract_of(config: Message) -> str:
    return str(config.parameters["contract_id"].string_value) if "contract_id" in config.parameters else ""


def _refuse_other_tensors(folder: Path, models: Sequence[ServedModel]) -> None:
    """One config serves the old version and the new: both must have the same inputs and outputs."""
    for model in models:
        before = read_config(folder / model.name / CONFIG)
        for name in ("input", "output"):
            old, new = ([str(tensor) for tensor in getattr(one, name)] for one in (before, model.config))
            if old != new or before.platform != model.config.platform:
                raise ConfigError(
                    f"{folder} serves a {model.name} with other {name}s or on another platform, and old and new "
                    "version share a config; deploy to a repository of its own"
                )


def _contents(folder: Path, version: int) -> dict[str, JsonValue]:
    path = folder / ENSEMBLE / str(version) / CONTENTS
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); deploy the version again") from error
    if not isinstance(body, dict):
        raise DataError(f"{path} is no JSON object; deploy the version again")
    return body


def _served(folder: Path, version: int, *, was_there_before: bool) -> Served:
    contents = _contents(folder, version)
    before = contents.get("before")
    return Served(
        version=version,
        before=before if isinstance(before, int) else None,
        contract_id=str(contents.get("contract_id", "")),
        digest=str(contents.get("digest", "")),
        was_there_before=was_there_before,
    )
