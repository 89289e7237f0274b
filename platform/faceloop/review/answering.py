"""review pull: people's answers into the logs, and at once into clusters and identities."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from faceloop.decision_tables import export_decisions
from faceloop.review.access import Showing, review_params
from faceloop.review.quality import trust_now
from faceloop.runner import Workspace, run_stage
from facereview.answers.reconcile import Pulled, pull
from facereview.asking.withdraw import put_away
from facereview.server import ReviewServer
from facestore.records import Assignment, Face
from facestore.reviewlog import ReviewLog
from facestore.tables import read_columns

_RELABELS = ("cluster", "identify")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a pull came to."""

    pulled: Pulled
    relabelled: int | None  # faces whose identity or state changed; None: not run, nothing was decided


def take_answers(
    work: Workspace,
    log: ReviewLog,
    server: ReviewServer,
    shown: Showing,
    *,
    full: bool,
    only_hinted: bool,
    is_applied: bool,
    now: Callable[[], datetime],
) -> Answered:
    """Bring the logs to the server's state, put away what is closed; where decisions changed, label anew.

    Raises what pull and the stages raise. A pull that was cut short before labels were made is completed by the next.
    """
    params = review_params(work)
    faces = set(read_columns(work.path("faces"), "faces", Face, ("face_id",))["face_id"].to_pylist())
    pulled = pull(
        log=log,
        server=server,
        schema=params.schema_of_attributes(),
        trust=trust_now(work, log),
        is_known_face=faces.__contains__,
        now=now,
        full=full,
        say=work.progress.say,
        only_hinted=only_hinted,
        max_rounds=params.max_rounds,
    )
    put_away(pulled.closed, log=log, server=server, shelf=shown.shelf, now=now())
    return Answered(pulled=pulled, relabelled=relabel(work) if is_applied else None)


def relabel(work: Workspace) -> int | None:
    """Export decisions; cluster and identify where they changed. Returns how many faces have another label now."""
    export_decisions(work)
    before = _labels(work)
    outcomes = [run_stage(work, name) for name in _RELABELS]
    if all(outcome.was_published_before for outcome in outcomes):
        return None
    after = _labels(work)
    return sum(before.get(face) != label for face, label in after.items())


def _labels(work: Workspace) -> dict[str, tuple[str | None, str]]:
    columns = ("face_id", "identity_id", "state")
    table = read_columns(work.path("assignments"), "assignments", Assignment, columns)
    rows = zip(*(table[name].to_pylist() for name in columns), strict=True)
    return {face: (identity, state) for face, identity, state in rows}
