"""The suggester of a workspace: published tables and people's word, read again when they changed."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from faceloop.clustering.calibration import SHIPPED, read_calibrations
from faceloop.clustering.knn import nearest
from faceloop.decision_tables import Logs, policy_of, read_logs
from faceloop.identity.resolve import aliases_of
from faceloop.params import section
from faceloop.runner import Workspace
from faceloop.stages.cluster import Params as ClusterParams
from faceloop.suggest.fresh import fresh_suggestion
from faceloop.suggest.likeness import Scale, Standing
from faceloop.suggest.published import Published, read_published
from faceloop.suggest.word import word_of
from facereview.services.suggestion import Suggestion
from facestore.errors import DataError
from facestore.ids import JsonValue, digest_of
from facestore.publish import MANIFEST, Manifest, read_manifest
from facestore.questions import Question

_ARTIFACTS = ("faces", "embeddings", "clusters", "assignments")
_VERSION_HEX = 12
_ATTEMPTS = 3
Stamp = tuple[tuple[int, int], ...]  # size and time of change, ns, of files; 0, 0 where there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tables:
    digests: Mapping[str, str]
    published: Published
    scale: Scale


class WorkspaceSuggester:
    """`facereview.services.suggestion.Suggester` over a root. Several threads may ask at once.

    Each question looks at the manifests and at the ledger's file; what changed is read again. Tables of different runs
    (a run of stages is under way) are not mixed: the last ones that belong together are kept until then.
    """

    def __init__(self, work: Workspace, say: Callable[[str], None]) -> None:
        self._work = work
        self._say = say
        self._turn = threading.Lock()
        self._manifest_stamp: Stamp = ()
        self._digests: dict[str, str] = {}
        self._log_stamp: Stamp = ()
        self._logs = Logs(decisions=(), events=(), reviews=())
        self._said = ""
        self._tables: _Tables | None = None
        self._standing: Standing | None = None

    def version(self) -> str:
        """Of the tables and the decisions. Raises DataError before identify has run, StoreError without a ledger."""
        with self._turn:
            return self._version()

    def prepare(self) -> None:
        """Read everything now, so that the first annotator does not wait for it. Raises what `version` raises."""
        with self._turn:
            standing = self._now()
        if len(standing.published.vectors):
            nearest(standing.published.vectors[:1], standing.published.identity_means, 1, standing.scale.search)
            standing.published.cluster_means  # noqa: B018  # worked out here

    def suggest(self, question: Question) -> Suggestion:
        with self._turn:
            standing = self._now()
        return fresh_suggestion(question, standing)

    def _version(self) -> str:
        self._look()
        return "now-" + digest_of([dict(self._digests), self._said])[:_VERSION_HEX]

    def _look(self) -> None:
        stamp = self._stamp()
        if stamp != self._manifest_stamp:
            found = self._belonging()
            if found is not None:
                self._digests, self._manifest_stamp = found, stamp
            elif not self._digests:
                raise DataError(
                    "faces, embeddings, clusters and assignments are not of one run; run identify, then ask"
                )
        database = self._database()
        stamp = _stamp(database, database.with_name(database.name + "-wal")) if database is not None else ()
        if database is None or stamp != self._log_stamp:
            self._logs = read_logs(self._work)
            spoken: list[JsonValue] = [decision.decision_id for decision in self._logs.decisions]
            self._said = digest_of([spoken, [event.event_id for event in self._logs.events]])
            self._log_stamp = stamp

    def _belonging(self) -> dict[str, str] | None:
        """Digests of the published artifacts; None while they do not belong together or one is being replaced."""
        manifests: dict[str, Manifest] = {}
        for artifact in _ARTIFACTS:
            manifest = read_manifest(self._work.path(artifact))
            if manifest is None:
                return None
            manifests[artifact] = manifest
        for manifest in manifests.values():
            for source, digest in manifest.inputs.items():
                if source in manifests and manifests[source].digest != digest:
                    return None
        return {artifact: manifest.digest for artifact, manifest in manifests.items()}

    def _now(self) -> Standing:
        version = self._version()
        if self._standing is not None and self._standing.version == version:
            return self._standing
        tables = self._tables
        if tables is None or tables.digests != self._digests:
            tables = self._tables = self._read_tables()
            version = self._version()
        effective = self._logs.resolved(policy_of(self._work)).effective
        aliases = aliases_of(self._logs.events)
        self._standing = Standing(
            published=tables.published,
            word=word_of(effective, aliases=aliases, tracklet_of=tables.published.tracklet_of),
            scale=tables.scale,
            version=version,
        )
        self._say(f"suggestions: {len(tables.published.face_ids)} faces, {len(effective)} decisions, {version}")
        return self._standing

    def _read_tables(self) -> _Tables:
        """Read again if an artifact was replaced meanwhile: its folder is gone for a moment, and looks empty."""
        work = self._work
        for _ in range(_ATTEMPTS):
            digests, stamp = dict(self._digests), self._manifest_stamp
            try:
                published = read_published(
                    faces=work.path("faces"),
                    embeddings=work.path("embeddings"),
                    clusters=work.path("clusters"),
                    assignments=work.path("assignments"),
                )
                scale = _scale(work.path("clusters"), section(work.tree, "cluster", ClusterParams))
            except DataError:
                if self._stamp() == stamp:
                    raise
            else:
                if self._stamp() == stamp:
                    return _Tables(digests=digests, published=published, scale=scale)
            self._look()
        raise DataError(
            f"the artifacts of {work.root} are being replaced; ask again when the run of the stages is over"
        )

    def _stamp(self) -> Stamp:
        return _stamp(*(self._work.path(artifact) / MANIFEST for artifact in _ARTIFACTS))

    def _database(self) -> Path | None:
        """The file of an SQLite ledger. Of another database nothing is cheap to ask: its logs are read each time."""
        url = self._work.ledger_url()
        return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def _scale(clusters: Path, params: ClusterParams) -> Scale:
    path = clusters / "calibration.json"
    try:
        (calibration,) = read_calibrations(path.read_text(encoding="utf-8"), str(path)).values()
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} holds no calibration ({error}); run cluster again ({SHIPPED} has the shipped ones)"
        ) from error
    numbers = params.partition(calibration)
    return Scale(threshold=numbers.across_similarity, confidence_scale=numbers.confidence_scale, search=params.search())


def _stamp(*paths: Path) -> Stamp:
    found = []
    for path in paths:
        try:
            facts = path.stat()
            found.append((facts.st_size, facts.st_mtime_ns))
        except OSError:
            found.append((0, 0))
    return tuple(found)
