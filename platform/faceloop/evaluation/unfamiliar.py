"""unfamiliar_of: what becomes of pictures that are no live, bare face: does the door hold, does the model err?

Each picture is judged twice. *At the door*: shown to the detector, aligned by its landmarks, its quality asked for, as
footage is. *Let in*: its crop goes to the recogniser as it is, as if the door had failed. An identification is false
when the nearest known person, at or above the threshold, is not the one depicted. AUROC is of telling the unfamiliar
from genuine probes by one number (Hendrycks and Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution
Examples", 2017): 0.5 tells nothing, 1 everything.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from faceloop.evaluation.unfamiliar_figures import GENUINE, UnfamiliarFigures, UnfamiliarSight, kind_figures
from faceloop.evaluation.unfamiliar_params import UnfamiliarParams
from faceloop.evaluation.unfamiliar_set import KINDS, UnfamiliarPicture, make_unfamiliar
from faceloop.vision.align import ARCFACE_TEMPLATE_PX, CROP_SIDE_PX, align_crop, are_alignable
from faceloop.vision.detections import Detector
from faceloop.vision.pose import Pose, head_pose
from faceloop.vision.quality import measure
from faceloop.vision.recogniser import Recogniser
from facestore.errors import DataError

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
UInt8Array = NDArray[np.uint8]
_SHOWN_PX, _CANVAS_PX = 224, 400  # a picture as the detector sees it: before a grey wall
_WALL = (127, 127, 127)
_FRONTAL = Pose(yaw=0.0, pitch=0.0, roll=0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KnownCrops:
    """Crops of a release whose identity is known, in any order."""

    face_ids: tuple[str, ...]  # n, unique
    identity_ids: tuple[str, ...]  # n
    crops_rgb: UInt8Array  # (n, 112, 112, 3)

    def __post_init__(self) -> None:
        count, shape = len(self.face_ids), (CROP_SIDE_PX, CROP_SIDE_PX, 3)
        if len(self.identity_ids) != count or self.crops_rgb.shape != (count, *shape) or count < 2:
            raise DataError(
                f"{count} faces with {len(self.identity_ids)} identities and crops of shape {self.crops_rgb.shape}; "
                "give at least two faces, one identity and one 112 px crop each"
            )
        if len(set(self.face_ids)) < count:
            raise DataError("a face is given twice; give each once")


def unfamiliar_of(
    known: KnownCrops,
    recogniser: Recogniser,
    detector: Detector | None,
    params: UnfamiliarParams,
    *,
    threshold: float,
) -> UnfamiliarFigures:
    """Show the set to detector and recogniser; `threshold` is the cosine of the operating point.

    Of each person every other crop makes the gallery's template, the others are genuine probes and what drawings,
    statues, prints and masks are made from. The outcome does not depend on the order of `known`.
    """
    known = _chosen(known, params)
    _, identity = np.unique(np.array(known.identity_ids), return_inverse=True)
    is_probe = _every_other(identity)
    found = recogniser.embed(known.crops_rgb)
    in_gallery = ~is_probe & found.is_valid
    people = np.unique(identity[in_gallery])
    if not len(people):
        raise DataError("the recogniser gave no vector for any crop of the gallery; check the candidate")
    gallery = np.stack([_mean(found.vectors[in_gallery & (identity == person)]) for person in people])
    probes = np.flatnonzero(is_probe)
    pictures = [UnfamiliarPicture(kind=GENUINE, row=int(row), crop_rgb=known.crops_rgb[row]) for row in probes]
    made = make_unfamiliar(
        known.crops_rgb[probes],
        identity[probes].tolist(),
        pictures_per_kind=params.pictures_per_kind,
        seed=params.seed,
    )
    pictures += [
        UnfamiliarPicture(kind=one.kind, row=int(probes[one.row]) if one.row >= 0 else -1, crop_rgb=one.crop_rgb)
        for one in made
    ]
    depicted = np.array([identity[picture.row] if picture.row >= 0 else -1 for picture in pictures], np.int64)
    sights = _judged(pictures, depicted, gallery, people, recogniser, detector, params)
    return UnfamiliarFigures(
        threshold=threshold,
        people=len(people),
        kinds=tuple(
            kind_figures(kind, sights, detector is not None, threshold, params.confidence_level)
            for kind in (GENUINE, *KINDS)
            if any(sight.kind == kind for sight in sights)
        ),
        sights=tuple(sights),
    )


def _chosen(known: KnownCrops, params: UnfamiliarParams) -> KnownCrops:
    """By face id; where there are too many, drawn by the seed."""
    order = sorted(range(len(known.face_ids)), key=known.face_ids.__getitem__)
    if len(order) > params.most_known:
        drawn = np.random.default_rng([params.seed, 7]).choice(len(order), params.most_known, replace=False)
        order = [order[place] for place in sorted(drawn.tolist())]
    return KnownCrops(
        face_ids=tuple(known.face_ids[row] for row in order),
        identity_ids=tuple(known.identity_ids[row] for row in order),
        crops_rgb=known.crops_rgb[order],
    )


def _every_other(identity: Int64Array) -> NDArray[np.bool_]:
    """(n,) the second, fourth … crop of each person, so that nobody is a probe only."""
    seen: dict[int, int] = {}
    flags = []
    for person in identity.tolist():
        seen[person] = seen.get(person, 0) + 1
        flags.append(seen[person] % 2 == 0)
    return np.array(flags, np.bool_)


def _mean(vectors: Float32Array) -> Float32Array:
    mean = vectors.mean(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), np.float32)


def _judged(
    pictures: Sequence[UnfamiliarPicture],
    depicted: Int64Array,
    gallery: Float32Array,
    people: Int64Array,
    recogniser: Recogniser,
    detector: Detector | None,
    params: UnfamiliarParams,
) -> list[UnfamiliarSight]:
    crops = np.stack([picture.crop_rgb for picture in pictures])
    similarity, nearest = _nearest(crops, gallery, recogniser)
    looks = [_seen(crop, detector) if detector is not None else None for crop in crops]
    is_open = np.array([look is not None and look[2] >= params.min_quality for look in looks], np.bool_)
    at_door: dict[int, tuple[float, int]] = {}
    if is_open.any():
        through = np.flatnonzero(is_open).tolist()
        door_crops = np.stack([look[1] for row in through if (look := looks[row]) is not None])
        values, places = _nearest(door_crops, gallery, recogniser)
        at_door = {row: (float(values[place]), int(places[place])) for place, row in enumerate(through)}
    sights = []
    for row, picture in enumerate(pictures):
        look, door = looks[row], at_door.get(row)
        sights.append(
            UnfamiliarSight(
                kind=picture.kind,
                crop_rgb=picture.crop_rgb,
                det_score=look[0] if look is not None else None,
                quality=_quality(picture.crop_rgb, ARCFACE_TEMPLATE_PX, float(CROP_SIDE_PX)),
                similarity=float(similarity[row]),
                is_of_nearest=bool(people[nearest[row]] == depicted[row]),
                door_similarity=door[0] if door is not None else None,
                is_of_nearest_at_door=door is not None and bool(people[door[1]] == depicted[row]),
            )
        )
    return sights


def _nearest(crops: UInt8Array, gallery: Float32Array, recogniser: Recogniser) -> tuple[Float32Array, Int64Array]:
    """Cosine to, and row of, the nearest person; a crop without a vector is like nobody (-1)."""
    found = recogniser.embed(crops)
    scores = found.vectors @ gallery.T
    nearest = scores.argmax(axis=1).astype(np.int64)
    best = np.where(found.is_valid, scores[np.arange(len(crops)), nearest], np.float32(-1))
    return np.asarray(best, np.float32), nearest


def _seen(crop_rgb: UInt8Array, detector: Detector) -> tuple[float, UInt8Array, float] | None:
    """Score, aligned crop and quality of the best face that the detector finds; None where it finds none."""
    shown = cv2.resize(crop_rgb[:, :, ::-1], (_SHOWN_PX, _SHOWN_PX), interpolation=cv2.INTER_CUBIC)
    edge = (_CANVAS_PX - _SHOWN_PX) // 2
    picture = np.asarray(cv2.copyMakeBorder(shown, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=_WALL), np.uint8)
    found = detector.detect(picture, long_side_px=_CANVAS_PX)
    if not len(found) or not are_alignable(found.landmarks_px[:1])[0]:
        return None
    landmarks, box = found.landmarks_px[0], found.boxes_xyxy_px[0]
    aligned = align_crop(picture, landmarks)
    # The crop had been enlarged to be shown: its size is what it was.
    size_px = float(np.sqrt(max(float((box[2] - box[0]) * (box[3] - box[1])), 0.0))) * CROP_SIDE_PX / _SHOWN_PX
    return float(found.scores[0]), aligned, _quality(aligned, landmarks, size_px)


def _quality(crop_rgb: UInt8Array, landmarks_px: Float32Array, size_px: float) -> float:
    pose = _FRONTAL if landmarks_px is ARCFACE_TEMPLATE_PX else head_pose(landmarks_px)
    return measure(crop_rgb, size_px=size_px, pose=pose).total
