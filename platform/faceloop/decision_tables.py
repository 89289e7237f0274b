"""The decisions artifact: the logs of people's decisions as tables, so that stages need no database.

`decisions` holds the whole log, `effective` what stands under the policy, `contradictions` why the rest does not;
`events` and `reviews` the identity log. Same logs and policy, same bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from faceloop.identity.policy import DecisionParams, Policy
from faceloop.identity.resolve import Resolution, aliases_of, resolve
from faceloop.params import section
from faceloop.runner import Workspace, hold
from facestore.decisionlog import DecisionLog
from facestore.decisions import Contradiction, Decision, IdentityEvent, Review
from facestore.identitylog import IdentityLog
from facestore.ids import JsonValue, digest_of
from facestore.publish import Manifest, is_intact, put_in_place, read_manifest, recover, refuse_foreign, seal
from facestore.records import schema_of
from facestore.reviewlog import ReviewLog
from facestore.tables import write_table
from facestore.workareas import opened, sweep

ARTIFACT = "decisions"
_VERSION = 1  # of what is written for the same logs
_PATIENCE_S = 600.0  # an export takes seconds; one that is dead is taken over when its lease runs out
Result = TypeVar("Result")
Log = TypeVar("Log", DecisionLog, IdentityLog, ReviewLog)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """Everything that people said, oldest first."""

    decisions: tuple[Decision, ...]
    events: tuple[IdentityEvent, ...]
    reviews: tuple[Review, ...]

    def resolved(self, policy: Policy) -> Resolution:
        """Which decisions stand, with merged identities taken for one."""
        return resolve(self.decisions, aliases=aliases_of(self.events), policy=policy)


def policy_of(work: Workspace) -> Policy:
    """What the params say about decisions that contradict one another."""
    return section(work.tree, "decisions", DecisionParams).policy


def read_logs(work: Workspace) -> Logs:
    """Both logs of a workspace, in full. Raises StoreError when the database cannot be used."""
    identities = with_identity_log(work, lambda log: (tuple(log.all()), tuple(log.reviews())))
    # Decisions are read last: whatever an event names is there already.
    decisions = with_decision_log(work, lambda log: tuple(log.all()))
    return Logs(decisions=decisions, events=identities[0], reviews=identities[1])


def with_decision_log(work: Workspace, use: Callable[[DecisionLog], Result]) -> Result:
    """What `use` returns for the workspace's decision log, which is open meanwhile."""
    return with_log(work, DecisionLog, use)


def with_identity_log(work: Workspace, use: Callable[[IdentityLog], Result]) -> Result:
    """What `use` returns for the workspace's identity log, which is open meanwhile."""
    return with_log(work, IdentityLog, use)


def with_log(work: Workspace, kind: Callable[[str], Log], use: Callable[[Log], Result]) -> Result:
    """What `use` returns for a log of the workspace's catalogue, which is open meanwhile."""
    work.root.mkdir(parents=True, exist_ok=True)
    log = kind(work.ledger_url())
    try:
        return use(log)
    finally:
        log.close()


def export_decisions(work: Workspace) -> Manifest:
    """Publish the logs of a workspace as its `decisions` artifact; the published one stays when nothing changed.

    One process at a time, the next one waits. Raises StoreError when the database cannot be used, StageError where a
    foreign folder is in the way, LeaseLost when another took over.
    """
    path = work.path(ARTIFACT)
    with hold(work, ARTIFACT, wait_s=_PATIENCE_S) as lease, opened({ARTIFACT: path}, lease.lease) as areas:
        with lease.fenced():
            recover(path)
            refuse_foreign(path)
            sweep(path, lease.lease)
        policy, logs = policy_of(work), read_logs(work)
        run_key = export_key(logs, policy)
        before = read_manifest(path)
        if before is not None and before.run_key == run_key and is_intact(path, before):
            return before
        resolution = logs.resolved(policy)
        made = areas[ARTIFACT].make("whole")
        write_table(made / "decisions.parquet", Decision, logs.decisions)
        write_table(made / "effective.parquet", Decision, resolution.effective)
        write_table(made / "contradictions.parquet", Contradiction, resolution.contradictions)
        write_table(made / "events.parquet", IdentityEvent, logs.events)
        write_table(made / "reviews.parquet", Review, logs.reviews)
        manifest = seal(made, stage=ARTIFACT, run_key=run_key, counts=_counts(logs, resolution), inputs={})
        with lease.fenced():
            put_in_place(made, path, aside=areas[ARTIFACT].put_aside)
        return manifest


def export_key(logs: Logs, policy: Policy) -> str:
    """Decisions and events are named by content; of a review everything counts."""
    reviews: list[JsonValue] = [
        [
            review.face_id,
            review.identity_id,
            review.confidence,
            review.run_id,
            review.is_right,
            review.annotator,
            review.reviewed_at.isoformat(),
        ]
        for review in logs.reviews
    ]
    return digest_of(
        {
            "stage": ARTIFACT,
            "version": _VERSION,
            "schemas": [str(schema_of(record)) for record in (Decision, Contradiction, IdentityEvent, Review)],
            "policy": policy,
            "decisions": [decision.decision_id for decision in logs.decisions],
            "events": [event.event_id for event in logs.events],
            "reviews": reviews,
        }
    )


def _counts(logs: Logs, resolution: Resolution) -> dict[str, JsonValue]:
    aside = {decision_id for found in resolution.contradictions for decision_id in found.set_aside}
    return {
        "decisions": len(logs.decisions),
        "effective": len(resolution.effective),
        "retracts": sum(decision.verb == "retract" for decision in logs.decisions),
        "retracted": len(resolution.retracted),
        "superseded": len(resolution.superseded),
        "set_aside": len(aside),
        "contradictions": len(resolution.contradictions),
        "events": len(logs.events),
        "reviews": len(logs.reviews),
    }
