"""Detections of one picture to face records: aligned, measured, kept or rejected with a reason."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from faceloop.footage.decode import Picture
from faceloop.vision.align import align_crop
from faceloop.vision.detections import Detections
from faceloop.vision.lookout import context_crop
from faceloop.vision.pose import head_pose
from faceloop.vision.quality import measure
from faceloop.vision.tracklets import Shot
from facestore.records import Face, Footage

_MIN_INSIDE = 0.6  # share of a box that must lie in the picture


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceLimits:
    """What a face must have to be used."""

    min_size_px: float
    min_quality: float
    max_yaw_deg: float  # beyond, a head turned away passes for a face
    max_faces_per_frame: int
    context_px: int


def drop_reason(face: Face, *, rank: int, inside: float, limits: FaceLimits) -> str | None:
    """Why a face is not used, or None. `rank` counts from the best score of the picture."""
    if rank >= limits.max_faces_per_frame:
        return "too_many_faces"
    if face.size_px < limits.min_size_px:
        return "too_small"
    if inside < _MIN_INSIDE:
        return "outside_picture"
    if abs(face.yaw) > limits.max_yaw_deg:
        return "extreme_pose"
    if face.quality < limits.min_quality:
        return "low_quality"
    return None


def inside_share(box_px: Sequence[float], width: int, height: int) -> float:
    """Share of a box that lies in the picture, [0, 1]."""
    x1, y1, x2, y2 = box_px
    area = max(x2 - x1, 0) * max(y2 - y1, 0)
    seen = max(min(x2, width) - max(x1, 0), 0) * max(min(y2, height) - max(y1, 0), 0)
    return seen / area if area > 0 else 0.0


def measure_faces(
    picture: Picture, found: Detections, ids: Sequence[str], footage: Footage, detector: str, limits: FaceLimits
) -> Iterator[tuple[Face, Shot | None]]:
    """Records in the order of `found`, with pictures for the faces that are kept. Tracklets are not known yet."""
    image_bgr = picture.full_bgr()
    for rank, face_id in enumerate(ids):
        box, landmarks = found.boxes_xyxy_px[rank], found.landmarks_px[rank]
        size_px = float(np.sqrt(max(float((box[2] - box[0]) * (box[3] - box[1])), 0.0)))
        aligned = align_crop(image_bgr, landmarks)
        pose = head_pose(landmarks)
        quality = measure(aligned, size_px=size_px, pose=pose)
        face = Face(
            face_id=face_id,
            footage_id=footage.footage_id,
            subset=footage.subset,
            pts_ms=picture.pts_ms,
            bbox=tuple(float(edge) for edge in box),
            landmarks=tuple(float(value) for value in landmarks.ravel()),
            det_score=float(found.scores[rank]),
            tracklet_id="",
            is_best_shot=False,
            size_px=size_px,
            sharpness=quality.sharpness,
            brightness=quality.brightness,
            contrast=quality.contrast,
            yaw=pose.yaw,
            pitch=pose.pitch,
            roll=pose.roll,
            occlusion=quality.occlusion,
            quality=quality.total,
            crop_key=None,
            detector=detector,
            rejected=None,
        )
        inside = inside_share(face.bbox, picture.width, picture.height)
        if ((landmarks < 0) | (landmarks > (picture.width, picture.height))).any():
            inside = 0.0  # an eye or the mouth is cut off: the crop would be half a face
        reason = drop_reason(face, rank=rank, inside=inside, limits=limits)
        if reason is None:
            context = context_crop(image_bgr, face.bbox, limits.context_px)
            yield face, Shot(aligned_rgb=aligned, context_rgb=context)
        else:
            yield replace(face, rejected=reason), None
