"""build_report: a root's published tables to `report.html`, `metrics.json` and `plots/`, published as one artifact."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import ConfigDict

from faceloop.clustering.knn import SearchParams
from faceloop.params import StageParams, section
from faceloop.redaction import covers_of
from faceloop.reports import plots, words
from faceloop.reports.compose import Limits, Numbers, compose
from faceloop.reports.flow import flow_metrics, read_flow
from faceloop.reports.material import Artifacts, Material, read_boxes, read_material
from faceloop.reports.page import Page
from faceloop.reports.people import SheetLimits
from faceloop.reports.scoring import Scores, score
from faceloop.reports.truth import TruthSpec
from faceloop.review.figures import review_figures
from faceloop.runner import Workspace
from facestore.errors import StageError
from facestore.ids import JsonValue, canonical_json, digest_of
from facestore.publish import fresh_partial, publish, read_manifest, recover

PAGE, METRICS, PLOTS = "report.html", "metrics.json", "plots"
LIMITS = Limits(
    sheets=SheetLimits(
        identities=60, shots_per_identity=12, least_sure_per_identity=3, unknown=48, low_confidence=0.75
    ),
    questions=12,
    rows=2000,
    picture_bytes=7_000_000,
    sheet_side_px=104,
    question_side_px=112,
)


class _ClusterNumbers(StageParams):
    """What the report needs to know of `cluster`; the stage itself checks the section."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    flat_rows_max: int
    probes: int
    block_rows: int


class _PackNumbers(StageParams):
    model_config = ConfigDict(frozen=True, extra="ignore")

    balance_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFiles:
    """What was published. `summary` is the page's message in a few plain lines."""

    directory: Path
    page: Path
    metrics: Path
    plots: tuple[Path, ...]
    summary: str


def build_report(work: Workspace, *, truth: TruthSpec | None, limits: Limits = LIMITS) -> ReportFiles:
    """Publish the report of a root; stages that have not run are left out and named.

    Equal tables give equal metrics and an equal page but for times. Raises StageError when there is no footage
    yet, DataError for a table or truth that cannot be read.
    """
    artifacts = Artifacts(**{name: work.path(name) for name in Artifacts.__slots__})
    if read_manifest(artifacts.footage) is None:
        raise StageError(f"report: missing input {artifacts.footage}; run ingest first")
    material = read_material(artifacts)
    flow = read_flow(work)
    scores = None if truth is None else score(material, read_boxes(artifacts.faces), truth)
    page = compose(
        material,
        flow,
        scores,
        review=review_figures(work),
        covers=covers_of(work),
        artifacts=artifacts,
        numbers=_numbers(work),
        limits=limits,
        truth_name="" if truth is None else (truth.file.name if truth.file else "the folder of each photo"),
    )
    directory = work.path("report")
    recover(directory)
    staging = fresh_partial(directory, keep=False)
    (staging / PAGE).write_text(render(page), encoding="utf-8")
    metrics = flow_metrics(flow) | _material_metrics(material, page)
    metrics |= {f"truth.{name}": value for name, value in (scores.to_json() if scores else {}).items()}
    (staging / METRICS).write_text(_lines_of_json(metrics), encoding="utf-8")
    names = _save_plots(staging / PLOTS, page)
    publish(
        directory, stage="report", run_key=_run_key(artifacts, truth), counts={"identities": page.identities}, inputs={}
    )
    return ReportFiles(
        directory=directory,
        page=directory / PAGE,
        metrics=directory / METRICS,
        plots=tuple(directory / PLOTS / name for name in names),
        summary=_summary(page),
    )


def render(page: Page) -> str:
    """The page as one HTML document that needs nothing else. Every value is escaped."""
    environment = Environment(
        loader=PackageLoader("faceloop", "reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        plural=words.plural, words=words.words, span=words.span, day=words.day, short=words.short_id
    )
    return environment.get_template("report.html.j2").render(page=page, version=version("faceloop"))


def _numbers(work: Workspace) -> Numbers:
    cluster = section(work.tree, "cluster", _ClusterNumbers)
    return Numbers(
        balance_ratio=section(work.tree, "pack", _PackNumbers).balance_ratio,
        search=SearchParams(flat_rows_max=cluster.flat_rows_max, probes=cluster.probes, block_rows=cluster.block_rows),
    )


def _material_metrics(material: Material, page: Page) -> dict[str, JsonValue]:
    return {
        "identities": page.identities,
        "unknown_faces": page.unknown_faces,
        "unknown_tracklets": page.unknown_tracklets,
        "tracklets": len(material.tracklets.ids),
        "files_set_aside": len(page.quarantined) + page.quarantined_not_shown,
        **{f"release.{row.split}.samples": row.balance.samples for row in page.splits},
        **{f"release.{row.split}.identities": row.balance.identities for row in page.splits},
        **{f"release.{row.split}.balance_ratio": row.balance.ratio for row in page.splits},
    }


def _lines_of_json(flat: dict[str, JsonValue]) -> str:
    """One metric a line, sorted: easy to read and to diff."""
    lines = [f"{canonical_json(name)}: {canonical_json(value)}" for name, value in sorted(flat.items())]
    return "{\n  " + ",\n  ".join(lines) + "\n}\n"


def _save_plots(directory: Path, page: Page) -> list[str]:
    for name, histogram in zip(("quality", "size", "similarity"), page.histograms, strict=True):
        plots.save_histogram(histogram, directory / f"{name}.png", stacked=name != "similarity")
    plots.save_losses(page.flow, directory / "losses.png")
    plots.save_timing(page.flow, directory / "timing.png")
    return sorted(path.name for path in directory.iterdir())


def _run_key(artifacts: Artifacts, truth: TruthSpec | None) -> str:
    manifests = {name: read_manifest(getattr(artifacts, name)) for name in Artifacts.__slots__}
    digests: dict[str, JsonValue] = {name: found.digest for name, found in manifests.items() if found is not None}
    return digest_of({"stage": "report", "inputs": digests, "truth": None if truth is None else str(truth.file)})


def _summary(page: Page) -> str:
    lines = [page.sentence, *page.notices]
    if page.scores is not None:
        lines.append(_score_line(page.scores))
    return "\n".join(lines)


def _score_line(scores: Scores) -> str:
    as_one = sum(person.is_found_as_one for person in scores.people)
    text = (
        f"truth: detection {scores.detection_rate:.2%}; {as_one} of {len(scores.people)} people are one identity each"
    )
    text += f"; {scores.identities_mixed} identities mixed"
    if scores.identities is not None:
        faces = scores.identities.faces
        text += f"; faces: pairwise F {faces.pairwise_f:.4f}, BCubed F {faces.bcubed_f:.4f}, NMI {faces.nmi:.4f}"
    return text
