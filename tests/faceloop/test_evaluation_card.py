"""The model card: two forms of one text, every number from the facts, refusals with their reasons."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from faceloop.evaluation.blocks import Block, Bullets, Grid, Heading, Paragraph, as_html, as_markdown
from faceloop.evaluation.card import model_card, shown
from faceloop.evaluation.card_facts import CardFigure, ModelCardFacts, ReleaseFacts, release_facts, told_facts
from facestore.errors import DataError

TAR = CardFigure(
    name="TAR at FAR 0.01", value=0.977, low=0.97, high=0.983, counted="1,083 faces of 259 people", refused=None
)
REFUSED = CardFigure(
    name="TAR at FAR 1e-06", value=None, low=None, high=None, counted="1,083 faces", refused="too few impostor pairs"
)
FACTS = ModelCardFacts(
    model_id="m1",
    contract_id="c1",
    current_id="c0",
    intended_use="Proposing identities to people.",
    licences=(("start", "Apache-2.0"),),
    procedure=(("steps", "40"),),
    release=ReleaseFacts(
        version="r1", splits=(("train", 5, 1061),), footage=26, footage_with_consent=24, consents=3, tombstones=1
    ),
    evaluation_data="Gold set release: 34 faces.",
    figures=(TAR, REFUSED),
    slices=(replace(TAR, name="yaw 30_to_60"), replace(REFUSED, name="light low"), replace(REFUSED, name="light high")),
    holes=("yaw 30_to_60: 6 more people",),
    unfamiliar=(),
    labelling="Nothing is proven.",
    limits=(),
)
MITCHELL = (
    "Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data",
    "Ethical considerations", "Caveats and recommendations",
)  # fmt: skip


def test_the_card_has_the_headings_of_mitchell_in_both_forms() -> None:
    card = model_card(FACTS)
    for heading in MITCHELL:
        assert f"## {heading}\n" in card.markdown
        assert f"<h2>{heading}</h2>" in card.html


def test_a_figure_has_its_interval_and_a_refusal_its_reason_and_no_number() -> None:
    text = model_card(FACTS).markdown
    assert "| TAR at FAR 0.01 | 0.9770 [0.9700, 0.9830] | 1,083 faces of 259 people |  |" in text
    assert "| TAR at FAR 1e-06 | refused | 1,083 faces | too few impostor pairs |" in text
    assert "1 figures with their intervals, 1 refused" in text
    assert "- light low, light high: too few impostor pairs" in text


def test_consent_and_erasure_are_counted() -> None:
    text = model_card(FACTS).markdown
    assert "26 footage files; 24 with a consent id (3 consents), 2 without" in text
    assert "names 1 erased item." in text
    assert "| train | 5 | 1,061 |" in text


def test_what_nobody_measured_is_said() -> None:
    text = model_card(replace(FACTS, slices=(), holes=(), licences=())).markdown
    assert "No slice has a figure." in text
    assert "None of the floors that are set is missed." in text
    assert "Not stated by any part of it" in text
    assert "were not shown to this model" in text


def test_markup_in_an_id_stays_text() -> None:
    card = model_card(replace(FACTS, holes=("<b>a|b</b>",), procedure=(("a|b", "<i>"),)))
    assert "<b>a" not in card.html
    assert "&lt;b&gt;a|b&lt;/b&gt;" in card.html
    assert "| a\\|b | <i> |" in card.markdown


def test_blocks_say_the_same_twice() -> None:
    blocks: list[Block] = [
        Heading(text="H", level=2),
        Paragraph(text="p\nq"),
        Bullets(items=("x", "y")),
        Grid(head=("k", "v"), rows=(("a", "1"),)),
    ]
    assert as_markdown(blocks) == "## H\n\np q\n\n- x\n- y\n\n| k | v |\n|---|--:|\n| a | 1 |\n"
    assert as_html(blocks) == (
        "<h2>H</h2>\n<p>p\nq</p>\n<ul><li>x</li><li>y</li></ul>\n<table><thead><tr><th>k</th><th>v</th></tr></thead>"
        "<tbody><tr><td>a</td><td class=n>1</td></tr></tbody></table>\n"
    )


def test_a_figure_without_interval_is_a_number() -> None:
    assert shown(replace(TAR, low=None, high=None)) == "0.977"


def test_a_record_becomes_rows_by_key() -> None:
    assert told_facts({"b": {"y": 0.1, "x": [1, 2]}, "a": None, "c": [{}, {}], "d": True, "e": [1, 2, 3, 4, 5]}) == (
        ("a", "none"), ("b.x", "1, 2"), ("b.y", "0.1"), ("c", "2 entries"), ("d", "yes"), ("e", "5 entries"),
    )  # fmt: skip


def test_a_release_is_counted_from_its_manifest(tmp_path: Path) -> None:
    footage = [{"consent_id": "c1"}, {"consent_id": "c1"}, {"consent_id": None}]
    told = {
        "release": "r1", "lineage": {"footage": footage}, "tombstones": [],
        "splits": {"test": {"identities": 1, "samples": 2}, "train": {"identities": 3, "samples": 9}},
    }  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps(told), encoding="utf-8")
    assert release_facts(tmp_path) == ReleaseFacts(
        version="r1",
        splits=(("train", 3, 9), ("test", 1, 2)),
        footage=3,
        footage_with_consent=2,
        consents=1,
        tombstones=0,
    )


@pytest.mark.parametrize("text", [None, "{", '{"release": "r1"}'])
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="run pack"):
        release_facts(tmp_path)
