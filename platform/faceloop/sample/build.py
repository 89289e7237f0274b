"""Make the sample footage: clips, photos, files that are broken on purpose, the truth and the manifest."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from faceloop.sample.manifest import write_manifest
from faceloop.sample.people import load_cutouts
from faceloop.sample.photos import Rgb, SourcePhoto, read_photo
from faceloop.sample.produce import Studio, make_clip, make_copy, make_still
from faceloop.sample.script import SAMPLE, Script
from faceloop.sample.spoil import spoil
from faceloop.sample.truth import TRUTH_NAME, FileTruth, Truth, dump_truth, is_sample_truth
from facestore.errors import ConfigError

WORKERS = 2
UNFINISHED = TRUTH_NAME + ".partial"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSummary:
    """What was written: counts, seconds of video, bytes, and the people by name."""

    directory: Path
    clips: int
    photos: int
    bad_files: int
    footage_s: float
    size_bytes: int
    people: tuple[str, ...]


def build_sample_footage(
    directory: Path, *, seed: int = 7, progress: Callable[[str], None] | None = None
) -> SampleSummary:
    """Write the sample footage into `directory`; `progress` gets each file's path as it is done.

    The same seed writes the same bytes. A directory that an earlier call made, finished or not, is written
    again. Raises ConfigError where `directory` holds anything else or `seed` is negative, DataError where
    an installed package does not ship the photo that we know. Truth is written last: where it is, the
    footage is whole.
    """
    return build_footage(directory, SAMPLE, seed=seed, progress=progress)


def build_footage(
    directory: Path, script: Script, *, seed: int, progress: Callable[[str], None] | None = None
) -> SampleSummary:
    """Write any script's footage; contract as build_sample_footage."""
    if seed < 0:
        raise ConfigError(f"seed: {seed} is not allowed; give a whole number from 0 up")
    say = progress if progress is not None else _silent
    _claim(directory)
    studio = Studio(seed=seed, cutouts=load_cutouts(), backgrounds=_backgrounds(script))
    jobs = [(clip.path, partial(make_clip, studio, clip, directory)) for clip in script.clips]
    jobs += [(still.path, partial(make_still, studio, still, directory)) for still in script.stills]
    files = _run(jobs, say)
    for copy in script.copies:
        files.append(make_copy(copy, files, directory))
        say(copy.path)
    truth = Truth(
        seed=seed,
        files=tuple(sorted(files, key=lambda file: file.path)),
        bad=spoil(directory, seed),
        empty=tuple(sorted(file.path for file in files if not file.people)),
        duplicates=tuple((copy.source, copy.path) for copy in script.copies if copy.is_exact),
    )
    write_manifest(directory, truth)
    (directory / UNFINISHED).write_text(dump_truth(truth), encoding="utf-8")
    (directory / UNFINISHED).replace(directory / TRUTH_NAME)
    return _summary(directory, script, truth)


def _claim(directory: Path) -> None:
    """Make sure that the directory is ours to write, and mark it unfinished."""
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"directory: {directory} is a file; give a new or empty directory")
    directory.mkdir(parents=True, exist_ok=True)
    truth, unfinished = directory / TRUTH_NAME, directory / UNFINISHED
    if any(directory.iterdir()) and not unfinished.exists() and not is_sample_truth(truth):
        raise ConfigError(
            f"directory: {directory} holds files that sample-footage did not make; give a new or empty directory"
        )
    if truth.exists():
        truth.replace(unfinished)
    else:
        unfinished.touch()


def _run(jobs: Sequence[tuple[str, Callable[[], FileTruth]]], say: Callable[[str], None]) -> list[FileTruth]:
    """Run jobs two at a time and return their truth in the jobs' order; the first failure stops the rest."""
    pool = ThreadPoolExecutor(WORKERS)
    try:
        files = []
        for path, future in [(path, pool.submit(job)) for path, job in jobs]:
            files.append(future.result())
            say(path)
        return files
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _backgrounds(script: Script) -> tuple[tuple[SourcePhoto, Rgb], ...]:
    shots = [shot for clip in script.clips for shot in clip.shots]
    shots += [still.shot for still in script.stills]
    return tuple((photo, read_photo(photo)) for photo in dict.fromkeys(shot.background for shot in shots))


def _summary(directory: Path, script: Script, truth: Truth) -> SampleSummary:
    paths = [file.path for file in truth.files] + [bad.path for bad in truth.bad]
    return SampleSummary(
        directory=directory,
        clips=sum(file.kind == "video" for file in truth.files),
        photos=sum(file.kind == "image" for file in truth.files),
        bad_files=len(truth.bad),
        footage_s=sum(shot.duration_s for clip in script.clips for shot in clip.shots),
        size_bytes=sum((directory / path).stat().st_size for path in paths),
        people=truth.people(),
    )


def _silent(message: str) -> None:
    """Progress that nobody asked for."""
