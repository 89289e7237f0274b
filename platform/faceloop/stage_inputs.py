"""What a stage reads: whole artifacts that belong together, and sources by their listing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from faceloop.stage import Stage
from facestore.consentbasis import Basis
from facestore.errors import InputsNotReady, StageError
from facestore.findings import listing_digest
from facestore.ids import JsonValue
from facestore.publish import Manifest, is_intact, read_manifest
from facestore.sources import open_source


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run starts from, looked up under its lease. `digests`: of its inputs and sources."""

    outs: dict[str, Path]
    inputs: dict[str, Manifest]
    digests: dict[str, JsonValue]
    basis: Basis  # what its consents allow
    run_key: str


def input_manifest(stage: Stage, artifact: str, path: Path) -> Manifest:
    """The manifest of one input. Raises InputsNotReady when it was never published, StageError when it lacks a file."""
    manifest = read_manifest(path)
    if manifest is None:
        maker = "`faceloop decisions export`" if artifact == "decisions" else "the stage that makes it"
        raise InputsNotReady(f"{stage.name}: missing input {path}; run {maker}")
    if not is_intact(path, manifest):
        raise StageError(f"{stage.name}: {path} lacks files that its manifest lists; run {manifest.stage} again")
    return manifest


def refuse_mixed_runs(stage: Stage, inputs: Mapping[str, Manifest]) -> None:
    """Inputs must belong together: of one run where one stage made them, and each made from the others as they are.

    Raises InputsNotReady.
    """
    seen: dict[str, tuple[str, str]] = {}
    for artifact, manifest in inputs.items():
        other, run_key = seen.setdefault(manifest.stage, (artifact, manifest.run_key))
        if run_key != manifest.run_key:
            raise InputsNotReady(
                f"{stage.name}: {other} and {artifact} come from different runs of {manifest.stage} "
                f"(a publication was cut short); run {manifest.stage} again"
            )
        for source, digest in manifest.inputs.items():
            if source in inputs and inputs[source].digest != digest:
                raise InputsNotReady(
                    f"{stage.name}: {artifact} was made from another version of {source}; run {manifest.stage} again"
                )


def source_digest(url: str) -> str:
    """Digest of a source's listing: paths, sizes, versions. The bytes themselves are hashed by ingest."""
    return listing_digest(open_source(url).locations())
