"""Five-point alignment to the ArcFace template: the crop that every recogniser here was trained on.

Template: Deng et al., ArcFace, CVPR 2019, in the 112 × 112 form that InsightFace publishes
(`insightface.utils.face_align.arcface_dst`; a test holds both equal). The similarity transform is the
least-squares one of Umeyama, TPAMI 1991, in closed form; crops equal InsightFace's `norm_crop` pixel for
pixel (a test says so; hence its float32 and its order of operations), without its dependence on a
scikit-image call that is about to be removed.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from faceloop.vision.arrays import BoolArray, Float32Array, UInt8Array
from facestore.errors import DataError

ALIGNMENT = "arcface-112-5pt"
CROP_SIDE_PX = 112
ARCFACE_TEMPLATE_PX: Float32Array = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float32,
)
ARCFACE_TEMPLATE_PX.setflags(write=False)
_MIN_SPREAD_PX = 1e-3


def are_alignable(landmarks_px: Float32Array) -> BoolArray:
    """Which of (n, 5, 2) landmarks are finite and not all on one point; (n,) bool."""
    with np.errstate(invalid="ignore"):
        spread = np.ptp(landmarks_px.astype(np.float64), axis=1).max(axis=1, initial=0.0)
    return np.asarray(np.isfinite(spread) & (spread > _MIN_SPREAD_PX), dtype=np.bool_)


def similarity_to_template(landmarks_px: Float32Array, *, size_px: int = CROP_SIDE_PX) -> NDArray[np.float64]:
    """The (2, 3) matrix that takes (5, 2) image landmarks onto the template of `size_px`.

    `size_px` is a positive multiple of 112 (a larger template, not a looser crop). Raises DataError for
    landmarks of another shape, not finite, or all on one point.
    """
    if size_px <= 0 or size_px % CROP_SIDE_PX:
        raise DataError(f"crop size {size_px} px is not a positive multiple of {CROP_SIDE_PX}; use 112 or 224")
    if landmarks_px.shape != (5, 2):
        raise DataError(f"landmarks have shape {landmarks_px.shape}, expected (5, 2); pass one face at a time")
    if not are_alignable(landmarks_px[None])[0]:
        raise DataError("landmarks are not finite or lie on one point; drop the face by `are_alignable` first")
    source = landmarks_px.astype(np.float32)
    target = ARCFACE_TEMPLATE_PX * np.float32(size_px / CROP_SIDE_PX)
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    centred = source - source_mean
    u, singular, vt = np.linalg.svd((target - target_mean).T @ centred / len(source))
    signs = np.ones(2)
    if np.linalg.det(u) * np.linalg.det(vt) < 0:
        signs[1] = -1.0  # a mirrored face is still only rotated: never reflect a crop
    rotation = u @ np.diag(signs) @ vt
    scale = 1.0 / centred.var(axis=0).sum() * (singular @ signs)
    matrix = np.empty((2, 3), dtype=np.float64)
    matrix[:, 2] = target_mean - scale * (rotation @ source_mean)
    matrix[:, :2] = rotation * scale
    return matrix


def align_crop(image_bgr: UInt8Array, landmarks_px: Float32Array, *, size_px: int = CROP_SIDE_PX) -> UInt8Array:
    """One aligned face as RGB uint8 (size_px, size_px, 3), black outside of the image.

    `image_bgr` is uint8 (h, w, 3); `landmarks_px` (5, 2) in image pixels: eyes, nose, mouth corners, left
    before right as seen in the image. Raises DataError as `similarity_to_template` does.
    """
    matrix = similarity_to_template(landmarks_px, size_px=size_px)
    crop_bgr = cv2.warpAffine(image_bgr, matrix, (size_px, size_px), borderValue=0.0)
    return np.ascontiguousarray(crop_bgr[:, :, ::-1], dtype=np.uint8)


def align_crops(image_bgr: UInt8Array, landmarks_px: Float32Array, *, size_px: int = CROP_SIDE_PX) -> UInt8Array:
    """All faces of one image: (n, 5, 2) landmarks to (n, size_px, size_px, 3) RGB uint8, in the same order."""
    crops = np.empty((len(landmarks_px), size_px, size_px, 3), dtype=np.uint8)
    for row, landmarks in enumerate(landmarks_px):
        crops[row] = align_crop(image_bgr, landmarks, size_px=size_px)
    return crops
