"""compose_audit: suspects to a contact sheet, each beside the best shots of its folder and of whom it resembles."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from faceloop.audit.suspects import Photos, Suspect, SuspectReason
from faceloop.reports.album import Album
from faceloop.reports.page import Photo

_SIDE_PX = 150
_SHOTS_SIDE_PX = 80
_SHOTS = 5
_WORDS: dict[SuspectReason, str] = {
    "same_picture_elsewhere": "the same picture lies in another folder",
    "looks_like": "looks like somebody else",
    "two_people": "the folder holds two people, as many photos of each",
    "nobody_here": "resembles nobody in its folder",
    "weak": "hardly resembles its folder",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspectView:
    rank: int
    path: str
    folder: str
    reason: SuspectReason
    why: str
    facts: tuple[str, ...]
    photo: Photo
    own_shots: tuple[Photo, ...]
    other_name: str | None  # shown where the suspect resembles that folder more than its own
    other_shots: tuple[Photo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSheet:
    """Everything on the page."""

    title: str
    sentence: str
    suspects: tuple[SuspectView, ...]
    not_shown: int
    without_face: tuple[str, ...]
    without_folder: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Desk:
    photos: Photos
    album: Album
    crop_keys: Sequence[str]
    best: dict[int, list[int]]  # folder → faces that are no suspects, best first

    def photo(self, face: int, side_px: int) -> Photo:
        path = self.photos.paths[int(self.photos.photo_of_face[face])]
        return Photo(
            src=self.album.picture(self.crop_keys[face], side_px),
            alt=f"Face on {path}",
            caption=path,
            confidence=None,
            is_low=False,
        )

    def shots(self, folder: int, besides: int) -> tuple[Photo, ...]:
        faces = [face for face in self.best.get(folder, []) if int(self.photos.photo_of_face[face]) != besides]
        return tuple(self.photo(face, _SHOTS_SIDE_PX) for face in faces[:_SHOTS])


def compose_audit(
    suspects: Sequence[Suspect],
    photos: Photos,
    *,
    name: str,
    shown: int,
    album: Album,
    crop_keys: Sequence[str],
    quality: Sequence[float],
    without_face: tuple[str, ...],
    without_folder: tuple[str, ...],
) -> AuditSheet:
    """The page of the first `shown` suspects. Best shots are faces by quality, suspects of the folder last."""
    suspected = {suspect.photo for suspect in suspects}
    best: dict[int, list[int]] = {}
    is_last = np.array([photo in suspected for photo in photos.photo_of_face.tolist()])
    for face in np.lexsort((-np.asarray(quality), is_last)).tolist():
        best.setdefault(int(photos.folders[photos.photo_of_face[face]]), []).append(face)
    desk = _Desk(photos=photos, album=album, crop_keys=crop_keys, best=best)
    sentence = (
        f"{len(suspects)} of {len(photos.paths):,} photos in {len(photos.folder_names):,} folders do not clearly fit "
        "the folder that they lie in. Most doubtful first; a person decides, nothing was changed."
    )
    return AuditSheet(
        title=f"Photos that may be in the wrong folder: {name}",
        sentence=sentence,
        suspects=tuple(_view(rank, suspect, desk) for rank, suspect in enumerate(suspects[:shown], start=1)),
        not_shown=max(0, len(suspects) - shown),
        without_face=without_face,
        without_folder=without_folder,
    )


def _view(rank: int, suspect: Suspect, desk: _Desk) -> SuspectView:
    folder = int(desk.photos.folders[suspect.photo])
    is_other_shown = suspect.reason in ("looks_like", "same_picture_elsewhere") and suspect.other_folder is not None
    other = suspect.other_folder if is_other_shown else None
    return SuspectView(
        rank=rank,
        path=desk.photos.paths[suspect.photo],
        folder=desk.photos.folder_names[folder],
        reason=suspect.reason,
        why=_WORDS[suspect.reason],
        facts=_facts(suspect, desk.photos),
        photo=desk.photo(suspect.face, _SIDE_PX),
        own_shots=desk.shots(folder, suspect.photo),
        other_name=None if other is None else desk.photos.folder_names[other],
        other_shots=() if other is None else desk.shots(other, suspect.photo),
    )


def _facts(suspect: Suspect, photos: Photos) -> tuple[str, ...]:
    facts = []
    if suspect.own_sigmas is not None:
        facts.append(f"own folder {suspect.own_sigmas:+.1f} σ")
    if suspect.other_folder is not None and suspect.other_sigmas is not None:
        facts.append(f"{photos.folder_names[suspect.other_folder]} {suspect.other_sigmas:+.1f} σ")
    if suspect.recognisers > 1:
        facts.append(f"{suspect.agreeing} of {suspect.recognisers} recognisers in doubt")
    if suspect.is_stranger_bigger:
        facts.append("a bigger face is on the photo")
    return tuple(facts)
