"""Bar B11, markup: a browser that opens our pages runs nothing that a name holds, and asks nobody for anything.

Short: each kind of page with all payloads among its values. FACELOOP_LONG=1: each payload alone in each kind too.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import jinja2
import pytest
from playwright.sync_api import Page as Tab
from tests.chaos.hostile_names import MARKUP
from tests.chaos.hostile_pages import Seen, browser_page, filled, look

from faceloop.experiments.comparing import Comparison, ParamDifference
from faceloop.experiments.comparison_page import save_comparison
from faceloop.experiments.recording import Trained
from faceloop.mining.pairs import Pair
from faceloop.mining.request import MiningRequest
from faceloop.mining.sheet import SHEET, Shown, write_sheet
from faceloop.redaction import Covers
from faceloop.reports import audit, build
from faceloop.reports.auditsheet import AuditSheet
from faceloop.reports.page import Page
from faceloop.restriction import certificate
from faceloop.watch import page as run_page
from faceloop.watch.runs import RunReport
from facereview.kinds import Strip
from facereview.pictures import FacePicture
from facereview.schema import AttributeField, AttributeSchema
from facereview.screens.attributes import label_config
from facereview.screens.markup import strip_html, why_html
from facestore.ids import JsonValue
from facestore.questions import Question

IS_LONG = os.environ.get("FACELOOP_LONG") == "1"
Builder = Callable[[Path, Sequence[str]], str]

pytestmark = pytest.mark.integration


def _of_run(folder: Path, payloads: Sequence[str]) -> str:
    return run_page.render(filled(RunReport, payloads))


def _of_report(folder: Path, payloads: Sequence[str]) -> str:
    return build.render(filled(Page, payloads))


def _of_audit(folder: Path, payloads: Sequence[str]) -> str:
    return audit.render_audit(filled(AuditSheet, payloads))


def _of_comparison(folder: Path, payloads: Sequence[str]) -> str:
    one = filled(Trained, payloads)
    one = replace(one, training=replace(one.training, figures={"start": payloads[0]}, curve=[]))
    differences = tuple(ParamDifference(key=text, first=text, second=[text]) for text in payloads)
    found = replace(filled(Comparison, payloads), params=differences)
    return save_comparison(folder / "comparison", one, one, found).read_text()


def _of_certificate(folder: Path, payloads: Sequence[str]) -> str:
    said: list[JsonValue] = [{"what": text, "holds": False, "found": text, "then": text} for text in payloads]
    paper: dict[str, JsonValue] = dict.fromkeys(("kind", "subject", "restricted_at", "certified_at"), payloads[0])
    paper |= {name: [*payloads] for name in ("restricted_by", "reasons", "still_holds")}
    paper |= {"found_now": {"face_ids": [], "footage_ids": []}, "is_complete": False, "out_of_use": said}
    return certificate._page(paper, payloads[0])


def _of_hard_set(folder: Path, payloads: Sequence[str]) -> str:
    crops = folder / "crops"
    crops.mkdir(exist_ok=True)
    pair = filled(Pair, payloads)
    request = MiningRequest.model_construct(**{**MiningRequest(name="x").model_dump(), "purpose": payloads[0]})
    shown = Shown(positives=[pair], negatives=[pair], doubtful=[pair])
    write_sheet(folder, crops, shown, dict.fromkeys(pair.faces, "a/b"), request, Covers(boxes={}, crops={}))
    return (folder / SHEET).read_text()


def _of_task(folder: Path, payloads: Sequence[str]) -> str:
    """What the labelling server shows as HTML."""
    question = filled(Question, payloads)
    whys = [why_html(question, text, payloads) for text in payloads]
    addresses = [f"data:image/png;base64,{text}" for text in payloads]  # as a presigned link of a hostile key
    strip = Strip(face_ids=("f",))
    images = [str(strip_html({FacePicture(face_id="f"): address}, strip, 1)[0]) for address in addresses]
    return "<title>t</title>" + "".join([*whys, *images])


BUILDERS: dict[str, Builder] = {
    "run": _of_run,
    "report": _of_report,
    "audit": _of_audit,
    "comparison": _of_comparison,
    "certificate": _of_certificate,
    "hard set": _of_hard_set,
    "task": _of_task,
}


@pytest.fixture(scope="module")
def tab(chromium: Path) -> Iterator[Tab]:
    with browser_page(chromium) as page:
        yield page


def _opened(tab: Tab, folder: Path, html: str) -> Seen:
    path = folder / "page.html"
    path.write_text(html, encoding="utf-8")
    return look(tab, path)


@pytest.mark.parametrize("kind", sorted(BUILDERS))
def test_a_page_full_of_hostile_names_runs_nothing(tab: Tab, tmp_path: Path, kind: str) -> None:
    turned = [(*MARKUP[turn:], *MARKUP[:turn]) for turn in range(len(MARKUP) if IS_LONG else 2)]
    for payloads in [*turned, *((one,) for one in MARKUP if IS_LONG)]:
        html = BUILDERS[kind](tmp_path, payloads)
        assert any(text[:12] in unescape(html) for text in payloads)
        seen = _opened(tab, tmp_path, html)
        assert not seen.has_run, (payloads[0], seen)


@pytest.mark.parametrize("kind", ["run", "report", "audit", "certificate"])
def test_the_same_page_without_escaping_runs_the_canary(
    tab: Tab, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant."""
    real = jinja2.Environment
    for module in (run_page, build, audit, certificate):
        monkeypatch.setattr(module, "Environment", lambda **options: real(**{**options, "autoescape": False}))
    assert _opened(tab, tmp_path, BUILDERS[kind](tmp_path, MARKUP)).has_run


def test_an_attribute_of_any_name_is_text_in_a_labelling_config() -> None:
    for text in MARKUP:
        field = AttributeField(name=text, title=text, values=(text, f"{text}2"))
        tree = ElementTree.fromstring(label_config(AttributeSchema(fields=(field,))))  # noqa: S314  # our own text
        plain = ElementTree.fromstring(  # noqa: S314
            label_config(AttributeSchema(fields=(AttributeField(name="n", title="t", values=("a", "b")),)))
        )
        assert [node.tag for node in tree.iter()] == [node.tag for node in plain.iter()]
        assert text in [node.get("alias") for node in tree.iter("Choice")]
        assert text in [node.get("value") for node in tree.iter("Header")]
