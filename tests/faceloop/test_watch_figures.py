"""Figures of the loop: those of a small root, counted by hand; drift against the right reference."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from faceloop.runner import Workspace
from faceloop.watch.figures import loop_figures
from faceloop.watch.metrics import HELP
from faceloop.watch.reference import profile_now, reference_of
from facestore.ids import JsonValue
from facestore.ledger import Ledger, StageRun
from facestore.measurements import Measurement, Measurements
from facestore.promotions import PromotionRequest, Promotions, Stock
from facestore.publish import read_manifest
from facestore.records import Face, FaceEmbedding

from . import watch_world
from .runner_world import open_root
from .watch_world import put, value, values, watched_root

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def measured(work: Workspace) -> list[Measurement]:
    with closing(Measurements(work.ledger_url())) as log:
        return loop_figures(work, log, now=NOON)


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    return watched_root(tmp_path / "root")


def test_the_figures_of_a_small_root_are_those_counted_by_hand(work: Workspace) -> None:
    found = measured(work)
    assert value(found, "faces") == 6
    assert value(found, "embeddings") == 6
    assert value(found, "stage_items", stage="detect", outcome="rejected") == 1
    assert value(found, "stage_rejected", stage="detect", reason="extreme_pose") == 1
    assert value(found, "stage_pending", stage="identify", reason="singleton") == 1
    assert value(found, "labels", state="confirmed", source="auto") == 3
    assert value(found, "auto_accept_ratio") == pytest.approx(3 / 5)
    assert value(found, "purity_ratio", basis="confidence") == pytest.approx((3 * 0.9 + 2 * 0.7) / 5)
    assert value(found, "identities", state="confirmed") == 1
    assert value(found, "identities", state="proposed") == 1
    assert value(found, "identities", state="retired") == 1
    assert value(found, "largest_identity_ratio") == pytest.approx(3 / 5)
    assert [value(found, "identity_faces", share=share) for share in ("0.5", "0.9", "0.99", "1")] == [2, 3, 3, 3]


def test_every_figure_has_its_help_and_none_names_anybody(work: Workspace) -> None:
    found = measured(work)
    assert {one.name for one in found} <= HELP.keys()
    assert len(values(found)) == len(found)
    spelled = str(found)
    for private in ("secret", "Somebody", "person-1", watch_world.IDS[0], str(work.root)):
        assert private not in spelled


def test_an_empty_root_has_no_figures(tmp_path: Path) -> None:
    work = open_root(tmp_path, watched_root(tmp_path / "other").tree)
    assert measured(work) == []


def test_what_was_measured_first_is_the_reference_until_a_release_is_promoted(work: Workspace) -> None:
    first = measured(work)
    assert value(first, "quality_drift", basis="first") == 0
    assert value(first, "embedding_drift", basis="first") == pytest.approx(0, abs=1e-9)
    put(work, "faces", {"faces": (Face, watch_world.faces(quality=0.15))}, rejected=1)
    put(work, "embeddings", {"faces": (FaceEmbedding, watch_world.vectors(turned=4))}, text=watch_world.CONTRACT)
    second = measured(work)
    assert value(second, "quality_drift", basis="first") > 0.25
    assert value(second, "embedding_drift", basis="first") > 0.1
    _promote(work)
    third = measured(work)
    assert value(third, "quality_drift", basis="release") == 0
    assert value(third, "embedding_drift", basis="release") == pytest.approx(0, abs=1e-9)


def test_another_recogniser_is_its_own_first_reference(work: Workspace) -> None:
    measured(work)
    put(work, "embeddings", {"faces": (FaceEmbedding, watch_world.vectors(turned=5))}, text='{"contract_id":"other"}')
    assert value(measured(work), "embedding_drift", basis="first") == pytest.approx(0, abs=1e-9)


def test_a_profile_is_made_once_for_each_version(work: Workspace) -> None:
    with closing(Measurements(work.ledger_url())) as log:
        made = profile_now(work, log)
        assert made is not None
        for path in work.path("embeddings").glob("*/faces.parquet"):
            path.write_bytes(b"not read again")
        assert profile_now(work, log) == made
        reference = reference_of(work, log, made)
        assert reference is not None
        assert (reference.basis, reference.profile) == ("first", made)


def _promote(work: Workspace) -> None:
    """A release that was packed from what is published now."""
    digests: dict[str, JsonValue] = {
        name: found.digest for name in ("faces", "embeddings") if (found := read_manifest(work.path(name)))
    }
    run = StageRun(
        run_key="k", stage="pack", params={}, inputs=digests, outputs={"release": "digest"}, counts={}, timings={},
        published_at=NOON, wall_s=1.0,
    )  # fmt: skip
    with closing(Ledger(work.ledger_url())) as ledger, closing(Promotions(work.ledger_url())) as promotions:
        ledger.record(run)
        stock = Stock(faces=6, decisions=0, labels_digest="")
        promotions.promote(
            PromotionRequest(
                release="digest", by="x", job_id=None, parameter_set="default", revision=None, figures={}, stock=stock
            )
        )
