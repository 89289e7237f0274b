"""What the page shows, as values: the template only lays them out."""

from dataclasses import dataclass

from faceloop.release.splits import Balance
from faceloop.reports.flow import Flow
from faceloop.reports.histograms import Histogram
from faceloop.reports.scoring import Scores
from faceloop.review.figures import ReviewFigures
from facestore.records import Footage, Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """One face picture; `src` is None when the page's budget is used up or the crop is gone."""

    src: str | None
    alt: str
    caption: str  # where and when, quality
    confidence: float | None
    is_low: bool  # marked: low confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetView:
    name: str
    identity_id: str
    faces: int
    tracklets: int
    footage: int
    subsets: tuple[str, ...]
    mean_confidence: float
    low_confidence_shots: int
    first: str
    last: str
    photos: tuple[Photo, ...]
    shots_not_shown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """Pictures under one heading."""

    name: str
    photos: tuple[Photo, ...]
    not_shown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionView:
    """One question to people, as the plan has it."""

    title: str
    reason: str
    detail: str
    strips: tuple[Strip, ...]
    gain: float  # pairs of faces
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """One input that was set aside, or read only in part."""

    name: str
    stage: str
    reason: str
    meaning: str
    detail: str
    is_partial: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsetRow:
    name: str
    footage: int
    seconds: float
    faces: int
    tracklets: int
    identities: int
    unknown_tracklets: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRow:
    split: str
    shards: int
    balance: Balance


@dataclass(frozen=True, slots=True, kw_only=True)
class FootageRow:
    footage: Footage
    reading: Reading | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    flag: str
    meaning: str
    footage: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Everything on one page, in the order in which it is shown."""

    title: str
    sentence: str
    notices: tuple[str, ...]
    flow: Flow
    quarantined: tuple[Quarantined, ...]
    quarantined_not_shown: int
    flags: tuple[Flag, ...]
    scores: Scores | None
    truth_name: str
    sheets: tuple[SheetView, ...]
    identities: int
    unknown: tuple[Photo, ...]
    unknown_tracklets: int
    unknown_faces: int
    low_confidence: float
    questions: tuple[QuestionView, ...]
    questions_planned: int
    review: ReviewFigures | None  # None: nobody was ever asked
    histograms: tuple[Histogram, ...]
    subsets: tuple[SubsetRow, ...]
    splits: tuple[SplitRow, ...]
    balance_ratio: float
    footage: tuple[FootageRow, ...]
    footage_not_shown: int
