"""The evaluation as one HTML page that needs nothing else: pictures inside, every value escaped."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from faceloop.evaluation import words
from faceloop.evaluation.leakage import Leakage
from faceloop.evaluation.measuring import MeasuredGold


@dataclass(frozen=True, slots=True, kw_only=True)
class PageModel:
    """A model as the page names it."""

    pack_id: str
    contract_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """A further section: what another measurement found. `fragment` is HTML that its author escaped."""

    title: str
    fragment: str
    pictures: tuple[tuple[Path, str], ...]  # file, what it shows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GoldSection:
    """One gold set on the page. Pictures: (file, what it shows)."""

    measured: MeasuredGold
    leak: Leakage
    curves: tuple[tuple[Path, str], ...]
    slices_picture: Path | None
    sheets: tuple[tuple[Path, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Page:
    release: str
    candidate: PageModel
    current: PageModel
    sections: tuple[GoldSection, ...]
    chapters: tuple[Chapter, ...]
    failed: tuple[str, ...]  # what the gate of a promotion has against it
    confidence: float
    replicates: int


def render(page: Page) -> str:
    """The page as a document. Equal figures give equal bytes."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("faceloop", "evaluation"), PackageLoader("faceloop", "reports")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(picture=_data_uri, one_in=words.one_in, plainly=words.verdict_sentence, raw=Markup)
    sets = [section.measured for section in page.sections]
    return environment.get_template("evaluation.html.j2").render(
        page=page, headline=words.headline(sets), notices=words.notices(sets, _leaks(page.sections))
    )


def _leaks(sections: Sequence[GoldSection]) -> Mapping[str, Leakage]:
    return {section.measured.gold.name: section.leak for section in sections}


def _data_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
