"""What a run ran on: the state of the checkout, the lock of its requirements, the machine without its name."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from facestore.ids import file_sha256

UNKNOWN = "unknown"
_LOCK = "requirements/linux-x86_64-py311.lock"
_GPUS = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """`accelerators`: names of GPUs, one each."""

    cores: int
    memory_gb: float
    accelerators: tuple[str, ...]


def this_machine() -> Machine:
    """Neither host name nor address is in it."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    files = sorted(_GPUS.glob("*/information"))
    return Machine(
        cores=os.cpu_count() or 1,
        memory_gb=round(memory_bytes / 2**30, 1),
        accelerators=tuple(_model_named(file.read_text(encoding="utf-8")) for file in files),
    )


def _model_named(information: str) -> str:
    names = [line.partition(":")[2].strip() for line in information.splitlines() if line.startswith("Model:")]
    return names[0] if names else UNKNOWN


def lock_digest(code: Path = Path(__file__)) -> str:
    """sha256 of the requirements lock beside the code; `unknown` where the code was installed without it."""
    found = [parent / _LOCK for parent in code.parents if (parent / _LOCK).is_file()]
    return file_sha256(found[0]) if found else UNKNOWN


def is_dirty(code: Path = Path(__file__)) -> bool | None:
    """Whether the checkout that holds the code has changes that no commit holds; None where there is no checkout."""
    if not any((parent / ".git").exists() for parent in code.parents):
        return None
    asked = subprocess.run(
        ["git", "-C", str(code.parent), "status", "--porcelain", "--untracked-files=normal"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return bool(asked.stdout.strip()) if asked.returncode == 0 else None
