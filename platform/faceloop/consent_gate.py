"""The consent gate: what each stage uses pictures of people for, and which footage it may use for that.

Gating stands before embedding, not only before training: a picture becomes biometric data once a face is measured to
tell who it is (GDPR Art. 4(14)). What is recorded of a consent always holds; `consent.policy` says only what footage
without any is worth.
"""

import json
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import model_validator

from faceloop.footage.source_manifest import UNSTATED, Acquisition
from faceloop.params import StageParams, Tree, section
from facestore.consentbasis import NO_MATERIAL, Basis, Material, Reader, Withheld, basis_now, read_basis
from facestore.consenting import Purpose, consents_named
from facestore.erasures import forgotten, has_erased, is_erased
from facestore.errors import ConfigError, ConsentRefused, DataError, StageError
from facestore.peppers import known_pepper
from facestore.records import Cluster, Face, Footage, ReleaseSample, TrackletTemplate
from facestore.refs import PEPPER, PEPPER_FILE, subject_ref
from facestore.tables import read_columns

KEY = "consent"  # of a run key: beside its artifacts

PURPOSES_OF: Mapping[str, tuple[Purpose, ...]] = {  # stage or command → what it uses pictures of people for
    "ingest": (),
    "detect": ("detect_only",),  # nothing is withheld from it: it only finds where faces are
    "embed": ("recognition",),
    "cluster": ("recognition",),
    "identify": ("recognition",),
    "select": ("annotation",),
    "pack": ("training", "evaluation"),
    "train": ("training",),
    "train_attributes": ("training",),
    "evaluate": ("evaluation", "annotation"),  # its contact sheets are shown to people
    "export": ("training", "evaluation"),
    "mine": ("annotation", "training"),
    "gallery": ("recognition", "publication"),
}
SPLIT_PURPOSES: Mapping[str, Purpose] = {"train": "training", "val": "evaluation", "test": "evaluation"}
_FROM_RELEASE = ("train", "evaluate", "export")
_FROM_VECTORS = ("cluster", "identify")
# The others are given nothing that is withheld.
_LEAVES_OUT = ("embed", "select", "pack", "train_attributes", "evaluate")


class ConsentParams(StageParams):
    """Section `consent` of params.yaml."""

    policy: Literal["off", "enforce"]
    without_basis: Literal["detect_only"]
    acquisition: Acquisition | Literal["web_scrape_untargeted"]
    retention_years: dict[str, float]
    after_retention: Literal["restrict", "erase"]

    @model_validator(mode="after")
    def _has_default(self) -> "ConsentParams":
        if "default" not in self.retention_years or min(self.retention_years.values()) <= 0:
            raise ValueError("retention_years needs `default`, and years above 0")
        return self


def material_of(stage: str, path_of: Callable[[str], Path]) -> Material:
    """Footage that a stage may come to use: of the release where it reads one, else all; none before there is any."""
    if not PURPOSES_OF[stage] or stage == "detect":
        return NO_MATERIAL
    if stage in _FROM_RELEASE:
        paper = path_of("release") / "manifest.json"
        listed = _footage_of(paper) if paper.is_file() else []
        return Material(consents={one["footage_id"]: consents_named(one["consent_id"]) for one in listed}, batches={})
    footage = path_of("footage")
    if not footage.is_dir():
        return NO_MATERIAL
    rows = read_columns(footage, "footage", Footage, ("footage_id", "consent_id", "batch")).to_pylist()
    return Material(
        consents={row["footage_id"]: consents_named(row["consent_id"]) for row in rows},
        batches={row["footage_id"]: row["batch"] for row in rows},
    )


def _footage_of(release_paper: Path) -> list[dict[str, Any]]:
    try:
        body = json.loads(release_paper.read_text(encoding="utf-8"))
        listed: list[dict[str, Any]] = body["lineage"]["footage"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{release_paper} does not say which footage is in it ({error!r}), so nobody can tell whether it may be "
            "used; run pack again"
        ) from error
    return listed


def read_for(session: Reader, stage: str, material: Material, tree: Tree) -> Basis:
    """What a stage may use, in the caller's transaction. Raises ConfigError."""
    is_enforced = section(tree, "consent", ConsentParams).policy == "enforce"
    return read_basis(session, PURPOSES_OF[stage], material, is_enforced=is_enforced)


def basis_for(stage: str, path_of: Callable[[str], Path], url: str, params: ConsentParams) -> Basis:
    """What a stage may use now, of the catalogue at `url`; for publication `prove` it again. Raises StoreError."""
    is_enforced = params.policy == "enforce"
    return basis_now(url, PURPOSES_OF[stage], material_of(stage, path_of), is_enforced=is_enforced)


def withheld_faces(faces: Path, withheld: Withheld) -> dict[str, str]:
    """Faces of footage that is withheld from any of the purposes that were asked for, with the reason."""
    held: dict[str, str] = {}
    for some in withheld.reasons.values():
        for footage_id, reason in some.items():
            held[footage_id] = min(reason, held.get(footage_id, reason))
    if not held:
        return {}
    table = read_columns(faces, "faces", Face, ("face_id", "footage_id"))
    table = table.filter(pc.is_in(table["footage_id"], pa.array(sorted(held), pa.string())))
    return {row["face_id"]: held[row["footage_id"]] for row in table.to_pylist()}


def key_part(stage: str, basis: Basis) -> dict[str, str]:
    """What a run's key holds of the consents: nothing, unless the stage leaves something out for them."""
    digest = basis.withheld.digest() if stage in _LEAVES_OUT else None
    return {} if digest is None else {KEY: digest}


def source_key_part(stage: str, tree: Tree) -> dict[str, str]:
    """What ingest's key holds of how its source was come by: nothing while that is unstated. Raises ConfigError."""
    stated = section(tree, "consent", ConsentParams).acquisition
    return {KEY: stated} if stage == "ingest" and stated != UNSTATED else {}


def batch_key_parts(stage: str, basis: Basis) -> dict[str, str]:
    """The same for each batch that lacks something."""
    if stage not in _LEAVES_OUT:
        return {}
    inside: dict[str, list[str]] = defaultdict(list)
    for footage_id, batch in basis.material.batches.items():
        inside[batch].append(footage_id)
    digests = {batch: basis.withheld.digest(some) for batch, some in inside.items()}
    return {batch: digest for batch, digest in digests.items() if digest is not None}


def erased_among(url: str, root: Path, footage_ids: Collection[str]) -> set[str]:
    """Those of the footage that was erased and must not come in again.

    Raises ConfigError where files were erased and the pepper is gone: then nobody can tell which.
    """
    if not os.environ.get(PEPPER) and not (root / PEPPER_FILE).is_file():
        if has_erased(url):
            raise ConfigError(f"files were erased here and {PEPPER_FILE} of the root is gone; put it back, or {PEPPER}")
        return set()
    pepper = known_pepper(url, root)
    named = {subject_ref(pepper, footage_id): footage_id for footage_id in footage_ids}
    return {named[ref] for ref in is_erased(url, named)}


def refuse_forgotten(url: str, root: Path) -> None:
    """A catalogue from before an erasure knows nobody again who was erased. Raises StageError: nothing runs on it."""
    if unknown := forgotten(url, root / "erasures"):
        raise StageError(
            f"{len(unknown)} erasures have a certificate here and are not in the catalogue, which is older: it was "
            "restored. Run `faceloop erase again`, which gives them back and erases whom the restore brought back"
        )


def refuse_withheld(stage: str, path_of: Callable[[str], Path], withheld: Withheld) -> None:
    """A stage that cannot leave records out must not be given any that are withheld. Raises ConsentRefused."""
    if withheld.is_empty:
        return
    if stage in _FROM_VECTORS:
        held = withheld.of("recognition")
        found = _vectors_of(path_of("embeddings"), held)
        if stage == "identify":
            found += _clustered_of(path_of("clusters"), path_of("faces"), held)
        _refuse(stage, found, "vectors", "embed, then cluster")
    elif stage in _FROM_RELEASE:
        table = read_columns(path_of("release"), "samples", ReleaseSample, ("footage_id", "split"))
        rows = zip(table["footage_id"].to_pylist(), table["split"].to_pylist(), strict=True)
        purposes = PURPOSES_OF[stage]
        found = sum(
            footage in withheld.of(SPLIT_PURPOSES[split])
            for footage, split in rows
            if SPLIT_PURPOSES[split] in purposes
        )
        _refuse(stage, found, "samples", "pack")


def _refuse(stage: str, found: int, what: str, then: str) -> None:
    if found:
        raise ConsentRefused(
            f"{stage}: {found} {what} of what it reads may not be used for {' or '.join(PURPOSES_OF[stage])} (consent "
            f"withdrawn, run out, or not given); run {then}"
        )


def _vectors_of(embeddings: Path, held: Mapping[str, str]) -> int:
    table = read_columns(embeddings, "templates", TrackletTemplate, ("footage_id",))
    return int(pc.sum(pc.is_in(table["footage_id"], pa.array(sorted(held), pa.string()))).as_py() or 0)


def _clustered_of(clusters: Path, faces: Path, held: Mapping[str, str]) -> int:
    table = read_columns(faces, "faces", Face, ("face_id", "footage_id"))
    theirs = table.filter(pc.is_in(table["footage_id"], pa.array(sorted(held), pa.string())))["face_id"]
    rows = read_columns(clusters, "clusters", Cluster, ("face_id", "cluster_id"))
    rows = rows.filter(pc.greater_equal(rows["cluster_id"], 0))
    return int(pc.sum(pc.is_in(rows["face_id"], theirs)).as_py() or 0)
