"""The eight people of the sample footage: where they are in their source photos, cut out softly.

Face boxes and outlines were measured once, by hand and eye, in pixels of the source photo. People are named
by their place in the photo, not by who they are.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from faceloop.sample.photos import ASTRONAUT, GROUP, OFFICER, Rgb, SourcePhoto, read_photo

FEATHER_PX = 2.2
FADE_SHARE = 0.16  # of the cutout's height, faded out at its lower end
PAD_PX = 8
ENLARGE = 2  # cutouts are enlarged once, finely, so that the warp of every frame may be quick


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonSource:
    """One person in a source photo; `face` is x1, y1, x2, y2 and `outline` "x,y x,y …", both in its px."""

    person: str
    photo: SourcePhoto
    face: tuple[float, float, float, float]
    outline: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutout:
    """Head and shoulders of one person: `rgb` (h, w, 3) uint8, `alpha` (h, w) uint8, `face` box in its px."""

    person: str
    rgb: Rgb
    alpha: npt.NDArray[np.uint8]
    face: tuple[float, float, float, float]


PEOPLE = (
    PersonSource(
        person="group-1",
        photo=GROUP,
        face=(61, 269, 167, 397),
        outline="51,247 75,236 114,245 155,285 179,329 186,384 232,384 242,432 274,475 274,559 17,559 "
        "13,520 0,513 0,431 27,427 20,315 27,280",
    ),
    PersonSource(
        person="group-2",
        photo=GROUP,
        face=(267, 152, 372, 278),
        outline="307,104 362,107 382,125 406,131 410,140 395,147 394,180 404,201 404,228 440,240 469,255 "
        "469,389 282,389 280,359 260,347 275,302 300,285 318,272 309,265 299,247 284,222 271,190 266,146 "
        "276,126",
    ),
    PersonSource(
        person="group-3",
        photo=GROUP,
        face=(466, 267, 568, 412),
        outline="499,221 573,226 592,240 606,265 604,300 591,335 568,358 559,385 573,400 586,440 593,491 "
        "593,559 350,559 350,440 372,408 408,384 445,372 461,345 460,290 472,241",
    ),
    PersonSource(
        person="group-4",
        photo=GROUP,
        face=(748, 353, 846, 475),
        outline="804,292 854,308 874,336 870,391 906,400 909,490 905,589 645,589 650,530 669,491 699,452 "
        "746,421 745,370 752,316",
    ),
    PersonSource(
        person="group-5",
        photo=GROUP,
        face=(906, 59, 1006, 203),
        outline="958,0 1002,0 1035,26 1049,50 1058,110 1062,132 1108,142 1110,345 877,345 880,290 886,235 "
        "905,215 938,208 947,200 936,186 929,170 923,156 919,138 914,120 905,90 899,74 880,52 913,25",
    ),
    PersonSource(
        person="group-6",
        photo=GROUP,
        face=(1126, 273, 1221, 397),
        outline="1165,240 1195,234 1225,242 1243,265 1253,310 1258,380 1262,432 1240,440 1254,454 1279,499 "
        "1271,539 1060,539 1056,470 1064,437 1112,428 1125,413 1122,308 1132,270 1148,250",
    ),
    PersonSource(
        person="astronaut",
        photo=ASTRONAUT,
        face=(178, 63, 268, 177),
        outline="227,16 276,31 296,58 301,90 290,117 266,137 256,174 289,203 303,233 340,262 352,286 "
        "370,359 31,359 31,331 60,253 118,201 140,158 181,147 179,132 155,98 156,58 201,23",
    ),
    PersonSource(
        person="officer",
        photo=OFFICER,
        face=(183, 120, 353, 333),
        outline="257,28 279,35 313,44 344,65 353,87 365,89 372,110 365,160 375,207 361,262 330,301 330,313 "
        "365,342 492,393 511,434 505,540 16,540 27,459 24,421 38,411 53,381 131,354 200,315 185,290 172,262 "
        "160,200 164,175 160,130 150,110 158,92 172,84 179,66 208,46 228,38",
    ),
)


def cut_out(source: PersonSource, photo: Rgb) -> Cutout:
    """Cut one person out of their photo (height, width, 3) with a feathered matte that fades out below."""
    outline = np.array([point.split(",") for point in source.outline.split()], dtype=np.int32)  # (n, 2)
    height, width = photo.shape[:2]
    x1, y1 = np.maximum(outline.min(axis=0) - PAD_PX, 0)
    x2, y2 = np.minimum(outline.max(axis=0) + PAD_PX, (width, height))
    matte = np.zeros((y2 - y1, x2 - x1), np.uint8)
    cv2.fillPoly(matte, [outline - np.array([x1, y1], np.int32)], 255)
    soft = cv2.GaussianBlur(cv2.erode(matte, np.ones((3, 3), np.uint8)), (0, 0), FEATHER_PX)
    alpha = soft.astype(np.float32) * _lower_fade(y2 - y1, x2 - x1)
    # A clear rim, so that a warp never smears the last column over the background.
    alpha[[0, -1], :] = 0
    alpha[:, [0, -1]] = 0
    size = (int(x2 - x1) * ENLARGE, int(y2 - y1) * ENLARGE)
    rgb = cv2.resize(photo[y1:y2, x1:x2], size, interpolation=cv2.INTER_CUBIC)
    fx1, fy1, fx2, fy2 = (edge * ENLARGE for edge in source.face)
    left, top = float(x1) * ENLARGE, float(y1) * ENLARGE
    return Cutout(
        person=source.person,
        rgb=np.asarray(rgb, dtype=np.uint8),
        alpha=cv2.resize(np.round(alpha).astype(np.uint8), size).astype(np.uint8),
        face=(fx1 - left, fy1 - top, fx2 - left, fy2 - top),
    )


def load_cutouts() -> tuple[Cutout, ...]:
    """Cut out all people; each source photo is read and checked once. Raises DataError as read_photo does."""
    photos = {source.photo: read_photo(source.photo) for source in PEOPLE}
    return tuple(cut_out(source, photos[source.photo]) for source in PEOPLE)


def _lower_fade(height: int, width: int) -> npt.NDArray[np.float32]:
    """Weights (height, width) in [0, 1] that round the shoulders off, so no cutout ends in a straight line."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    sag = 0.10 * height * ((x - width / 2) / (width / 2)) ** 2
    depth = (height - PAD_PX - sag - y) / (FADE_SHARE * height)
    edge = np.minimum(x, width - 1 - x) / (0.06 * width)
    # The sides fade only below the face: hair must keep its outline.
    side = np.where(y > 0.62 * height, np.clip(edge, 0, 1), 1)
    rise = np.clip(depth, 0, 1)
    weights: npt.NDArray[np.float32] = (rise * rise * (3 - 2 * rise) * side).astype(np.float32)
    return weights
