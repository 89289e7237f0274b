"""The words of a film script: poses, actors, cameras, effects, shots, clips and stills. Values only.

Places are shares of the frame's width and height in a scene that the camera has not moved yet; times are
seconds since the shot began; face sizes are shares of the frame's shorter side.
"""

from dataclasses import dataclass
from typing import Literal

from faceloop.sample.photos import SourcePhoto

EffectKind = Literal["defocus", "motion", "low_resolution", "dark"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """Where a person is at one time: `x` the face's centre, `size` its width, `yaw` a turn in about [-1, 1].

    Shoulders meet the frame's lower edge, or stand `lift` above it.
    """

    at_s: float
    x: float
    size: float
    lift: float = 0.0
    roll_deg: float = 0.0
    yaw: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """One person in a shot, moving smoothly from pose to pose, in view from the first to the last."""

    person: str
    poses: tuple[Pose, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraKey:
    """Camera at one time: shift of the view as a share of the frame, zoom ≥ 1, brightness as a gain."""

    at_s: float
    shift_x: float = 0.0
    shift_y: float = 0.0
    zoom: float = 1.0
    light: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A passage that spoils the picture; `strength` is px for blurs, a divisor for low_resolution and dark.

    Lengths in px are for a frame 1080 px high on its shorter side.
    """

    kind: EffectKind
    start_s: float
    end_s: float
    strength: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """A passage in which the picture stands still: near-duplicate frames."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One uncut take; `shake` is the camera's unrest as a share of the frame's shorter side."""

    background: SourcePhoto
    duration_s: float
    actors: tuple[Actor, ...] = ()
    camera: tuple[CameraKey, ...] = (CameraKey(at_s=0.0),)
    shake: float = 0.0
    effects: tuple[Effect, ...] = ()
    freezes: tuple[Freeze, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One video file; `width` and `height` are as displayed.

    `rotation_deg` is the clockwise turn that a player must apply (0, or 90 as a phone held upright writes
    it). `has_variable_rate` spaces frames unevenly around 1 / `fps`.
    """

    path: str
    width: int
    height: int
    fps: int
    shots: tuple[Shot, ...]
    rotation_deg: Literal[0, 90] = 0
    has_variable_rate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Still:
    """One JPEG, the first frame of `shot`; `orientation` is the EXIF tag, `width` and `height` as displayed."""

    path: str
    width: int
    height: int
    shot: Shot
    orientation: Literal[1, 6, 8] = 1
    has_gps: bool = False
    quality: int = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A second file made from a photo: the same bytes, or encoded again at a lower quality."""

    source: str
    path: str
    is_exact: bool
