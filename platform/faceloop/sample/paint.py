"""Paint frames: a background under a moving camera, soft cutouts on it, then what spoils the picture."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from faceloop.sample.geometry import (
    Frame,
    Matrix,
    Placed,
    background_matrix,
    camera_at,
    camera_matrix,
    place,
    pose_at,
    shot_time,
)
from faceloop.sample.people import Cutout
from faceloop.sample.photos import Rgb
from faceloop.sample.scene import Effect, Shot

MIN_VISIBLE = 0.3  # of a face, to count as in view at all
CLEAR_VISIBLE = 0.9  # of a face, to be expected from a detector
REFERENCE_PX = 1080.0  # shorter side of the frame that strengths in px are given for


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    """All that one shot needs to be painted.

    `background` (h, w, 3) RGB; `cutouts` one an actor, in order; `phases` (3, 3) radians of the shake.
    """

    shot: Shot
    frame: Frame
    background: Rgb
    cutouts: tuple[Cutout, ...]
    phases: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where everything is at one time; `faces` holds those in view; `is_hard` as truth means it."""

    camera: Matrix
    placed: tuple[Placed, ...]
    faces: tuple[Placed, ...]
    effects: tuple[Effect, ...]
    light: float


def tinted(cutout: Cutout, rng: np.random.Generator) -> Cutout:
    """The same person in another light: gains within 6 % a channel and a gamma within 0.88 to 1.14."""
    gains = rng.uniform(0.94, 1.06, size=3)
    gamma = rng.uniform(0.88, 1.14)
    levels = (np.arange(256) / 255.0) ** gamma
    table = np.clip(np.round(levels[:, None] * gains * 255.0), 0, 255).astype(np.uint8)  # (256, 3)
    rgb = np.stack([table[cutout.rgb[..., channel], channel] for channel in range(3)], axis=-1)
    return Cutout(person=cutout.person, rgb=rgb, alpha=cutout.alpha, face=cutout.face)


def lay_out(stage: Set, time_s: float) -> Layout:
    """Geometry of one moment, no pixels: truth is made from this alone."""
    shown_s = shot_time(stage.shot, time_s)
    camera = camera_matrix(stage.shot, stage.frame, shown_s, stage.phases)
    placed = []
    for actor, cutout in zip(stage.shot.actors, stage.cutouts, strict=True):
        pose = pose_at(actor.poses, shown_s)
        if pose is not None:
            placed.append(place(cutout, pose, stage.frame, camera))
    return Layout(
        camera=camera,
        placed=tuple(placed),
        faces=tuple(face for face in placed if face.visible >= MIN_VISIBLE),
        effects=tuple(e for e in stage.shot.effects if e.start_s <= shown_s < e.end_s),
        light=camera_at(stage.shot.camera, shown_s).light,
    )


def is_hard(layout: Layout, face: Placed) -> bool:
    """Whether this face is in a spoilt passage or cut by the frame's edge."""
    return bool(layout.effects or face.visible < CLEAR_VISIBLE)


def paint(stage: Set, layout: Layout) -> Rgb:
    """One frame, (height, width, 3) uint8 RGB."""
    picture = _background(stage, layout.camera)
    cutouts = {cutout.person: cutout for cutout in stage.cutouts}
    for face in layout.placed:
        _paste(picture, cutouts[face.person], face.matrix)
    if layout.light != 1.0:
        picture = _lit(picture, layout.light)
    for effect in layout.effects:
        picture = _spoilt(picture, effect, stage.frame.short_px / REFERENCE_PX)
    return picture


def _background(stage: Set, camera: Matrix) -> Rgb:
    """The background under the camera; warped at half size, as the photos have less detail than the frame."""
    width, height = stage.frame.width, stage.frame.height
    rows, columns = stage.background.shape[:2]
    half = np.diag([0.5, 0.5, 1.0]) @ camera @ background_matrix(columns, rows, stage.frame)
    small = cv2.warpAffine(stage.background, half[:2], (width // 2, height // 2), borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(cv2.resize(small, (width, height)), dtype=np.uint8)


def _paste(picture: Rgb, cutout: Cutout, matrix: Matrix) -> None:
    """Blend a cutout into `picture` in place; only the rectangle that it touches is worked on."""
    height, width = cutout.alpha.shape
    corners = matrix @ np.array([[0.0, width, width, 0], [0, 0, height, height], [1, 1, 1, 1]])
    ends = corners[:2] / corners[2]
    x1, y1 = np.maximum(np.floor(ends.min(axis=1)).astype(int), 0)
    x2, y2 = np.minimum(np.ceil(ends.max(axis=1)).astype(int), (picture.shape[1], picture.shape[0]))
    if x2 <= x1 or y2 <= y1:
        return
    local = np.array([[1.0, 0, -x1], [0, 1, -y1], [0, 0, 1]]) @ matrix
    size = (int(x2 - x1), int(y2 - y1))
    rgb = cv2.warpPerspective(cutout.rgb, local, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpPerspective(cutout.alpha, local, size, flags=cv2.INTER_LINEAR)
    weight = cv2.cvtColor(alpha, cv2.COLOR_GRAY2RGB).astype(np.float32) * np.float32(1 / 255)
    there = picture[y1:y2, x1:x2]
    there[:] = cv2.blendLinear(rgb, there, weight[..., 0].copy(), 1 - weight[..., 0])


def _lit(picture: Rgb, gain: float) -> Rgb:
    return np.asarray(cv2.convertScaleAbs(picture, alpha=gain), dtype=np.uint8)


def _spoilt(picture: Rgb, effect: Effect, scale: float) -> Rgb:
    match effect.kind:
        case "defocus":
            # At a quarter of the size: the same look, a tenth of the time.
            small = cv2.GaussianBlur(_smaller(picture, 4), (0, 0), effect.strength * scale / 4)
            spoilt = cv2.resize(small, (picture.shape[1], picture.shape[0]))
        case "motion":
            spoilt = cv2.blur(picture, (max(int(effect.strength * scale), 1), 3))
        case "low_resolution":
            small = _smaller(picture, effect.strength)
            spoilt = cv2.resize(small, (picture.shape[1], picture.shape[0]))
        case "dark":
            spoilt = _lit(picture, 1 / effect.strength)
    return np.asarray(spoilt, dtype=np.uint8)


def _smaller(picture: Rgb, divisor: float) -> Rgb:
    size = (int(picture.shape[1] / divisor), int(picture.shape[0] / divisor))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
