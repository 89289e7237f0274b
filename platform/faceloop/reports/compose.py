"""compose: material to a page. Chooses what is shown, fetches the pictures, finds the words."""

from collections.abc import Mapping
from dataclasses import dataclass

from faceloop.clustering.knn import SearchParams
from faceloop.redaction import Covers
from faceloop.reports.album import Album
from faceloop.reports.asking import question_views, read_plan
from faceloop.reports.flow import Flow
from faceloop.reports.histograms import (
    Histogram,
    genuine_impostor_histogram,
    own_rival_histogram,
    quality_histogram,
    size_histogram,
)
from faceloop.reports.material import Artifacts, Material, Shot
from faceloop.reports.page import Page, Photo, SheetView
from faceloop.reports.people import Sheet, SheetLimits, gather_people
from faceloop.reports.rows import flags, footage_rows, sentence, set_aside, split_rows, subset_rows
from faceloop.reports.scoring import Scores
from faceloop.reports.words import plural, short_id, sighting
from faceloop.review.figures import ReviewFigures
from facestore.crops import CropReader
from facestore.keymarker import is_without_pictures
from facestore.records import Footage


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What bounds the size of a page."""

    sheets: SheetLimits
    questions: int
    rows: int  # of the longest tables
    picture_bytes: int  # base64 characters of all pictures together
    sheet_side_px: int
    question_side_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Params of other stages that the page explains."""

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

    def asked(self, face_id: str) -> Photo | None:
        """The picture of a face that a question shows; None for one that the tables no longer have."""
        shot = self.shots.get(face_id)
        return None if shot is None else self.photo(shot, self.limits.question_side_px)


def compose(
    material: Material,
    flow: Flow,
    scores: Scores | None,
    *,
    review: ReviewFigures | None,
    covers: Covers,
    artifacts: Artifacts,
    numbers: Numbers,
    limits: Limits,
    truth_name: str,
) -> Page:
    """The page of a root. Pictures are read one by one until `limits.picture_bytes` are used."""
    people = gather_people(material, limits.sheets)
    crops = CropReader(artifacts.crops)
    desk = _Desk(
        album=Album(
            crops=crops,
            bytes_left=limits.picture_bytes,
            covers=covers,
            is_left_out=is_without_pictures(artifacts.crops),
        ),
        footage={record.footage_id: record for record in material.footage},
        shots={shot.face_id: shot for shot in material.shots},
        limits=limits,
    )
    plan = read_plan(artifacts.questions)
    try:
        questions = question_views(plan, desk.asked, limits.questions)
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
        questions=questions,
        questions_planned=len(plan),
        review=review,
        histograms=_histograms(material, scores, numbers),
        subsets=subset_rows(material),
        splits=split_rows(material, numbers.balance_ratio),
        balance_ratio=numbers.balance_ratio,
        footage=tuple(rows[: limits.rows]),
        footage_not_shown=max(0, len(rows) - limits.rows),
    )


def _notices(flow: Flow, album: Album) -> tuple[str, ...]:
    notices = []
    if flow.missing:
        notices.append(f"Not run yet: {', '.join(flow.missing)}. What they would say is missing below.")
    if flow.stale:
        notices.append(f"Out of date: {', '.join(flow.stale)} ran on inputs that were replaced since; run again.")
    if album.is_left_out:
        notices.append("Pictures are left out: this root is encrypted and pages are not. `faceloop keys pictures on`")
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
