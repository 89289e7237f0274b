"""audit: how far people's five points lie from the detector's, in px of the aligned crop; the ±2 px rule.

A recogniser sees the face only after the five points were laid onto the ArcFace template (112 × 112), so that is where
a wrong point costs something: two px of a small face in the frame are many there. The scale is that of the
least-squares similarity from the detector's points to the template (Umeyama, TPAMI 1991); the template is InsightFace's
`arcface_dst`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facestore.errors import DataError

FloatArray = npt.NDArray[np.float64]

TOLERANCE_PX = 2.0
TEMPLATE_PX: FloatArray = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
TEMPLATE_PX.setflags(write=False)
_MIN_SPREAD_PX = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class PointAudit:
    """One face. Order of points: image-left eye, right eye, nose, mouth left, right."""

    error_px: tuple[float, ...]  # (5,) distance of each human point to the detector's, px of the aligned crop
    is_within: bool  # all five by at most TOLERANCE_PX


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSummary:
    """Many faces."""

    faces: int
    within_share: float  # of faces with all five points within the tolerance, [0, 1]; NaN without faces
    median_px: tuple[float, ...]  # (5,) per point; NaN without faces
    worst_px: tuple[float, ...]  # (5,)


def audit(detector_points: npt.ArrayLike, human_points: npt.ArrayLike) -> PointAudit:
    """Both (5, 2) or flat (10,) px of one frame, finite. Independent of the face's place, size and turn in the frame.

    Raises DataError for another shape, numbers that are none, or detector points that are all on one spot.
    """
    detected, human = _five(detector_points, "detector"), _five(human_points, "human")
    scale = template_scale(detected)
    error_px = scale * np.linalg.norm(human - detected, axis=1)
    return PointAudit(error_px=tuple(error_px.tolist()), is_within=bool((error_px <= TOLERANCE_PX).all()))


def template_scale(points_px: npt.ArrayLike) -> float:
    """px of the aligned 112 × 112 crop that one px of the frame becomes, > 0; of (5, 2) points. Raises as `audit`."""
    points = _five(points_px, "detector")
    centred = points - points.mean(axis=0)
    spread = float(np.ptp(points, axis=0).max())
    if spread <= _MIN_SPREAD_PX:
        raise DataError("the five points of the detector lie on one spot; leave the face out of the audit")
    target = TEMPLATE_PX - TEMPLATE_PX.mean(axis=0)
    u, singular, vt = np.linalg.svd(target.T @ (centred / spread) / 5)
    signs = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])  # a mirrored face is only turned
    scale = float(singular @ signs / (centred / spread).var(axis=0).sum() / spread)
    if not scale > 0:
        raise DataError("the five points of the detector fit the template at no scale; leave the face out of the audit")
    return scale


def summarise(audits: Iterable[PointAudit]) -> AuditSummary:
    """In any order."""
    found = list(audits)
    errors_px = np.array([one.error_px for one in found], dtype=np.float64).reshape(-1, 5)
    if not found:
        nothing = (float("nan"),) * 5
        return AuditSummary(faces=0, within_share=float("nan"), median_px=nothing, worst_px=nothing)
    return AuditSummary(
        faces=len(found),
        within_share=sum(one.is_within for one in found) / len(found),
        median_px=tuple(np.median(errors_px, axis=0).tolist()),
        worst_px=tuple(errors_px.max(axis=0).tolist()),
    )


def _five(points: npt.ArrayLike, whose: str) -> FloatArray:
    found = np.asarray(points, dtype=np.float64)
    if found.shape == (10,):
        found = found.reshape(5, 2)
    if found.shape != (5, 2) or not np.isfinite(found).all():
        raise DataError(f"{whose} points have shape {found.shape} or are no numbers; five finite (x, y) are needed")
    return found
