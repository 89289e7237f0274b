"""`loop changed`: whether what others wait for differs from what was announced last."""

from dataclasses import dataclass
from typing import Literal

from faceloop.decision_tables import export_key, policy_of, read_logs
from faceloop.runner import Workspace
from facestore.announcements import Announcements
from facestore.errors import StageError
from facestore.ids import JsonValue, digest_of
from facestore.publish import read_manifest

What = Literal["faces", "decisions", "labels", "release"]
_ARTIFACTS: dict[What, tuple[str, ...]] = {
    "faces": ("footage", "faces", "embeddings"),
    "labels": ("clusters", "assignments"),
    "release": ("release",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Content of `what` now; None where nothing of it was ever published. `is_news`: this run has to tell others."""

    what: What
    digest: str | None
    is_news: bool


def announce_change(work: Workspace, what: What, *, run_id: str) -> Change:
    """Compare, and record first what is news. Asked again by the same run, it answers the same.

    Raises StageError when artifacts do not belong together (a run is under way), StoreError.
    """
    digest = content_digest(work, what)
    if digest is None:
        return Change(what=what, digest=None, is_news=False)
    announcements = Announcements(work.ledger_url())
    try:
        return Change(what=what, digest=digest, is_news=announcements.announce(what, digest, run_id=run_id))
    finally:
        announcements.close()


def content_digest(work: Workspace, what: What) -> str | None:
    """Digest of what is published, or for decisions of what `decisions export` would publish; None: nothing is."""
    if what == "decisions":
        logs = read_logs(work)
        return export_key(logs, policy_of(work)) if logs.decisions or logs.events or logs.reviews else None
    manifests = {artifact: read_manifest(work.path(artifact)) for artifact in _ARTIFACTS[what]}
    digests: dict[str, JsonValue] = {name: found.digest for name, found in manifests.items() if found is not None}
    if len(digests) < len(manifests):
        return None
    for artifact, manifest in manifests.items():
        for source, made_from in manifest.inputs.items() if manifest is not None else ():
            if digests.get(source, made_from) != made_from:
                raise StageError(f"{artifact} was made from another version of {source}; run its stage again")
    return digest_of(digests)
