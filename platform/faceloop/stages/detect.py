"""detect: footage to faces. Decode, sample, find, track, align, measure; keep crops of each tracklet's best shots."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import Field

from faceloop.footage.apart import read_photo_apart, read_video_apart
from faceloop.footage.decode import Picture, PictureSizes, Tally
from faceloop.footage.limits import DecoderParams
from faceloop.footage.sampling import SamplingParams
from faceloop.params import StageParams
from faceloop.stage import Context, In, Out, Report
from faceloop.vision.align import are_alignable
from faceloop.vision.carrying import Carried, carry
from faceloop.vision.choice import ModelParams
from faceloop.vision.detections import Detections
from faceloop.vision.faces import FaceLimits, measure_faces
from faceloop.vision.keepids import EarlierFaces, read_earlier_faces
from faceloop.vision.lookout import LookParams, look_at_frame, look_at_photo
from faceloop.vision.tracker import Tracker, TrackerParams
from faceloop.vision.tracklets import ClosedTracklet, TrackletBook
from facestore.crops import CropWriter
from facestore.errors import DataError, MediaError, ModelCorrupt, ObjectCorrupt
from facestore.ids import media_key
from facestore.records import MEDIA_ERASED, Face, Footage, Reading
from facestore.tables import TableWriter, read_table

VERSION = 1
BATCHED = True
_PICTURES_AHEAD = 3  # decoded and not yet looked at, 3 MB each at 1080p


class Params(StageParams):
    model: ModelParams
    sample_fps: float = Field(gt=0, le=240)
    cut_threshold: float = Field(ge=0, le=1)
    duplicate_threshold: float = Field(ge=0, le=1)
    max_still_s: float = Field(ge=0)
    long_side_px: int = Field(ge=64, le=8192)
    detail_long_side_px: int = Field(ge=64, le=8192)
    detail_every: int = Field(ge=1)
    min_score: float = Field(ge=0, le=1)
    min_size_px: float = Field(ge=1)
    min_quality: float = Field(ge=0, le=1)
    max_yaw_deg: float = Field(gt=0, le=90)
    max_faces_per_frame: int = Field(ge=1)
    track_max_gap_s: float = Field(gt=0)
    track_min_overlap: float = Field(gt=0, le=1)
    track_buffer: float = Field(ge=0, le=5)
    max_tracklet_s: float = Field(gt=0)
    best_shots: int = Field(ge=1)
    context_px: int = Field(ge=32, le=1024)
    decoder: DecoderParams

    def sampling(self) -> SamplingParams:
        return SamplingParams(
            sample_fps=self.sample_fps,
            cut_threshold=self.cut_threshold,
            duplicate_threshold=self.duplicate_threshold,
            max_still_s=self.max_still_s,
        )

    def look(self) -> LookParams:
        return LookParams(
            long_side_px=self.long_side_px,
            detail_long_side_px=self.detail_long_side_px,
            detail_every=self.detail_every,
        )

    def sizes(self) -> PictureSizes:
        """What `look_at_frame` may ask a picture for."""
        return PictureSizes(
            always_px=(self.long_side_px, self.long_side_px // 2),
            detail_px=self.detail_long_side_px,
            detail_every=self.detail_every,
        )

    def limits(self) -> FaceLimits:
        return FaceLimits(
            min_size_px=self.min_size_px,
            min_quality=self.min_quality,
            max_yaw_deg=self.max_yaw_deg,
            max_faces_per_frame=self.max_faces_per_frame,
            context_px=self.context_px,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """What one batch works with."""

    detector_id: str
    detector_sha256: str
    params: Params
    context: Context
    earlier: EarlierFaces


def fingerprint(params: Params) -> str:
    """The detector's bytes: a pack's name alone does not say which file runs."""
    return _detector_sha256(params)


def run(*, footage: In, faces: Out, crops: Out, params: Params, context: Context) -> Report:
    report = Report()
    records = list(read_table(footage, "footage", Footage))
    bench = _Bench(
        detector_id=params.model.load().pack_id,
        detector_sha256=_detector_sha256(params),
        params=params,
        context=context,
        earlier=_earlier_faces(records, context),
    )
    with (
        TableWriter(faces / "faces.parquet", Face) as face_table,
        TableWriter(faces / "readings.parquet", Reading) as reading_table,
        CropWriter(crops) as crop_store,
    ):
        without_media = {record.footage_id for record in records if MEDIA_ERASED in record.flags}
        carried = carry(context.previous["faces"], context.previous["crops"], without_media, batch=crops.name)
        for record in records:
            tally, found = Tally(), Report()
            if MEDIA_ERASED in record.flags:
                reading_table.write(_keep(carried, record, face_table, crop_store, found))
                report.add(found)
                continue
            reason = None
            try:
                for closed in _read_one(record, bench, crops.name, tally, found):
                    face_table.write_all(closed.faces)
                    for face_id, shot in closed.shots.items():
                        crop_store.put("aligned", face_id, shot.aligned_rgb)
                        crop_store.put("context", face_id, shot.context_rgb)
                        found.figures["crops"] += 1
                    found.figures["tracklets"] += 1
            except MediaError as error:
                reason = error.reason
            reading = _reading(record, tally, found, reason)
            reading_table.write(reading)
            found.figures[f"footage_{reading.status}"] += 1
            found.figures["frames_decoded"] = tally.frames_decoded
            report.add(found)
    return report


def _keep(carried: Carried, record: Footage, faces: TableWriter[Face], crops: CropWriter, report: Report) -> Reading:
    """Faces of footage whose media was erased: those of others, as they were found while it was there."""
    for face in carried.copy_to(record.footage_id, faces, crops):
        _count(face, report)
        report.figures["crops"] += face.crop_key is not None
    reading = _reading(record, Tally(), report, reason="media_erased")
    if (earlier := carried.readings.get(record.footage_id)) is not None:
        reading = replace(earlier, faces=reading.faces, faces_rejected=reading.faces_rejected)
    report.figures[f"footage_{reading.status}"] += 1
    report.figures["footage_without_media"] += 1
    return reading


def _count(face: Face, report: Report) -> None:
    report.items_in += 1
    if face.rejected is None:
        report.published += 1
    else:
        report.rejected[face.rejected] += 1


def _earlier_faces(records: list[Footage], context: Context) -> EarlierFaces:
    try:
        return read_earlier_faces(context.previous["faces"], {record.footage_id for record in records})
    except DataError as error:  # this run replaces the spoiled table: it must not be stopped by it
        context.progress.say(f"detect: earlier faces are not readable, ids are made anew: {error}")
        return EarlierFaces(by_moment={})


@contextmanager
def _media(record: Footage, bench: _Bench) -> Iterator[Path]:
    try:
        with bench.context.objects.local(media_key(record.footage_id)) as path:
            yield path
    except ObjectCorrupt as error:
        raise MediaError("media_changed", "the stored bytes are no longer those that ingest hashed") from error


def _read_one(record: Footage, bench: _Bench, batch: str, tally: Tally, report: Report) -> Iterator[ClosedTracklet]:
    """Follow the faces of one footage; yields tracklets as they end, so that memory does not grow with length."""
    params, stopwatch = bench.params, bench.context.stopwatch
    # A detector that shares its cores with the decoder waits for it at every layer: half of them for each.
    reading_threads = bench.context.threads // 2 if record.kind == "video" else 0
    detector = params.model.detector(threads=bench.context.threads - reading_threads, min_score=params.min_score)
    tracker = Tracker(
        TrackerParams(
            max_gap_s=params.track_max_gap_s, min_overlap=params.track_min_overlap, buffer=params.track_buffer
        )
    )
    book = TrackletBook(batch=batch, best_shot_count=params.best_shots, max_tracklet_s=params.max_tracklet_s)
    with _media(record, bench) as path:
        if record.kind == "image":
            pictures: Iterable[Picture] = [read_photo_apart(path, params.decoder.limits())]
            tally.frames_decoded = 1
        else:
            pictures = read_video_apart(
                path,
                params.sampling(),
                record.rotation,
                tally,
                sizes=params.sizes(),
                limits=params.decoder.limits(),
                threads=max(reading_threads, 1),
                ahead=_PICTURES_AHEAD,
            )
        try:
            for number, picture in enumerate(_timed(pictures, bench)):
                report.figures["frames_looked_at"] += 1
                with stopwatch.on("detect"):
                    if record.kind == "image":
                        found = look_at_photo(detector, picture, params.look())
                    else:
                        found = look_at_frame(detector, picture, number, params.look())
                    is_alignable = are_alignable(found.landmarks_px)
                    found = found.select(is_alignable)
                lost = int((~is_alignable).sum())
                if lost:
                    report.items_in += lost
                    report.rejected["degenerate_landmarks"] += lost
                if picture.still_until_ms is not None:
                    tracker.hold(picture.still_until_ms)
                if picture.is_cut:
                    tracker.cut()
                numbers = tracker.update(picture.pts_ms, found.boxes_xyxy_px)
                yield from _file(record, picture, found, numbers, bench, book, report)
                yield from book.close_all_but(tracker.live)
        except MediaError:  # what was seen until here counts
            yield from book.close_all_but(set())
            raise
        yield from book.close_all_but(set())


def _timed(pictures: Iterable[Picture], bench: _Bench) -> Iterator[Picture]:
    remaining = iter(pictures)
    while True:
        with bench.context.stopwatch.on("wait for decoder"):
            picture = next(remaining, None)
        if picture is None:
            return
        yield picture


def _file(
    record: Footage,
    picture: Picture,
    found: Detections,
    numbers: list[int],
    bench: _Bench,
    book: TrackletBook,
    report: Report,
) -> Iterator[ClosedTracklet]:
    if not len(found):
        return
    ids = bench.earlier.ids_of(record.footage_id, picture.pts_ms, found.boxes_xyxy_px, bench.detector_sha256)
    with bench.context.stopwatch.on("align and measure"):
        measured = list(measure_faces(picture, found, ids, record, bench.detector_id, bench.params.limits()))
    for number, (face, shot) in zip(numbers, measured, strict=True):
        _count(face, report)
        yield from book.add(number, face, shot)


def _reading(record: Footage, tally: Tally, found: Report, reason: str | None) -> Reading:
    is_short = record.frames is not None and tally.frames_decoded < record.frames
    if reason is not None:
        status = "rejected" if tally.frames_decoded == 0 else "partial"
    elif record.kind == "video" and tally.frames_decoded == 0:
        status, reason = "rejected", "no_frame_decoded"
    elif tally.decode_errors or (record.kind == "video" and is_short):
        status, reason = "partial", "fewer_frames_than_promised" if is_short else "broken_packets"
    else:
        status = "read"
    return Reading(
        footage_id=record.footage_id,
        status=status,  # type: ignore[arg-type]  # one of the three literals above
        reason=reason,
        frames_promised=record.frames,
        frames_decoded=tally.frames_decoded,
        frames_looked_at=int(found.figures["frames_looked_at"]),
        frames_near_duplicate=tally.frames_near_duplicate,
        scene_cuts=tally.scene_cuts,
        faces=found.published,
        faces_rejected=int(np.sum(list(found.rejected.values()), dtype=np.int64)),
    )


def _detector_sha256(params: Params) -> str:
    spec = params.model.load().detector
    if spec is None:
        raise ModelCorrupt(f"pack {params.model.pack!r} has no detector; choose another pack in detect.model")
    return spec.sha256
