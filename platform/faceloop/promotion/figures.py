"""figures_of: what a published release is, before anybody is asked to approve it."""

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceloop.decision_tables import with_identity_log
from faceloop.evaluation.leakage import near_duplicates
from faceloop.params import section
from faceloop.promotion.purity import Checked, Purity, estimate_purity
from faceloop.runner import Workspace
from faceloop.stages.embed import Params as EmbedParams
from faceloop.stages.identify import Params as IdentifyParams
from faceloop.stages.pack import Params as PackParams
from facestore.errors import StageError
from facestore.jobs import Job, Jobs
from facestore.publish import Manifest, is_intact, read_manifest
from facestore.records import Assignment, FaceEmbedding, ReleaseSample, Split
from facestore.tables import column_matrix, read_columns

_ORDER: tuple[Split, ...] = ("train", "val", "test")  # each is compared with those before it


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFigures:
    samples: int
    identities: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFigures:
    """A release in numbers. Purity is an estimate; what it rests on lies beside it."""

    release: str  # content digest
    samples: int
    identities: int
    splits: dict[str, SplitFigures]
    largest_identity_share: float  # of all samples
    purity: Purity
    identity_leaks: int  # identities in more than one split
    near_duplicate_leaks: int  # crops that nearly repeat one of another split; train comes first, then val, test
    not_compared: int  # samples without an embedding today
    job_id: str | None  # of the newest job that trained on it; None: none has


def published_release(work: Workspace) -> Manifest:
    """The manifest of the published release. Raises StageError where there is no whole one."""
    release = work.path("release")
    manifest = read_manifest(release)
    if manifest is None or not is_intact(release, manifest):
        raise StageError("releases: no whole release is published; run pack")
    return manifest


def figures_of(work: Workspace, jobs: Jobs) -> ReleaseFigures:
    """Measure the published release. Raises StageError where there is none."""
    manifest = published_release(work)
    columns = ("split", "face_id", "identity_id", "confidence")
    samples = read_columns(work.path("release"), "samples", ReleaseSample, columns)
    splits: dict[str, Counter[str]] = defaultdict(Counter)
    for split, identity in zip(samples["split"].to_pylist(), samples["identity_id"].to_pylist(), strict=True):
        splits[split][identity] += 1
    homes = Counter(identity for sizes in splits.values() for identity in sizes)
    sizes = sum(splits.values(), Counter[str]())
    near, not_compared = _near_duplicate_leaks(work, samples)
    done = trained_by(jobs, manifest.digest)
    return ReleaseFigures(
        release=manifest.digest,
        samples=len(samples),
        identities=len(homes),
        splits={name: SplitFigures(samples=found.total(), identities=len(found)) for name, found in splits.items()},
        largest_identity_share=round(max(sizes.values(), default=0) / max(len(samples), 1), 4),
        purity=_purity(work, samples),
        identity_leaks=sum(count > 1 for count in homes.values()),
        near_duplicate_leaks=near,
        not_compared=not_compared,
        job_id=done.job_id if done is not None else None,
    )


def trained_by(jobs: Jobs, release: str) -> Job | None:
    """The newest job that trained a model on this release."""
    return next((job for job in jobs.of_inputs("train", release) if job.state == "succeeded"), None)


def _purity(work: Workspace, samples: pa.Table) -> Purity:
    accept = section(work.tree, "identify", IdentifyParams).auto_accept
    least = section(work.tree, "pack", PackParams).min_confidence
    since = accept.since()
    reviews = with_identity_log(work, lambda log: list(log.reviews()))
    counted = [
        review.is_right
        for review in reviews
        if review.confidence >= least and (since is None or review.reviewed_at >= since)
    ]
    labels = read_columns(work.path("assignments"), "assignments", Assignment, ("face_id", "source"))
    by_people = labels.filter(pc.not_equal(labels["source"], "auto"))["face_id"]
    is_by_people = pc.is_in(samples["face_id"], value_set=by_people.combine_chunks())
    return estimate_purity(
        np.asarray(samples["confidence"].to_numpy(), np.float64),
        np.asarray(is_by_people.to_numpy(), np.bool_),
        Checked(right=sum(counted), wrong=len(counted) - sum(counted)),
        confidence_level=accept.confidence_level,
    )


def _near_duplicate_leaks(work: Workspace, samples: pa.Table) -> tuple[int, int]:
    least = section(work.tree, "embed", EmbedParams).duplicate_similarity
    table = read_columns(work.path("embeddings"), "faces", FaceEmbedding, ("face_id", "embedding"))
    place = {name: row for row, name in enumerate(table["face_id"].to_pylist())}
    known = [
        (split, place[name])
        for split, name in sorted(zip(samples["split"].to_pylist(), samples["face_id"].to_pylist(), strict=True))
        if name in place
    ]
    vectors = column_matrix(table.take([row for _, row in known]), "embedding")
    turn_of = np.array([_ORDER.index(split) for split, _ in known], np.int64)
    leaks = [
        near_duplicates(vectors[turn_of == turn], vectors[turn_of < turn], least_similarity=least)
        for turn in range(1, len(_ORDER))
    ]
    return sum(map(len, leaks)), len(samples) - len(known)
