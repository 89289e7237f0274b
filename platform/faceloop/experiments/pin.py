"""A pinned release: it came from elsewhere, and `pack` does not replace it until it is unpinned."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from faceloop.runner import Workspace
from facestore.errors import DataError, StageError
from facestore.ids import canonical_json
from facestore.publish import write_whole

PIN = "release.pin"  # of the root


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """`version`: as the release's manifest says; `digest`: of its content."""

    version: str
    digest: str


def read_pin(root: Path) -> Pin | None:
    """Raises DataError for a pin that cannot be read."""
    path = root / PIN
    if not path.is_file():
        return None
    try:
        return Pin(**json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is no pin ({error}); pull the release again, or remove the file") from error


def write_pin(root: Path, pin: Pin) -> None:
    write_whole(root / PIN, canonical_json(asdict(pin)) + "\n")


def refuse_pinned(work: Workspace, stage: str) -> None:
    """Raises StageError when `stage` would replace a pinned release."""
    if stage == "pack" and (pin := read_pin(work.root)) is not None:
        raise StageError(
            f"pack: release {pin.version} is pinned as input of this root and would be replaced; run `faceloop release "
            "unpin` first, or pack in another root"
        )
