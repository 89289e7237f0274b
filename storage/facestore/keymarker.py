"""`encryption.json`: the file by which a root opts in to encryption. It says where keys are, and holds no secret."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from facestore.errors import ConfigError
from facestore.ids import canonical_json

MARKER = "encryption.json"
KEYS_URL = "FACELOOP_KEYS"
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """What `encryption.json` says: nothing secret."""

    keys: str  # URL, or a path relative to the root
    master_id: str  # fingerprint of the master key
    key_file: str | None  # where the master key is, unless the environment says
    new_master_id: str | None = None  # while keys are wrapped anew
    new_key_file: str | None = None
    has_pictures: bool = False  # whether pages of this root may hold pictures, which are not sealed there


def read_marker(root: Path) -> Marker:
    """Raises ConfigError where `encryption.json` is not ours."""
    try:
        said = json.loads((root / MARKER).read_text(encoding="utf-8"))
        if said.pop("version") != _FORMAT:
            raise ValueError("another version")
        return Marker(**said)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{MARKER} of this root cannot be read ({error}); restore it from a backup") from error


def write_marker(root: Path, marker: Marker) -> None:
    """Put it in place whole and durably."""
    from facestore.publish import sync_path

    partial = root / f"{MARKER}.partial"
    partial.write_text(canonical_json({"version": _FORMAT, **asdict(marker)}) + "\n", encoding="utf-8")
    sync_path(partial)
    partial.replace(root / MARKER)
    sync_path(root)


def without_old(marker: Marker) -> Marker:
    """A marker whose new master key has become the only one."""
    return replace(
        marker,
        master_id=marker.new_master_id or marker.master_id,
        key_file=marker.new_key_file,
        new_master_id=None,
        new_key_file=None,
    )


def keys_url(root: Path, marker: Marker, environ: Mapping[str, str]) -> str:
    """Where the data keys of a root are."""
    place = environ.get(KEYS_URL, "").strip() or marker.keys
    return place if "://" in place else f"sqlite:///{(root / place).absolute()}"


def is_without_pictures(page: Path) -> bool:
    """Whether a page at this path holds no pictures of faces: it lies in an encrypted root that does not allow it."""
    for folder in page.absolute().parents:
        if (folder / MARKER).is_file():
            return not read_marker(folder).has_pictures
    return False
