"""An InsightFace pack that somebody installed: SCRFD + ArcFace from `<root>/models/<name>/`.

Never downloads. The pretrained models are for non-commercial research unless a signed licence file lies beside
them; InsightFace's own inspection of that file decides. Packs with its manifest V2 are read by its own parser,
older ones by the names of their files.
"""

from pathlib import Path

from insightface.model_zoo import model_license, package_manifest

from faceloop.vision.fold import normalises_inside
from faceloop.vision.model_files import read_bytes, sha256_of
from faceloop.vision.specs import DetectorSpec, ModelPack, PackRef, Preprocessing, RecogniserSpec
from facestore.errors import ConfigError, LicenceRefused, ModelCorrupt

NON_COMMERCIAL = "non-commercial"
_DETECTORS = ("det_*.onnx", "scrfd_*.onnx")
_RECOGNISERS = ("w600k_*.onnx", "glintr*.onnx")
_SCRFD = Preprocessing(colour="RGB", mean=127.5, std=128.0)
_ARCFACE = Preprocessing(colour="RGB", mean=127.5, std=127.5)
_RAW = Preprocessing(colour="RGB", mean=0.0, std=1.0)
_ARCFACE_DIMENSION = 512
_KNOWN_PREPROCESSING = {"detection": "insightface-scrfd-1", "recognition": "insightface-arcface-1"}


def read_insightface_pack(name: str, *, root: Path, accept_licence: str | None) -> ModelPack:
    """The installed pack `name` under `root` (usually `~/.insightface`).

    Raises LicenceRefused unless the pack carries a valid commercial licence or `accept_licence` is
    "non-commercial"; ConfigError for a pack that is not installed or incomplete; ModelCorrupt for a file that
    fails the sha256 of its manifest.
    """
    folder = root / "models" / name
    if name in ("", "..") or Path(name).name != name or not folder.is_dir():
        raise ConfigError(
            f"InsightFace pack {name!r} is not installed: {folder} is not a folder; unpack its .onnx files there "
            "(nothing is downloaded while a stage runs), or use the pack 'builtin'"
        )
    licence = model_license.inspect_model_package_license(folder)
    if licence.error is not None:
        raise LicenceRefused(f"licence of {folder} cannot be verified: {licence.error}; ask its issuer")
    if not licence.commercial_use_permitted and accept_licence != NON_COMMERCIAL:
        raise LicenceRefused(
            f"InsightFace pack {name!r} is for non-commercial research only; if that fits your use, set "
            f"accept_licence to {NON_COMMERCIAL!r}, else use the pack 'builtin' or a model of your own"
        )
    is_v2 = package_manifest.has_model_package_manifest(folder)
    detector, recogniser = _from_manifest(folder) if is_v2 else _from_file_names(folder)
    return ModelPack(
        pack_id=f"insightface-{name}",
        licence="insightface-commercial" if licence.commercial_use_permitted else f"insightface-{NON_COMMERCIAL}",
        ref=PackRef(source="insightface", name=name),
        detector=detector,
        recogniser=recogniser,
    )


def _from_file_names(folder: Path) -> tuple[DetectorSpec, RecogniserSpec]:
    detector = _only(folder, "detector", _DETECTORS)
    recogniser = _only(folder, "recogniser", _RECOGNISERS)
    content = read_bytes(recogniser)
    return (
        DetectorSpec(kind="scrfd", model_path=detector, sha256=sha256_of(read_bytes(detector)), preprocessing=_SCRFD),
        RecogniserSpec(
            kind="arcface",
            model_path=recogniser,
            sha256=sha256_of(content),
            preprocessing=_RAW if normalises_inside(content) else _ARCFACE,
            embedding_dimension=_ARCFACE_DIMENSION,
        ),
    )


def _only(folder: Path, what: str, patterns: tuple[str, ...]) -> Path:
    found = sorted(path for pattern in patterns for path in folder.glob(pattern))
    if len(found) != 1:
        raise ConfigError(
            f"{folder} has {len(found)} {what} files ({' or '.join(patterns)}), expected one; "
            "an interrupted download leaves such a folder: remove it and install the pack again"
        )
    return found[0]


def _from_manifest(folder: Path) -> tuple[DetectorSpec | None, RecogniserSpec | None]:
    try:
        tasks = package_manifest.load_model_package(folder).tasks
        detection, recognition = tasks.get("detection"), tasks.get("recognition")
        return (
            None if detection is None else _detector(detection),
            None if recognition is None else _recogniser(recognition),
        )
    except (ValueError, TypeError, FileNotFoundError) as error:
        raise ConfigError(f"manifest of {folder}: {error}; install the pack again") from error


def _detector(task: package_manifest.ModelTaskDescriptor) -> DetectorSpec:
    return DetectorSpec(kind="scrfd", model_path=task.path, sha256=_sha256(task), preprocessing=_preprocessing(task))


def _recogniser(task: package_manifest.ModelTaskDescriptor) -> RecogniserSpec:
    return RecogniserSpec(
        kind="arcface",
        model_path=task.path,
        sha256=_sha256(task),
        preprocessing=_preprocessing(task),
        embedding_dimension=task.metadata["embedding_dimension"],
    )


def _sha256(task: package_manifest.ModelTaskDescriptor) -> str:
    found = sha256_of(read_bytes(task.path))
    if task.sha256 not in (None, found):
        raise ModelCorrupt(f"{task.path}: sha256 {found}, manifest says {task.sha256}; install the pack again")
    return found


def _preprocessing(task: package_manifest.ModelTaskDescriptor) -> Preprocessing:
    version = task.metadata["preprocessing_version"]
    if version != _KNOWN_PREPROCESSING[task.task]:
        raise ConfigError(f"{task.path}: preprocessing {version!r} is not known here; upgrade Faceloop")
    declared = task.metadata["preprocessing"]
    if declared == package_manifest.EMBEDDED_PREPROCESSING:
        return _RAW
    return Preprocessing(colour="RGB", mean=declared["mean"], std=declared["std"])
