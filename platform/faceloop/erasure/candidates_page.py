"""The page on which somebody sees whom a photo resembles, and says who it is. Faces of candidates and no others.

Pictures are cut wide, so that people recognise people; whoever else is on one is made unrecognisable.
"""

import base64
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from faceloop.erasure.probe_papers import Candidate, Probe
from faceloop.redaction import Box, Covers, covered
from faceloop.reports.album import shrunk
from faceloop.runner import Workspace
from facestore.crops import CropReader
from facestore.errors import DataError, ShardCorrupt
from facestore.images import UInt8Array, encode_jpeg
from facestore.records import Face
from facestore.tables import read_columns

_SIDE_PX = 96
_JPEG_QUALITY = 80
_MOST_ALIKE, _LEAST_ALIKE = 18, 6  # of a candidate's faces: the least alike show whether it is one person
_ID_DIGITS = 12  # of a face, that the page gives
_SURE_SIGMAS, _LIKELY_SIGMAS = 5.0, 3.7  # far beyond strangers; as parts of one person are clustered


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    face: str  # its first digits
    image: str | None  # data: URI; None where there is no picture any more
    is_confirmed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Card:
    candidate: Candidate
    words: str
    shown: tuple[_Shown, ...]
    not_shown: int
    is_confirmed: bool  # all of it


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a face is to be seen, and what else is there."""

    crop_key: str | None
    box: Box
    others: tuple[Box, ...]


def candidates_page(work: Workspace, probe: Probe, picture_jpeg: bytes | None) -> str:
    """HTML that needs nothing else. `picture_jpeg`: the probe's face; None once it is deleted."""
    confirmed = set(probe.confirmed.face_ids) if probe.confirmed else set()
    places = _places(work, {face for one in probe.candidates for face in one.face_ids})
    reader = CropReader(work.path("crops"))
    try:
        cards = [_card(one, places, reader, confirmed) for one in probe.candidates]
    finally:
        reader.close()
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("faceloop", "erasure"), PackageLoader("faceloop", "reports")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    picture = _data_uri(picture_jpeg) if picture_jpeg else None
    script = environment.get_template("candidates.js.j2").render()  # no other runs: the page's policy has its digest
    return environment.get_template("candidates.html.j2").render(
        probe=probe,
        cards=cards,
        picture=picture,
        root=shlex.quote(str(work.root.absolute())),
        script_sha256=base64.b64encode(sha256(script.encode()).digest()).decode("ascii"),
    )


def _looked_at(candidate: Candidate, places: Mapping[str, _Place]) -> Sequence[str]:
    """Faces with a picture: of a tracklet in a video these are its best shots."""
    faces = [face for face in candidate.face_ids if face in places and places[face].crop_key is not None]
    return faces if len(faces) <= _MOST_ALIKE + _LEAST_ALIKE else (*faces[:_MOST_ALIKE], *faces[-_LEAST_ALIKE:])


def _card(candidate: Candidate, places: Mapping[str, _Place], reader: CropReader, confirmed: set[str]) -> _Card:
    faces = _looked_at(candidate, places)
    return _Card(
        candidate=candidate,
        words=_words(candidate.sigmas),
        shown=tuple(
            _Shown(face=face[:_ID_DIGITS], image=_image(face, places, reader), is_confirmed=face in confirmed)
            for face in faces
        ),
        not_shown=len(candidate.face_ids) - len(faces),
        is_confirmed=confirmed.issuperset(candidate.face_ids),
    )


def _words(sigmas: float) -> str:
    if sigmas >= _SURE_SIGMAS:
        return "very alike"
    return "alike" if sigmas >= _LIKELY_SIGMAS else "a little alike"


def _places(work: Workspace, wanted: set[str]) -> dict[str, _Place]:
    columns = ("face_id", "footage_id", "pts_ms", "bbox", "crop_key")
    rows = read_columns(work.path("faces"), "faces", Face, columns).to_pylist()
    moments = {(row["footage_id"], row["pts_ms"]) for row in rows if row["face_id"] in wanted}
    seen: dict[tuple[str, int], dict[str, Box]] = defaultdict(dict)
    for row in rows:
        if (moment := (row["footage_id"], row["pts_ms"])) in moments:
            seen[moment][row["face_id"]] = tuple(row["bbox"])
    return {
        row["face_id"]: _Place(
            crop_key=row["crop_key"],
            box=seen[row["footage_id"], row["pts_ms"]][row["face_id"]],
            others=tuple(
                box for face, box in sorted(seen[row["footage_id"], row["pts_ms"]].items()) if face != row["face_id"]
            ),
        )
        for row in rows
        if row["face_id"] in wanted
    }


def _image(face: str, places: Mapping[str, _Place], reader: CropReader) -> str | None:
    place = places.get(face)
    if place is None or place.crop_key is None:
        return None
    try:
        image = reader.image("context", place.crop_key)
    except (ShardCorrupt, DataError, KeyError, OSError):  # its key was destroyed, or it is damaged
        return None
    return _data_uri(encode_jpeg(shrunk(alone(image, place.box, place.others), _SIDE_PX), _JPEG_QUALITY))


def alone(image: UInt8Array, box: Box, others: Sequence[Box]) -> UInt8Array:
    """A context crop (side, side, 3) on which only the face of `box` can be recognised; boxes in px of the frame."""
    if not others:
        return image
    moment = ("", 0)
    covers = Covers(boxes={moment: (box, *others)}, crops={"": (*moment, box)})
    own, *rest = covers.of_crop("", image.shape[0])
    shown = covered(image, rest)
    left, top, right, bottom = (min(max(round(edge), 0), image.shape[0]) for edge in own)
    shown[top:bottom, left:right] = image[top:bottom, left:right]
    return shown


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"
