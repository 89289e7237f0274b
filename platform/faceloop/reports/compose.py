"""compose: material to a page. Chooses what is shown, fetches the pictures, finds the words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from faceloop.clustering.knn import SearchParams
from faceloop.reports.album import Album
from faceloop.reports.doubt import Moments, doubtful_pairs
from faceloop.reports.flow import Flow
from faceloop.reports.histograms import (
    Histogram,
    genuine_impostor_histogram,
    own_rival_histogram,
    quality_histogram,
    size_histogram,
)
from faceloop.reports.material import Artifacts, Material, Shot
from faceloop.reports.page import Page, PairView, Photo, SheetView
from faceloop.reports.people import Sheet, SheetLimits, gather_people
from faceloop.reports.rows import flags, footage_rows, sentence, set_aside, split_rows, subset_rows
from faceloop.reports.scoring import Scores
from faceloop.reports.words import plural, short_id, sighting, words
from facereview.questions import SamePersonQuestion, Side
from facestore.crops import CropReader
from facestore.records import Face, Footage
from facestore.tables import read_columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What bounds the size of a page."""

    sheets: SheetLimits
    pairs: int
    max_margin: float  # similarity from the threshold above which a pair is not doubtful
    rows: int  # of the longest tables
    picture_bytes: int  # base64 characters of all pictures together
    sheet_side_px: int
    pair_side_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Params of other stages that the page explains."""

    threshold: float
    balance_ratio: float
    search: SearchParams


@dataclass(frozen=True, slots=True, kw_only=True)
class _Desk:
    """What turning shots into photos takes."""

    album: Album
    footage: Mapping[str, Footage]
    shots: Mapping[str, Shot]  # by face_id
    limits: Limits

    def photo(self, shot: Shot, side_px: int) -> Photo:
        where = sighting(self.footage.get(shot.footage_id), shot)
        who = short_id(shot.identity_id) if shot.identity_id else "unknown"
        return Photo(
            src=self.album.picture(shot.crop_key, side_px),
            alt=f"Face of {who}, {where}",
            caption=f"{where} · quality {shot.quality:.2f} · {shot.size_px:.0f} px",
            confidence=shot.confidence if shot.identity_id else None,
            is_low=shot.identity_id is not None and shot.confidence < self.limits.sheets.low_confidence,
        )


def compose(
    material: Material,
    flow: Flow,
    scores: Scores | None,
    *,
    artifacts: Artifacts,
    numbers: Numbers,
    limits: Limits,
    truth_name: str,
) -> Page:
    """The page of a root. Pictures are read one by one until `limits.picture_bytes` are used."""
    people = gather_people(material, limits.sheets)
    crops = CropReader(artifacts.crops)
    desk = _Desk(
        album=Album(crops=crops, bytes_left=limits.picture_bytes),
        footage={record.footage_id: record for record in material.footage},
        shots={shot.face_id: shot for shot in material.shots},
        limits=limits,
    )
    questions = doubtful_pairs(
        material.tracklets,
        moments_of(artifacts),
        threshold=numbers.threshold,
        limit=limits.pairs,
        max_margin=limits.max_margin,
        search=numbers.search,
    )
    try:
        pairs = tuple(pair for question in questions if (pair := _pair(question, desk)) is not None)
        sheets = tuple(_sheet(sheet, desk) for sheet in people.sheets)
        unknown = tuple(desk.photo(shot, limits.sheet_side_px) for shot in people.unknown_shown)
    finally:
        crops.close()
    aside, rows = set_aside(material), footage_rows(material)
    return Page(
        title="Faceloop report",
        sentence=sentence(material),
        notices=_notices(flow, desk.album),
        flow=flow,
        quarantined=tuple(aside[: limits.rows]),
        quarantined_not_shown=max(0, len(aside) - limits.rows),
        flags=flags(material),
        scores=scores,
        truth_name=truth_name,
        sheets=sheets,
        identities=people.identities,
        unknown=unknown,
        unknown_tracklets=people.unknown_tracklets,
        unknown_faces=material.unknown_faces,
        low_confidence=limits.sheets.low_confidence,
        pairs=pairs,
        threshold=numbers.threshold,
        histograms=_histograms(material, scores, numbers),
        subsets=subset_rows(material),
        splits=split_rows(material, numbers.balance_ratio),
        balance_ratio=numbers.balance_ratio,
        footage=tuple(rows[: limits.rows]),
        footage_not_shown=max(0, len(rows) - limits.rows),
    )


def moments_of(artifacts: Artifacts) -> Moments:
    """A function from tracklets to the pictures (footage_id, pts_ms) that their accepted faces are in."""
    table = read_columns(artifacts.faces, "faces", Face, ("tracklet_id", "footage_id", "pts_ms", "rejected"))
    table = table.filter(table["rejected"].is_null()).sort_by("tracklet_id").combine_chunks()
    runs = table["tracklet_id"].combine_chunks().value_counts()  # of a sorted column: in its order
    tracklets, counts = runs.field("values").to_pylist(), runs.field("counts").to_pylist()
    first_row = dict(zip(tracklets, [0, *accumulate(counts)], strict=False))
    rows_of = dict(zip(tracklets, counts, strict=True))

    def of(tracklet_ids: Sequence[str]) -> set[tuple[str, int]]:
        parts = [table.slice(first_row[name], rows_of[name]) for name in tracklet_ids if name in rows_of]
        return {
            moment
            for part in parts
            for moment in zip(part["footage_id"].to_pylist(), part["pts_ms"].to_pylist(), strict=True)
        }

    return of


def _notices(flow: Flow, album: Album) -> tuple[str, ...]:
    notices = []
    if flow.missing:
        notices.append(f"Not run yet: {', '.join(flow.missing)}. What they would say is missing below.")
    if flow.stale:
        notices.append(f"Out of date: {', '.join(flow.stale)} ran on inputs that were replaced since; run again.")
    if album.missing:
        notices.append(
            f"{plural(len(album.missing), 'crop')} could not be read from the crop stores; run detect again."
        )
    if album.bytes_left <= 0:
        notices.append("The page's room for pictures is used up: later faces are listed without one.")
    return tuple(notices)


def _histograms(material: Material, scores: Scores | None, numbers: Numbers) -> tuple[Histogram, ...]:
    if scores is None:
        similarity = own_rival_histogram(material.tracklets, numbers.search)
    else:
        similarity = genuine_impostor_histogram(material.tracklets, scores.person_of_tracklet)
    return quality_histogram(material.measures), size_histogram(material.measures), similarity


def _sheet(sheet: Sheet, desk: _Desk) -> SheetView:
    def place(shot: Shot) -> str:
        return sighting(desk.footage.get(shot.footage_id), shot)

    return SheetView(
        name=short_id(sheet.identity_id),
        identity_id=sheet.identity_id,
        faces=sheet.faces,
        tracklets=sheet.tracklets,
        footage=sheet.footage,
        subsets=sheet.subsets,
        mean_confidence=sheet.mean_confidence,
        low_confidence_shots=sheet.low_confidence_shots,
        first=place(sheet.first),
        last=place(sheet.last),
        photos=tuple(desk.photo(shot, desk.limits.sheet_side_px) for shot in sheet.shown),
        shots_not_shown=sheet.shots - len(sheet.shown),
    )


def _pair(question: SamePersonQuestion, desk: _Desk) -> PairView | None:
    """None where a side's crop is no longer in the tables."""
    left, right = desk.shots.get(question.left.face_id), desk.shots.get(question.right.face_id)
    if left is None or right is None:
        return None
    return PairView(
        left=desk.photo(left, desk.limits.pair_side_px),
        right=desk.photo(right, desk.limits.pair_side_px),
        left_name=_side_name(question.left),
        right_name=_side_name(question.right),
        similarity=question.similarity,
        margin=question.margin,
        reason=words(question.reason),
        why=_why(question),
    )


def _side_name(side: Side) -> str:
    return short_id(side.identity_id) if side.identity_id else "unknown"


def _why(question: SamePersonQuestion) -> str:
    is_member = question.reason == "weak_member"
    if question.margin < 0:
        return "kept together below the threshold" if is_member else "kept apart above the threshold"
    return f"{question.margin:.2f} {'above' if is_member else 'below'} the threshold"
