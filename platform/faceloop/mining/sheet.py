"""The contact sheet of a hard set: its pairs side by side, for people to look through. Ids and numbers, never names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from faceloop.mining.pairs import Doubt, Ground, Pair
from faceloop.mining.request import MiningRequest, Source
from faceloop.redaction import Covers
from faceloop.reports.album import Album
from facestore.crops import CropReader
from facestore.keymarker import is_without_pictures

SHEET = "pairs.html"
_SIDE_PX = 96
_PICTURE_BYTES = 8_000_000
_SHOWN_DOUBTFUL = 24
_WORDS: dict[Ground | Doubt, str] = {
    "people": "people said so",
    "track": "one tracklet",
    "witness": "a third face resembles both",
    "picture": "one picture shows both",
    "apart": "each resembles its own",
    "maybe_wrong_label": "one may be in the wrong identity",
    "maybe_one_person": "both identities may be one person",
}

_SOURCES: dict[Source, str] = {
    "look_alikes": "from all labels",
    "angle_bands": "turned aside",
    "evaluation_errors": "like gold that was got wrong",
    "feedback": "sent back by production",
    "disagreement": "the candidate decides otherwise",
    "tracks": "poor face of a sure tracklet",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the sheet shows, in this order."""

    positives: Sequence[Pair]
    negatives: Sequence[Pair]
    doubtful: Sequence[Pair]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairView:
    first: str | None  # data: URI; None when the sheet's budget is used up or the crop is gone
    second: str | None
    title: str
    words: str
    numbers: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    title: str
    note: str
    pairs: tuple[PairView, ...]
    not_shown: int


def write_sheet(
    folder: Path, crops: Path, shown: Shown, crop_of: Mapping[str, str], request: MiningRequest, covers: Covers
) -> None:
    """Write the sheet: one HTML document that needs nothing else. The same pairs give the same bytes."""
    reader = CropReader(crops)
    try:
        is_left_out = is_without_pictures(folder / SHEET)
        album = Album(crops=reader, bytes_left=_PICTURE_BYTES, covers=covers, is_left_out=is_left_out)
        parts = (
            _part(
                "Hard positives",
                "One person; least alike first.",
                shown.positives,
                len(shown.positives),
                album,
                crop_of,
                has_sources=request.has_sources,
            ),
            _part(
                "Hard negatives",
                "Two people; most alike first.",
                shown.negatives,
                len(shown.negatives),
                album,
                crop_of,
                has_sources=request.has_sources,
            ),
            _part(
                "Left out",
                "Hard or wrong? People can tell.",
                shown.doubtful,
                _SHOWN_DOUBTFUL,
                album,
                crop_of,
                has_sources=request.has_sources,
            ),
        )
    finally:
        reader.close()
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("faceloop", "mining"), PackageLoader("faceloop", "reports")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("pairs.html.j2").render(request=request, parts=parts)
    (folder / SHEET).write_text(page, encoding="utf-8")


def _part(
    title: str,
    note: str,
    pairs: Sequence[Pair],
    size: int,
    album: Album,
    crop_of: Mapping[str, str],
    *,
    has_sources: bool,
) -> Part:
    views = tuple(_view(pair, album, crop_of, has_sources=has_sources) for pair in pairs[:size])
    if album.is_left_out:
        note += " Pictures are left out: this root is encrypted, and a page is not."
    return Part(title=title, note=note, pairs=views, not_shown=len(pairs) - len(views))


def _view(pair: Pair, album: Album, crop_of: Mapping[str, str], *, has_sources: bool) -> PairView:
    first, second = (album.picture(crop_of[face], _SIDE_PX) for face in pair.faces)
    because = pair.ground or pair.doubt
    return PairView(
        first=first,
        second=second,
        title=" – ".join(pair.identities),
        words=_WORDS[because] + (f"; {_SOURCES[pair.source]}" if has_sources else "") if because else "",
        numbers=f"{pair.sigmas:.1f} σ · support {pair.support_sigmas:.1f} σ",
    )
