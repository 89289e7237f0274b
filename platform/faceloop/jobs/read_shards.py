"""read_shards: the program of `train` until it calls the stage. Reads all that a trainer would, and says how fast.

Every file is compared with the manifest, every record with its own sha256 and with the table of samples.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import get_args

from faceloop.jobs.programs import ended_as_program
from faceloop.progress import ConsoleProgress, ProgressReporter
from facestore.errors import ShardCorrupt, StageError
from facestore.ids import JsonValue, file_sha256
from facestore.publish import Manifest, read_manifest
from facestore.records import ReleaseSample, Split
from facestore.shards import ShardReader
from facestore.tables import read_table

NAME = "read_shards"
_SAY_EVERY = 20_000  # records


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitReading:
    samples: int
    identities: int
    classes: int  # distinct class_index; 0 outside train
    largest: int  # samples of the largest identity


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReading:
    """What was found in a release, all of it read."""

    splits: dict[str, SplitReading]
    shards: int
    samples: int
    read_mb: float  # of shard files
    seconds: float  # for hashing, reading and decoding
    samples_per_s: float


def read_shards(release: Path, digest: str, *, clock: Callable[[], float], progress: ProgressReporter) -> ShardReading:
    """Read every record of every shard of the release with this content digest. `clock` gives seconds.

    Raises StageError when another release is published, now or by the end, and ShardCorrupt, which names shard and
    record, for bytes that are not what pack wrote.
    """
    manifest = expected_release(release, digest)
    started = clock()
    try:
        sizes_bytes = [_checked_bytes(release, file, manifest, progress) for file in _shard_files(manifest)]
        splits = _read_splits(release, progress)
    except ShardCorrupt:
        expected_release(release, digest)  # replaced while it was read: that is another thing
        raise
    seconds = clock() - started
    samples = sum(found.samples for found in splits.values())
    expected_release(release, digest)
    return ShardReading(
        splits=splits,
        shards=len(sizes_bytes),
        samples=samples,
        read_mb=round(sum(sizes_bytes) / 1e6, 3),
        seconds=round(seconds, 3),
        samples_per_s=round(samples / seconds, 1) if seconds > 0 else 0.0,
    )


def expected_release(release: Path, digest: str) -> Manifest:
    """The manifest of the published release. Raises StageError unless it has this content digest."""
    manifest = read_manifest(release)
    found = manifest.digest if manifest is not None else "none"
    if manifest is None or found != digest:
        raise StageError(f"the published release is {found[:12]}, the job is for {digest[:12]}; submit it again")
    return manifest


def _shard_files(manifest: Manifest) -> list[str]:
    return sorted(name for name in manifest.files if name.endswith(".lmdb"))


def _checked_bytes(release: Path, file: str, manifest: Manifest, progress: ProgressReporter) -> int:
    progress.say(f"{NAME}: hashing {file}")
    size_bytes, expected = manifest.files[file]
    if file_sha256(release / file) != expected:
        bad = next(_bad_records(release, file), "no record is hurt")
        raise ShardCorrupt(f"{file}: sha256 differs from the manifest; {bad}; run pack again")
    return size_bytes


def _bad_records(release: Path, file: str) -> Iterator[str]:
    try:
        reader = ShardReader(release / file.partition("/")[0])
    except ShardCorrupt as error:
        yield str(error).partition(";")[0]
        return
    for sample in read_table(release, "samples", ReleaseSample):
        if sample.shard != file:
            continue
        try:
            reader[sample.row]
        except Exception as error:  # the file is known to be damaged: say where, whatever its reader trips over
            yield f"record {sample.row}: {error}".partition(";")[0].replace(f"record {sample.row}: record", "record")


@dataclass(slots=True)
class _Tally:
    reader: ShardReader
    samples: int = 0
    sizes: Counter[str] = field(default_factory=Counter)
    classes: set[int] = field(default_factory=set)


def _read_splits(release: Path, progress: ProgressReporter) -> dict[str, SplitReading]:
    tallies = {split: _Tally(reader=ShardReader(release / split)) for split in get_args(Split)}
    for sample in read_table(release, "samples", ReleaseSample):
        tally = tallies[sample.split]
        _check_record(tally.reader, sample)
        tally.samples += 1
        tally.sizes[sample.identity_id] += 1
        tally.classes.add(sample.class_index)
        if tally.samples % _SAY_EVERY == 0:
            progress.say(f"{NAME}: {tally.samples} of {len(tally.reader)} records of {sample.split}")
    for split, tally in tallies.items():
        if tally.samples != len(tally.reader):
            raise ShardCorrupt(
                f"{split}: {len(tally.reader)} records, {tally.samples} in the table of samples; run pack again"
            )
    return {
        split: SplitReading(
            samples=tally.samples,
            identities=len(tally.sizes),
            classes=len(tally.classes - {-1}),
            largest=max(tally.sizes.values(), default=0),
        )
        for split, tally in tallies.items()
    }


def _check_record(reader: ShardReader, sample: ReleaseSample) -> None:
    try:
        label = reader[sample.row].label
    except ShardCorrupt as error:
        raise ShardCorrupt(f"{sample.shard}: {error}") from error
    except IndexError as error:
        raise ShardCorrupt(f"{sample.shard}: there is no record {sample.row}; run pack again") from error
    found = (label.face_id, label.identity_id, label.class_index)
    if found != (sample.face_id, sample.identity_id, sample.class_index):
        raise ShardCorrupt(f"{sample.shard}: record {sample.row} is not the sample of the table; run pack again")


def main(arguments: list[str]) -> int:
    """`RELEASE DIGEST OUT`: the program as a worker starts it."""
    release, digest, out = Path(arguments[0]), arguments[1], Path(arguments[2])

    def run() -> JsonValue:
        found = read_shards(release, digest, clock=time.perf_counter, progress=ConsoleProgress())
        return {"program": NAME, "release": digest, **asdict(found)}

    return ended_as_program(run, out)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
