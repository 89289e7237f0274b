"""The three files that are broken on purpose; ingest must quarantine each with its reason."""

from pathlib import Path

import numpy as np

from faceloop.sample.publish import published
from faceloop.sample.truth import BadFile

NOISE_BYTES = 48_000
MP4_HEAD = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp42"  # so that it passes for a video until it is opened
TRUNCATED_FROM = "album/portrait-04.jpg"
TRUNCATED_SHARE = 0.45

CORRUPT = BadFile(path="gate/gate-storm.mp4", reason="corrupt_media")
ZERO = BadFile(path="album/picnic-13.jpg", reason="empty_file")
TRUNCATED = BadFile(path="album/picnic-14.jpg", reason="truncated_media")


def spoil(directory: Path, seed: int) -> tuple[BadFile, ...]:
    """Write noise behind the head of an MP4, an empty .jpg and a JPEG cut off in its scan; the photos must be there."""
    noise = np.random.default_rng(seed).bytes(NOISE_BYTES)
    whole = (directory / TRUNCATED_FROM).read_bytes()
    cut = whole[: int(len(whole) * TRUNCATED_SHARE)]
    for bad, content in ((CORRUPT, MP4_HEAD + noise), (ZERO, b""), (TRUNCATED, cut)):
        with published(directory / bad.path) as target:
            target.write_bytes(content)
    return tuple(sorted((CORRUPT, ZERO, TRUNCATED), key=lambda bad: bad.path))
