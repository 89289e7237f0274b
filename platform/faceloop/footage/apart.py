"""Footage decoded in another process: what spoils, hangs or bloats the decoder costs one file and not the worker.

A worker keeps a decoder from file to file: to start one takes 0.15 s of a core. A decoder that broke is replaced.
"""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import numpy as np

from faceloop.footage.decode import Picture, PictureSizes, Tally, UInt8Array, read_photo, read_video
from faceloop.footage.decoder_child import DecoderChild, borrowed
from faceloop.footage.probe import CaptureSpec, Probe, probe
from faceloop.footage.sampling import SamplingParams
from faceloop.footage.walls import DecoderLimits
from faceloop.footage.wire import Message
from facestore.errors import MediaError

_BROKEN, _MEMORY = "decoder_crashed", "decoder_memory"


def probe_apart(path: Path, spec: CaptureSpec) -> Probe:
    """As `probe`, within `spec.decoder`. Raises MediaError also with `decoder_crashed`, `decoder_timeout`,
    `decoder_memory`; OSError for a file that the system cannot read, ConfigError when no decoder can be started."""
    if not spec.decoder.is_apart:
        return probe(path, spec)
    asked = {key: value for key, value in asdict(spec).items() if key != "decoder"}
    answer = _asked_twice({"do": "probe", "path": _hex(path), "spec": asked}, spec.decoder)
    return _facts(answer)


def read_photo_apart(path: Path, limits: DecoderLimits) -> Picture:
    """As `read_photo`, within the limits; raises as `probe_apart`."""
    if not limits.is_apart:
        return read_photo(path)
    answer = _asked_twice({"do": "photo", "path": _hex(path)}, limits)
    return Picture(pts_ms=0, frame=answer["images"][0], rotation=0)  # type: ignore[index]


def read_video_apart(
    path: Path,
    sampling: SamplingParams,
    rotation: int,
    tally: Tally,
    *,
    sizes: PictureSizes,
    limits: DecoderLimits,
    threads: int = 1,
    ahead: int = 3,
) -> Iterator[Picture]:
    """As `read_video`, within the limits; up to `ahead` pictures are decoded before they are asked for.

    Pictures have only the `sizes` asked for. Raises as `probe_apart`, at the place of the picture that is missing.
    """
    if not limits.is_apart:
        yield from read_video(path, sampling, rotation, tally, threads=threads, max_frames=limits.max_frames)
        return
    asked: Message = {
        "do": "video",
        "path": _hex(path),
        "sampling": asdict(sampling),
        "sizes": asdict(sizes),
        "rotation": rotation,
        "threads": threads,
    }
    with borrowed(limits) as child:
        child.begin(asked, slots=ahead)
        try:
            while (answer := child.next_answer())["is"] != "end":
                _count(answer, tally)
                if answer["is"] == "picture":
                    yield _picture(answer, child.images(answer))
            _count(answer, tally)
        finally:
            child.stop()


def _asked_twice(message: Message, limits: DecoderLimits) -> dict[str, object]:
    """The answer; asked once more of a new decoder where one broke, or one that had served ran out of memory: it may
    have been the files before."""
    with borrowed(limits) as child:
        had_served = child.has_served
        try:
            return _asked(message, child)
        except MediaError as error:
            if error.reason != _BROKEN and not (had_served and error.reason == _MEMORY):
                raise
    with borrowed(limits, is_new=True) as child:
        return _asked(message, child)


def _asked(message: Message, child: DecoderChild) -> dict[str, object]:
    child.begin(message, slots=1)
    answer = child.next_answer()
    if answer["is"] == "picture":
        return {**answer, "images": child.images(answer)}
    return dict(answer)


def _hex(path: Path) -> str:
    return bytes(path.absolute()).hex()


def _facts(answer: dict[str, object]) -> Probe:
    try:
        facts = dict(answer["facts"])  # type: ignore[call-overload]
        if (moment := facts["captured_at"]) is not None:
            facts["captured_at"] = datetime.fromisoformat(moment)
        return Probe(**{**facts, "flags": tuple(facts["flags"])})
    except (KeyError, TypeError, ValueError) as error:
        raise MediaError(_BROKEN, "an answer that makes no sense") from error


def _count(answer: Message, tally: Tally) -> None:
    counted = answer.get("tally")
    if isinstance(counted, dict):
        for name, value in counted.items():
            if isinstance(value, int) and name in Tally.__slots__:
                setattr(tally, name, value)


def _picture(answer: Message, images: list[UInt8Array]) -> Picture:
    sides = answer["sides_px"]
    smaller = dict(zip(sides, images[1:], strict=True)) if isinstance(sides, list) else {}
    still = answer["still_until_ms"]
    return Picture(
        pts_ms=int(answer["pts_ms"]),  # type: ignore[arg-type]
        frame=np.ascontiguousarray(images[0]),
        rotation=0,
        is_cut=bool(answer["is_cut"]),
        still_until_ms=None if still is None else int(still),  # type: ignore[arg-type]
        smaller={int(side): image for side, image in smaller.items()},  # type: ignore[arg-type]
    )
