"""Work areas: where the holder of a lease makes what it will publish, out of every other holder's way.

Beside artifact `faces` lies `.faces.t7.detect`, the area of token 7 of lease `detect`. Whoever lost the lease may go on
writing there and spoils nothing. Only inside `Leases.fenced` is anything moved out of an area, or one swept.
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from facestore.leases import Lease, are_related


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkArea:
    """The private folder of one lease beside one artifact."""

    folder: Path

    def make(self, name: str) -> Path:
        """An empty folder to fill."""
        made = self.folder / name
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        return made

    def put_aside(self, path: Path) -> None:
        """Take something out of everybody's sight by one rename; it goes when the area goes. To be fenced."""
        if not path.exists():
            return
        bin_ = self.folder / "aside"
        bin_.mkdir(parents=True, exist_ok=True)
        path.rename(bin_ / f"{len(list(bin_.iterdir()))}-{path.name}")


def area_of(artifact: Path, lease: Lease) -> WorkArea:
    return WorkArea(folder=artifact.with_name(f".{artifact.name}.t{lease.token}.{quote(lease.name, safe='')}"))


@contextmanager
def opened(artifacts: Mapping[str, Path], lease: Lease) -> Iterator[dict[str, WorkArea]]:
    """An area for each artifact; gone at the end, with what was not moved out. Call `sweep` first, fenced."""
    areas = {name: area_of(path, lease) for name, path in artifacts.items()}
    try:
        yield areas
    finally:
        for area in areas.values():
            shutil.rmtree(area.folder, ignore_errors=True)  # what stays is swept by the next holder


def sweep(artifact: Path, lease: Lease) -> None:
    """Put aside what earlier holders left, dead or not: the lease is ours, so theirs is lost. To be fenced."""
    mine = area_of(artifact, lease)
    shutil.rmtree(mine.folder, ignore_errors=True)  # of a catalogue that was lost, and counts anew
    pattern = re.compile(rf"\.{re.escape(artifact.name)}\.t\d+\.(.+)")
    for found in sorted(artifact.parent.iterdir()) if artifact.parent.is_dir() else ():
        left = pattern.fullmatch(found.name)
        if left and are_related(unquote(left[1]), lease.name):
            mine.put_aside(found)
