"""audit-labels: which photos of a folder of people lie in the wrong person's folder."""

import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ConfigDict

from faceloop.audit.suspects import AuditLimits
from faceloop.clustering.calibration import Calibration, load_calibration
from faceloop.clustering.impostors import measure_calibration
from faceloop.clustering.knn import SearchParams
from faceloop.commands.calibrate import unlabelled_of
from faceloop.commands.options import ALL_THREADS, ParamsOption, SetOption, ThreadsOption, workspace
from faceloop.params import StageParams, section
from faceloop.runner import Workspace, run_stage
from facestore.errors import ConfigError
from facestore.ids import canonical_json

_STAGES = ("ingest", "detect", "embed")


class _ClusterNumbers(StageParams):
    model_config = ConfigDict(frozen=True, extra="ignore")

    calibration: str | None
    across_sigmas: float
    attach_sigmas: float
    flat_rows_max: int
    probes: int
    block_rows: int


class _EmbedNumbers(StageParams):
    model_config = ConfigDict(frozen=True, extra="ignore")

    duplicate_similarity: float


def audit_labels(
    directory: Annotated[Path, typer.Argument(help="A folder that holds one folder of photos for each person.")],
    limit: Annotated[int, typer.Option("--limit", min=1, help="Suspects on the page.")] = 40,
    out: Annotated[
        Path, typer.Option("--out", help="Where page, list and work files go; not inside DIRECTORY.")
    ] = Path("label-audit"),
    pack: Annotated[list[str] | None, typer.Option("--pack", help="A second recogniser; may be repeated.")] = None,
    params: ParamsOption = None,
    overrides: SetOption = None,
    threads: ThreadsOption = ALL_THREADS,
) -> None:
    """Find photos in the wrong person's folder. Changes nothing there; writes a page and a list to look through."""
    if not directory.is_dir():
        raise ConfigError(f"{directory} is no folder; give one that holds a folder of photos for each person")
    if out.resolve().is_relative_to(directory.resolve()):
        raise ConfigError(f"--out {out} lies inside {directory}, where nothing is written; name another folder")
    from faceloop.redaction import covers_of
    from faceloop.reports.audit import LIST, PAGE, AuditArtifacts, build_audit, read_audited

    work = workspace(out / "work", params, [*(overrides or []), *_fixed(directory, pack or [])], threads)
    for name in _STAGES:
        outcome = run_stage(work, name)
        work.progress.say(f"{name}: {canonical_json(outcome.report.counts())}")
    artifacts = AuditArtifacts(**{name: work.path(name) for name in AuditArtifacts.__slots__})
    numbers = section(work.tree, "cluster", _ClusterNumbers)
    suspects = build_audit(
        read_audited(artifacts),
        _calibrations(work, numbers),
        name=directory.resolve().name,
        crops=artifacts.crops,
        limits=AuditLimits(
            same_sigmas=numbers.across_sigmas,
            stranger_sigmas=numbers.attach_sigmas,
            duplicate_similarity=section(work.tree, "embed", _EmbedNumbers).duplicate_similarity,
            search=SearchParams(
                flat_rows_max=numbers.flat_rows_max, probes=numbers.probes, block_rows=numbers.block_rows
            ),
        ),
        shown=limit,
        out=out,
        covers=covers_of(work),
    )
    counts = Counter(suspect.reason for suspect in suspects)
    typer.echo(
        f"{len(suspects)} suspects: " + (", ".join(f"{n} {reason}" for reason, n in counts.most_common()) or "-")
    )
    typer.echo(f"page: {out / PAGE}\nlist: {out / LIST}")


def _fixed(directory: Path, packs: list[str]) -> list[str]:
    """The folder is the answer that is checked: no stage may see it as a subset. Nothing is linked to the photos."""
    members = [
        {"pack": pack, "accept_licence": None, "engine": "openvino", "precision": "f32", "provider": "cpu"}
        for pack in packs
    ]
    committee = [f"embed.committee={json.dumps(members)}"] if members else []
    return [
        f"paths.source={json.dumps(str(directory.resolve()))}",
        "ingest.subset_from=source",
        "ingest.link_media=false",
        *committee,
    ]


def _calibrations(work: Workspace, numbers: _ClusterNumbers) -> dict[str, Calibration]:
    """Of every contract in the root: named, shipped, or measured on these very photos."""
    file = Path(numbers.calibration) if numbers.calibration else None
    return {
        unlabelled.contract_id: load_calibration(
            unlabelled.contract_id, file=file, measure=partial(measure_calibration, unlabelled)
        )
        for unlabelled in unlabelled_of(work)
    }
