"""Figures of the data loop, from what is published and from what people answered. Tables are streamed."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from faceloop.review.figures import ReviewFigures, review_figures
from faceloop.runner import Workspace
from faceloop.stage import STAGES, load_stage
from faceloop.watch.columns import pieces, rows_of
from faceloop.watch.drift import compare
from faceloop.watch.reference import profile_now, reference_of
from facestore.ids import JsonValue
from facestore.measurements import Measurement, Measurements
from facestore.publish import read_manifest
from facestore.records import Identity
from facestore.tables import read_columns

_QUANTILES = (0.5, 0.9, 0.99, 1.0)
_LABELLED = ("proposed", "confirmed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What one pass over the assignments finds."""

    by_state: Mapping[tuple[str, str], int]  # (state, source) → faces
    confidence: float  # summed over labelled faces

    @property
    def labelled(self) -> int:
        return sum(number for (state, _), number in self.by_state.items() if state in _LABELLED)


def loop_figures(work: Workspace, log: Measurements, *, now: datetime) -> list[Measurement]:
    """All figures that this root has by now; what is not there yet is left out, never set to zero.

    Raises DataError where a table cannot be read, StoreError where the catalogue cannot be used.
    """
    return [
        *_stages(work),
        *_counts(work),
        *label_figures(work),
        *_identities(work),
        *drift_figures(work, log),
        *_review(review_figures(work, now=now)),
    ]


def figure(name: str, value: float, **labels: str) -> Measurement:
    return Measurement(name=name, labels=tuple(sorted(labels.items())), value=float(value))


def _stages(work: Workspace) -> Iterator[Measurement]:
    for stage in STAGES:
        manifest = read_manifest(work.path(load_stage(stage).outs[0]))
        if manifest is None:
            continue
        for outcome in ("in", "published"):
            yield figure("stage_items", _number(manifest.counts[outcome]), stage=stage, outcome=outcome)
        for outcome in ("rejected", "pending"):
            reasons = manifest.counts[outcome]
            found = reasons.items() if isinstance(reasons, dict) else ()
            yield figure("stage_items", sum(_number(value) for _, value in found), stage=stage, outcome=outcome)
            for reason, value in found:
                yield figure(f"stage_{outcome}", _number(value), stage=stage, reason=reason)


def _counts(work: Workspace) -> Iterator[Measurement]:
    footage, faces, release = (read_manifest(work.path(name)) for name in ("footage", "faces", "release"))
    if footage is not None:
        yield figure("footage", _number(footage.counts.get("footage")))
        yield figure("footage_duration_seconds", _number(footage.counts.get("footage_seconds")))
    if faces is not None:
        yield figure("faces", _number(faces.counts["published"]))
        yield figure("tracklets", _number(faces.counts.get("tracklets")))
    if read_manifest(work.path("embeddings")) is not None:
        yield figure("embeddings", rows_of(work.path("embeddings"), "faces"))
    for split in ("train", "val", "test") if release is not None else ():
        yield figure("release_samples", _number(release.counts.get(f"{split}_samples")) if release else 0, split=split)


def look_at_labels(work: Workspace) -> Labels | None:
    if read_manifest(work.path("assignments")) is None:
        return None
    by_state: Counter[tuple[str, str]] = Counter()
    confidence = 0.0
    for piece in pieces(work.path("assignments"), "assignments", "state", "source", "confidence"):
        by_state.update(zip(piece.column("state").to_pylist(), piece.column("source").to_pylist(), strict=True))
        labelled = piece.filter(pc.is_in(piece.column("state"), value_set=pa.array(_LABELLED)))
        confidence += float(np.asarray(labelled.column("confidence"), dtype=np.float64).sum())
    return Labels(by_state=dict(sorted(by_state.items())), confidence=confidence)


def label_figures(work: Workspace) -> Iterator[Measurement]:
    """Labels by state and source, how many the machine accepted by itself, and how pure they are thought to be."""
    found = look_at_labels(work)
    if found is None:
        return
    for (state, source), number in found.by_state.items():
        yield figure("labels", number, state=state, source=source)
    if found.labelled:
        accepted = found.by_state.get(("confirmed", "auto"), 0)
        yield figure("auto_accept_ratio", accepted / found.labelled)
        yield figure("purity_ratio", found.confidence / found.labelled, basis="confidence")
    if read_manifest(work.path("decisions")) is not None:
        right = reviewed = 0
        for piece in pieces(work.path("decisions"), "reviews", "is_right"):
            right += pc.sum(piece.column("is_right")).as_py() or 0
            reviewed += len(piece)
        yield figure("audited_labels", reviewed)
        if reviewed:
            yield figure("purity_ratio", right / reviewed, basis="audit")


def largest_identity_ratio(work: Workspace) -> float | None:
    """Share of all labelled faces that the largest active identity has; None without any."""
    sizes = _sizes(work)
    return float(sizes.max() / sizes.sum()) if len(sizes) and sizes.sum() else None


def _identities(work: Workspace) -> Iterator[Measurement]:
    if read_manifest(work.path("assignments")) is None:
        return
    table = read_columns(work.path("assignments"), "identities", Identity, ("is_active", "confirmed_faces"))
    active = table.filter(table["is_active"])
    confirmed = pc.sum(pc.greater(active["confirmed_faces"], 0)).as_py() or 0
    yield figure("identities", confirmed, state="confirmed")
    yield figure("identities", len(active) - confirmed, state="proposed")
    yield figure("identities", len(table) - len(active), state="retired")
    sizes = _sizes(work)
    if (largest := largest_identity_ratio(work)) is not None:
        yield figure("largest_identity_ratio", largest)
        for share in _QUANTILES:
            size = float(np.quantile(sizes, share, method="inverted_cdf"))
            yield figure("identity_faces", size, share=f"{share:g}")


def _sizes(work: Workspace) -> NDArray[np.int64]:
    if read_manifest(work.path("assignments")) is None:
        return np.empty(0, np.int64)
    table = read_columns(work.path("assignments"), "identities", Identity, ("is_active", "faces"))
    return np.asarray(table.filter(table["is_active"])["faces"], dtype=np.int64)


def drift_figures(work: Workspace, log: Measurements) -> Iterator[Measurement]:
    """Against the release last promoted, else against what was measured first. See `drift.py`."""
    now = profile_now(work, log)
    reference = None if now is None else reference_of(work, log, now)
    if now is None or reference is None:
        return
    drift = compare(reference.profile, now, work.path("embeddings"))
    if drift.quality_psi is not None:
        yield figure("quality_drift", drift.quality_psi, basis=reference.basis)
    if drift.embedding_distance is not None:
        yield figure("embedding_drift", drift.embedding_distance, basis=reference.basis)
    if drift.outlier_ratio is not None:
        yield figure("embedding_outlier_ratio", drift.outlier_ratio, basis=reference.basis)


def _review(found: ReviewFigures | None) -> Iterator[Measurement]:
    if found is None:
        return
    yield figure("review_minutes", found.minutes)
    yield figure("review_queue", len(found.queue))
    if found.agreement is not None:
        yield figure("agreement_ratio", found.agreement)
    if found.overruled is not None:
        yield figure("overruled_ratio", found.overruled)
    for kind in found.kinds:
        yield figure("review_waiting", kind.waiting, kind=kind.kind)
        if kind.median_s is not None:
            yield figure("answer_median_seconds", kind.median_s, kind=kind.kind)


def _number(value: JsonValue) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
