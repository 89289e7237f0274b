"""copy_release: the program of `export` until models are exported. A release, put once, under its content digest."""

import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from faceloop.jobs.programs import ended_as_program
from faceloop.jobs.read_shards import expected_release
from faceloop.progress import ConsoleProgress, ProgressReporter
from facestore.errors import DataError, StoreError
from facestore.ids import JsonValue, file_sha256
from facestore.publish import MANIFEST, Manifest, sync_path, sync_tree, verify

NAME = "copy_release"
SUMS = "SHA256SUMS"  # as `sha256sum --check` reads it


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """An exported release."""

    folder: str  # below the root
    files: int
    size_mb: float
    was_there: bool


def copy_release(release: Path, digest: str, exports: Path, *, attempt: str, progress: ProgressReporter) -> Copied:
    """Copy the release with this content digest to `exports/DIGEST`, every file checked after it was written.

    A copy that is there is checked and kept. `attempt` names the folder that is filled first. Raises StageError when
    another release is published, DataError for a file that differs from the manifest, StoreError without room.
    """
    target = exports / digest
    was_there = target.is_dir()
    if was_there:
        verify(target)
        manifest = expected_release(target, digest)
    else:
        manifest = expected_release(release, digest)
        _copy(release, manifest, target, exports / f".{digest}.{attempt}.partial", progress)
    _sweep(exports, digest)
    size_bytes = sum(size for size, _ in manifest.files.values())
    return Copied(
        folder=f"{exports.name}/{digest}",
        files=len(manifest.files),
        size_mb=round(size_bytes / 1e6, 3),
        was_there=was_there,
    )


def _copy(release: Path, manifest: Manifest, target: Path, staging: Path, progress: ProgressReporter) -> None:
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        for name, (_, expected) in progress.track(sorted(manifest.files.items()), NAME):
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(release / name, staging / name)
            if (found := file_sha256(staging / name)) != expected:
                raise DataError(f"{name}: sha256 {found[:12]}, manifest says {expected[:12]}; run pack again")
        shutil.copyfile(release / MANIFEST, staging / MANIFEST)
        expected_release(staging, manifest.digest)
        lines = [f"{sha}  {name}\n" for name, (_, sha) in sorted(manifest.files.items())]
        (staging / SUMS).write_text("".join(lines), encoding="utf-8")
        sync_tree(staging)
        try:
            staging.rename(target)
        except OSError:
            if not target.is_dir():
                raise
            verify(target)  # another attempt was first; both copied the same bytes
        sync_path(target.parent)
    except OSError as error:
        raise StoreError(f"cannot export the release: {error}; make room, then submit the job again") from error


def _sweep(exports: Path, digest: str) -> None:
    """What killed attempts left. One that still runs finds its folder gone, and the release exported."""
    for leftover in exports.glob(f".{digest}.*.partial"):
        shutil.rmtree(leftover, ignore_errors=True)


def main(arguments: list[str]) -> int:
    """`RELEASE DIGEST EXPORTS OUT`: the program as a worker starts it."""
    release, digest, exports, out = Path(arguments[0]), arguments[1], Path(arguments[2]), Path(arguments[3])

    def run() -> JsonValue:
        done = copy_release(release, digest, exports, attempt=out.name, progress=ConsoleProgress())
        return {"program": NAME, "release": digest, **asdict(done)}

    return ended_as_program(run, out)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
