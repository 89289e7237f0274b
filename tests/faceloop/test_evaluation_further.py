"""The stage's further chapters: coverage, labelling quality, unfamiliar pictures and the card, end to end."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from faceloop.mining.request import read_request
from faceloop.runner import Workspace, run_stage

from .evaluation_world import evaluated


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work: Workspace = evaluated(
        tmp_path_factory.mktemp("further"),
        "evaluate.coverage.floors=[{where: {yaw: 30_to_60}, least_samples: 5000, least_identities: 900}]",
        "evaluate.unfamiliar.pictures_per_kind=3",
    )
    run_stage(work, "evaluate")
    return work.path("evaluation")


def test_the_card_holds_figures_refusals_and_holes_and_no_persons_id(evaluation: Path) -> None:
    card = (evaluation / "card.md").read_text(encoding="utf-8")
    assert "| refused |" in card
    assert "## Caveats and recommendations" in card
    assert "confirmed by nobody" in card
    assert "person-16" not in card
    assert "16-0" not in card


def test_holes_are_published_as_requests_that_mining_takes(evaluation: Path) -> None:
    holes = json.loads((evaluation / "tables" / "coverage_holes.json").read_text(encoding="utf-8"))
    (hole,) = holes
    assert hole["where"] == {"yaw": "30_to_60"}
    assert read_request(json.dumps(hole["request"]), "hole").yaw_deg == (30.0, 60.0)


def test_every_chapter_is_on_the_page_and_in_the_metrics(evaluation: Path) -> None:
    page = (evaluation / "report.html").read_text(encoding="utf-8")
    for title in ("Coverage", "Labelling quality", "Unfamiliar pictures", "Model card"):
        assert f"<h2>{title}</h2>" in page
    metrics = json.loads((evaluation / "metrics.json").read_text(encoding="utf-8"))
    table = pq.read_table(evaluation / "tables" / "coverage.parquet").to_pylist()
    alone = [row["samples"] for row in table if row["first_axis"] == "split" and row["second_axis"] is None]
    assert sum(alone) == metrics["coverage.samples"]
    assert metrics["unfamiliar.no_face.seen"] == 0.0
    assert "labelling.candidate.bcubed_f" in metrics
