"""Data-quality checks: what must hold of everything that is published. Each says figure, limit and what to do."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from faceloop.loop_params import CheckParams, LoopParams
from faceloop.params import section
from faceloop.runner import Workspace
from faceloop.stage import STAGES, Report, load_stage
from faceloop.watch.columns import pieces, rows_of
from faceloop.watch.drift import Vectors, compare, look_at_vectors
from faceloop.watch.figures import figure, largest_identity_ratio
from faceloop.watch.reference import profile_now, reference_of
from facestore.errors import StageError
from facestore.measurements import Measurement, Measurements
from facestore.publish import Manifest, read_manifest

CheckState = Literal["passed", "failed", "not_yet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check and how it came out. `not_yet`: what it looks at is missing, or is older than what it was made from."""

    name: str  # snake_case, with the stage or artifact after a colon
    state: CheckState
    figure: float | None
    limit: float | None  # the most that passes
    what_to_do: str  # where it failed


def check_all(work: Workspace, log: Measurements) -> list[Check]:
    """Every check, by name. Raises DataError where a table cannot be read at all."""
    limits = section(work.tree, "loop", LoopParams).checks
    manifests = {
        out: found for stage in STAGES for out in load_stage(stage).outs if (found := read_manifest(work.path(out)))
    }
    checks = [*_accounts(manifests, limits), *_chain(work, manifests), *_ids(work, manifests)]
    seen = look_at_vectors(work.path("embeddings")) if "embeddings" in manifests else None
    checks += [*_vectors(seen), *_drift(work, log, seen, limits), _largest(work, limits)]
    return sorted(checks, key=lambda check: check.name)


def passed_figures(checks: list[Check]) -> list[Measurement]:
    """Checks as measurements: 1 passed, 0 failed; what could not be looked at yet is left out."""
    found = [figure("check_passed", check.state == "passed", check=check.name) for check in checks if is_known(check)]
    values = [figure("check_figure", check.figure, check=check.name) for check in checks if check.figure is not None]
    return [*found, *values]


def is_known(check: Check) -> bool:
    return check.state != "not_yet"


def complain(checks: list[Check]) -> None:
    """Raises StageError naming every check that failed, its figure, its limit and what to do."""
    failed = [check for check in checks if check.state == "failed"]
    if failed:
        words = "; ".join(
            f"{check.name} is {check.figure:g}, at most {check.limit:g} passes: {check.what_to_do}" for check in failed
        )
        raise StageError(f"{len(failed)} of {len(checks)} data-quality checks failed: {words}")


def _judged(name: str, found: float | None, limit: float, what_to_do: str) -> Check:
    state: CheckState = "not_yet" if found is None else "passed" if found <= limit else "failed"
    return Check(name=name, state=state, figure=found, limit=limit, what_to_do=what_to_do)


def _accounts(manifests: Mapping[str, Manifest], limits: CheckParams) -> Iterator[Check]:
    """In = published + rejected + pending, and not too much rejected, in every stage that ran."""
    for stage in STAGES:
        manifest = manifests.get(load_stage(stage).outs[0])
        report = None if manifest is None else Report.from_counts(manifest.counts)
        lost = rejected = None
        if report is not None:
            found = report.published + report.rejected.total() + report.pending.total()
            lost = float(abs(report.items_in - found))
            rejected = report.rejected.total() / report.items_in if report.items_in else 0.0
        yield _judged(f"items_lost:{stage}", lost, 0, f"run {stage} again with --again, and report it: items vanished")
        worst = max(report.rejected, key=lambda r: (report.rejected[r], r)) if report and report.rejected else "none"
        advice = f"most were rejected as {worst}; look at the report's flow, and at what came in"
        yield _judged(f"rejected_share:{stage}", rejected, limits.rejected_share, advice)


def _chain(work: Workspace, manifests: Mapping[str, Manifest]) -> Iterator[Check]:
    """What a stage published is what the next one says came in, where that one was made from it as it is."""
    is_detected = _is_of(manifests, "faces", "footage")
    read = abs(rows_of(work.path("footage"), "footage") - rows_of(work.path("faces"), "readings"))
    yield _judged("footage_without_reading", float(read) if is_detected else None, 0, "run detect again with --again")
    is_embedded = _is_of(manifests, "embeddings", "faces")
    crops = (
        _filled(work, "crop_key") - Report.from_counts(manifests["embeddings"].counts).items_in if is_embedded else 0
    )
    yield _judged("crops_not_embedded", float(abs(crops)) if is_embedded else None, 0, "run embed again with --again")
    is_whole = "embeddings" in manifests
    stored = rows_of(work.path("embeddings"), "faces") - (
        Report.from_counts(manifests["embeddings"].counts).published if is_whole else 0
    )
    yield _judged("embeddings_miscounted", float(abs(stored)) if is_whole else None, 0, "run embed again with --again")
    is_released = "release" in manifests
    samples = rows_of(work.path("release"), "samples") - (
        Report.from_counts(manifests["release"].counts).published if is_released else 0
    )
    yield _judged("samples_miscounted", float(abs(samples)) if is_released else None, 0, "run pack again with --again")


def _ids(work: Workspace, manifests: Mapping[str, Manifest]) -> Iterator[Check]:
    """Ids name one thing each, and labels are of faces that are there and accepted."""
    faces = _column(work, "faces", "faces", "face_id") if "faces" in manifests else None
    repeated = None if faces is None else float(len(faces) - pc.count_distinct(faces).as_py())
    yield _judged("face_ids_repeated", repeated, 0, "run detect again with --again")
    labels = _column(work, "assignments", "assignments", "face_id") if "assignments" in manifests else None
    twice = None if labels is None else float(len(labels) - pc.count_distinct(labels).as_py())
    yield _judged("labels_repeated", twice, 0, "run identify again with --again")
    unknown = None
    if faces is not None and labels is not None and _is_of(manifests, "assignments", "faces"):
        unknown = float(len(labels) - (pc.sum(pc.is_in(labels, value_set=faces)).as_py() or 0))
    yield _judged("labels_of_unknown_faces", unknown, 0, "run cluster and identify again with --again")


def _vectors(seen: Vectors | None) -> Iterator[Check]:
    advice = "check the recogniser and its engine (embed.model), then run embed again with --again"
    yield _judged("vectors_not_finite", None if seen is None else float(seen.not_finite), 0, advice)
    yield _judged("vectors_not_unit", None if seen is None else float(seen.not_unit), 0, advice)


def _drift(work: Workspace, log: Measurements, seen: Vectors | None, limits: CheckParams) -> Iterator[Check]:
    quality = distance = None
    profile = profile_now(work, log, seen=seen)
    if profile is not None and (reference := reference_of(work, log, profile)) is not None:
        drift = compare(reference.profile, profile, work.path("embeddings"))
        quality, distance = drift.quality_psi, drift.embedding_distance
    advice = "look at the newest footage: another camera, light or place; if it is meant to be so, promote a release"
    yield _judged("quality_drift", quality, limits.quality_drift, advice)
    yield _judged("embedding_drift", distance, limits.embedding_drift, advice)


def _largest(work: Workspace, limits: CheckParams) -> Check:
    advice = (
        "see who it is with `faceloop identities list`; several people in one identity: raise cluster.across_sigmas"
    )
    return _judged("largest_identity_share", largest_identity_ratio(work), limits.largest_identity_share, advice)


def _is_of(manifests: Mapping[str, Manifest], made: str, source: str) -> bool:
    """Whether an artifact was made from the other as it is now."""
    if made not in manifests or source not in manifests:
        return False
    return manifests[made].inputs.get(source) == manifests[source].digest


def _filled(work: Workspace, column: str) -> int:
    return sum(len(piece) - piece.column(column).null_count for piece in pieces(work.path("faces"), "faces", column))


def _column(work: Workspace, artifact: str, table: str, column: str) -> pa.ChunkedArray:
    """All ids of a table: 36 bytes each stay in memory."""
    found = [piece.column(column) for piece in pieces(work.path(artifact), table, column)]
    return pa.chunked_array(found, type=pa.string())
