"""The pictures that questions show: context crops of faces, and frames of footage, upright and without metadata."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from faceloop.footage.apart import read_photo_apart, read_video_apart
from faceloop.footage.decode import Picture as Frame
from faceloop.footage.decode import PictureSizes, Tally
from faceloop.footage.limits import DecoderLimits, limits_of_detect
from faceloop.footage.sampling import SamplingParams
from faceloop.redaction import Covers, covered, covers_of
from faceloop.runner import Workspace
from facereview.pictures import FacePicture, FramePicture, Picture
from facestore.crops import CropReader
from facestore.errors import DataError, MediaError, StoreError
from facestore.ids import media_key
from facestore.images import UInt8Array, encode_jpeg
from facestore.objects import open_store
from facestore.records import Face, Footage
from facestore.tables import read_columns

_SAME_MOMENT_MS = 500  # a face that was seen so near in time may be in the frame that is shown
NO_PICTURE = "no_picture"  # begins the message of every DataError here: the reason code
_EVERY_FRAME = SamplingParams(sample_fps=1000.0, cut_threshold=1.0, duplicate_threshold=0.0, max_still_s=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameLook:
    """How frames are written. Crops are JPEGs already and are handed on as they are."""

    long_side_px: int = 1280  # of a whole frame; a part of one keeps its pixels
    quality: int = 85  # of the JPEG, [1, 100]


class QuestionPictures:
    """`facereview.pictures.Pictures` over the published artifacts of a workspace, as they were at the first look.

    A frame alone costs decoding its footage up to there. For many, say which with `prepare`: each footage is then
    read once, in order of time.
    """

    def __init__(self, work: Workspace, look: FrameLook | None = None) -> None:
        self._work = work
        self._look = look or FrameLook()
        self._limits = limits_of_detect(work.tree)
        self._crops = CropReader(work.path("crops"))
        self._covers: Covers | None = None
        self._crop_keys: dict[str, str] | None = None  # face → key of its own crop, or of its tracklet's best one
        self._footage: dict[str, tuple[str, int]] | None = None  # footage → kind, rotation
        self._ready: dict[FramePicture, bytes] = {}

    def jpeg(self, picture: Picture) -> bytes:
        """The picture as JPEG. Raises DataError, which begins with `no_picture`, for one that is not there any more."""
        match picture:
            case FacePicture():
                return self._face(picture.face_id)
            case FramePicture():
                if (ready := self._ready.pop(picture, None)) is not None:
                    return ready
                return dict(self._frames(picture.footage_id, [picture]))[picture]

    def prepare(self, pictures: Iterable[Picture]) -> None:
        """Decode these frames and hold their JPEGs until `jpeg` asks for them. What is not there is left out."""
        wanted: dict[str, list[FramePicture]] = {}
        for picture in dict.fromkeys(pictures):
            if isinstance(picture, FramePicture) and picture not in self._ready:
                wanted.setdefault(picture.footage_id, []).append(picture)
        for footage_id in sorted(wanted):
            try:
                self._ready.update(self._frames(footage_id, wanted[footage_id]))
            except DataError:
                continue  # `jpeg` says why

    def close(self) -> None:
        self._crops.close()
        self._ready.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _face(self, face_id: str) -> bytes:
        if self._crop_keys is None:
            self._crop_keys = _crop_keys(self._work.path("faces"))
        key = self._crop_keys.get(face_id)
        if key is None:
            raise DataError(
                f"{NO_PICTURE}: face {face_id} is not among the faces, or nothing of its tracklet has a crop"
            )
        try:
            shown = self._crops.jpeg("context", key)
            image = self._crops.image("context", key) if self._hidden().crops else None
            boxes = self._hidden().of_crop(key.rpartition("/")[2], image.shape[0]) if image is not None else []
            return shown if image is None or not boxes else encode_jpeg(covered(image, boxes), self._look.quality)
        except DataError as error:
            raise DataError(f"{NO_PICTURE}: the crop of face {face_id} cannot be read; run detect again") from error

    def _frames(self, footage_id: str, wanted: Sequence[FramePicture]) -> Iterator[tuple[FramePicture, bytes]]:
        """Each of the wanted pictures of one footage, in order of time. Raises DataError where it cannot be read."""
        if self._footage is None:
            self._footage = _footage(self._work.path("footage"))
        if footage_id not in self._footage:
            raise DataError(f"{NO_PICTURE}: footage {footage_id} is not among the footage any more")
        kind, rotation = self._footage[footage_id]
        store = open_store(self._work.external("objects"), may_link=False)
        with ExitStack() as held:
            try:
                path = held.enter_context(store.local(media_key(footage_id)))
                frames = (
                    iter([read_photo_apart(path, self._limits)])
                    if kind == "image"
                    else _video(path, rotation, self._limits, self._work.threads, self._look.long_side_px)
                )
                for picture, frame in _nearest_in_time(frames, wanted):
                    yield picture, self._encoded(picture, frame)
            except (StoreError, MediaError) as error:
                raise DataError(f"{NO_PICTURE}: footage {footage_id} cannot be read ({error})") from error

    def _hidden(self) -> Covers:
        if self._covers is None:
            self._covers = covers_of(self._work)
        return self._covers

    def _encoded(self, picture: FramePicture, frame: Frame) -> bytes:
        hidden = self._hidden().of_frame(picture.footage_id, picture.pts_ms, _SAME_MOMENT_MS)
        if picture.view is None:
            shown = frame.small_bgr(self._look.long_side_px)
            if hidden:
                scale = shown.shape[1] / frame.full_bgr().shape[1]
                shown = covered(shown, [(a * scale, b * scale, c * scale, d * scale) for a, b, c, d in hidden])
        else:
            whole = frame.full_bgr()
            shown = cut_out(covered(whole, hidden) if hidden else whole, picture.view)
        return encode_jpeg(np.ascontiguousarray(shown[:, :, ::-1]), self._look.quality)


def cut_out(image: UInt8Array, view: tuple[int, int, int, int]) -> UInt8Array:
    """The part x1, y1, x2, y2 px of an image (h, w, 3) uint8, black where it reaches beyond: its size is the view's.

    Raises DataError for a view without area, or wholly outside.
    """
    x1, y1, x2, y2 = view
    height, width = image.shape[:2]
    left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
    if left >= right or top >= bottom:
        raise DataError(f"{NO_PICTURE}: view {view} shows nothing of a frame of {width} × {height} px")
    part = np.zeros((y2 - y1, x2 - x1, 3), np.uint8)
    part[top - y1 : bottom - y1, left - x1 : right - x1] = image[top:bottom, left:right]
    return part


def _nearest_in_time(frames: Iterator[Frame], wanted: Sequence[FramePicture]) -> Iterator[tuple[FramePicture, Frame]]:
    """Each wanted picture with the frame that is nearest in time, the earlier of two; reads no further than needed."""
    waiting = sorted(wanted, key=lambda picture: (picture.pts_ms, picture.view or ()))
    before: Frame | None = None
    place = 0
    for frame in frames:
        while place < len(waiting) and frame.pts_ms >= waiting[place].pts_ms:
            asked_ms = waiting[place].pts_ms
            is_before = before is not None and asked_ms - before.pts_ms <= frame.pts_ms - asked_ms
            yield waiting[place], before if is_before and before is not None else frame
            place += 1
        if place == len(waiting):
            return
        before = frame
    if before is None:
        raise MediaError("no_frame_decoded", "nothing could be decoded")
    yield from ((picture, before) for picture in waiting[place:])


def _video(path: Path, rotation: int, limits: DecoderLimits, threads: int, long_side_px: int) -> Iterator[Frame]:
    sizes = PictureSizes(always_px=(long_side_px,))
    return read_video_apart(path, _EVERY_FRAME, rotation, Tally(), sizes=sizes, limits=limits, threads=threads)


def _crop_keys(faces: Path) -> dict[str, str]:
    """Face → crop key: its own, else that of the best shot of its tracklet."""
    table = read_columns(faces, "faces", Face, ("face_id", "tracklet_id", "quality", "crop_key"))
    best: dict[str, str] = {}
    with_crop = table.filter(table["crop_key"].is_valid())
    with_crop = with_crop.sort_by([("quality", "ascending"), ("face_id", "descending")])
    best.update(zip(with_crop["tracklet_id"].to_pylist(), with_crop["crop_key"].to_pylist(), strict=True))
    columns = (table[name].to_pylist() for name in ("face_id", "tracklet_id", "crop_key"))
    rows = ((face, own or best.get(tracklet)) for face, tracklet, own in zip(*columns, strict=True))
    return {face: key for face, key in rows if key is not None}


def _footage(footage: Path) -> dict[str, tuple[str, int]]:
    table = read_columns(footage, "footage", Footage, ("footage_id", "kind", "rotation"))
    columns = (table[name].to_pylist() for name in ("footage_id", "kind", "rotation"))
    return {footage_id: (kind, rotation) for footage_id, kind, rotation in zip(*columns, strict=True)}
