"""What a lost catalogue can be given back by the store alone: runs by the artifacts' manifests, people's decisions by
their exported table. What lies nowhere else is named; a backup is the only way to it."""

from dataclasses import dataclass
from datetime import UTC, datetime

from faceloop.batches import run_key_of
from faceloop.decision_tables import ARTIFACT, with_decision_log, with_identity_log
from faceloop.runner import Workspace, stage_params
from faceloop.stage import STAGES, Stage, load_stage
from faceloop.stage_inputs import source_digest
from facestore.decisions import Decision, IdentityEvent, Review
from facestore.errors import ConfigError, DataError, StoreError
from facestore.ids import JsonValue
from facestore.ledger import Ledger, StageRun
from facestore.publish import MANIFEST, is_intact, read_manifest, verify
from facestore.tables import read_table

NOT_REBUILT = (  # table and what becomes of it
    ("review_annotation, review_task, question", "Label Studio still holds the answers; push and pull ask anew"),
    ("job, lease", "work that was running is to be submitted again"),
    ("promotion, due_mark, model, model_turn, profile", "promote again what is in use"),
    ("model_run, measurement, activity, announcement", "history; lost"),
    ("finding", "the next ingest looks at every file again"),
    ("what people consented to, erasures, the audit chain", "only a backup holds them; do not go on without"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """Rows that were written; those already there are not counted. `guessed`: runs whose params could not be proved."""

    runs: int
    guessed: int
    decisions: int
    events: int
    reviews: int


def rebuild(work: Workspace) -> Rebuilt:
    """Write what the root's artifacts prove into its catalogue, new or not; done twice, it is done once.

    Of a run, timings are lost, and its time is that of its manifest; params count as its own where they give its run
    key, else they are null. Raises DataError where the decisions artifact fails a hash, StoreError.
    """
    runs, guessed = _runs(work)
    decisions, events, reviews = _decisions(work)
    return Rebuilt(runs=runs, guessed=guessed, decisions=decisions, events=events, reviews=reviews)


def _runs(work: Workspace) -> tuple[int, int]:
    written = guessed = 0
    ledger = Ledger(work.ledger_url())
    try:
        for name in STAGES:
            run = _published_run(work, load_stage(name))
            if run is not None and ledger.find(run.run_key) is None:
                ledger.record(run)
                written += 1
                guessed += run.params is None
    finally:
        ledger.close()
    return written, guessed


def _published_run(work: Workspace, stage: Stage) -> StageRun | None:
    """The run that published a stage's artifacts; None where one is missing, damaged, or of another run."""
    outputs: dict[str, JsonValue] = {}
    newest, found = 0.0, None
    for out in stage.outs:
        path = work.path(out)
        manifest = read_manifest(path)
        if manifest is None or not is_intact(path, manifest) or (found and found.run_key != manifest.run_key):
            return None
        found, outputs[out] = manifest, manifest.digest
        newest = max(newest, (path / MANIFEST).stat().st_mtime)
    if found is None:
        return None
    inputs: dict[str, JsonValue] = dict(found.inputs)
    params: JsonValue = None
    try:
        digests = inputs | {external: source_digest(work.external(external)) for external in stage.externals}
        own = stage_params(work, stage.name)
        if run_key_of(stage, own, digests) == found.run_key:
            inputs, params = digests, own.model_dump(mode="json")
    except (ConfigError, DataError, StoreError):  # a source or a model that is gone: its part is not known
        pass
    return StageRun(
        run_key=found.run_key,
        stage=stage.name,
        params=params,
        inputs=inputs,
        outputs=outputs,
        counts=found.counts,
        timings={},
        published_at=datetime.fromtimestamp(newest, UTC),
        wall_s=0.0,
    )


def _decisions(work: Workspace) -> tuple[int, int, int]:
    """Decisions come first: events name them."""
    path = work.path(ARTIFACT)
    if read_manifest(path) is None:
        return 0, 0, 0
    verify(path)
    said = list(read_table(path, "decisions", Decision))
    events = list(read_table(path, "events", IdentityEvent))
    reviews = list(read_table(path, "reviews", Review))
    return (
        with_decision_log(work, lambda log: log.append(said)),
        with_identity_log(work, lambda log: log.append(events)),
        with_identity_log(work, lambda log: log.append_reviews(reviews)),
    )
