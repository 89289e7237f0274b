"""`loop plan-footage`: what is new in the source, shared out over a few tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

from faceloop.footage.looking import basis_of
from faceloop.intake.plans import share_name, sweep_plans, write_plan
from faceloop.intake.settling import Pace, settle
from faceloop.intake.shares import share_out
from faceloop.intake.standing import is_ingested
from faceloop.loop_params import LoopParams
from faceloop.params import section
from faceloop.runner import Workspace
from faceloop.stages import ingest
from facestore.intake import known_findings
from facestore.sources import Location, open_source

MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FootagePlan:
    """What an intake has to do. Ids and counts only, fit for a scheduler."""

    locations: int  # files of the source that are no ignored ones
    known: int
    new: int  # or changed: nothing is known of these bytes
    new_mb: float
    arriving: int  # files that changed while we waited: left for the next plan
    shares: tuple[str, ...]
    is_due: bool  # False: `footage` is published from this listing, or only what still arrives is missing


def plan_footage(work: Workspace, pace: Pace, *, now_s: float) -> FootagePlan:
    """List the source, wait until it is quiet, and write a plan of what nobody has looked at.

    `now_s` is the time since 1970. Raises ConfigError when the source is not there, StoreError.
    """
    url = work.external("source")
    params = section(work.tree, "ingest", ingest.Params)
    loop = section(work.tree, "loop", LoopParams)
    source = open_source(url)

    def listing() -> list[Location]:
        return list(source.locations())

    first = listing()
    if is_ingested(work, first):
        count = len(_wanted(first, params))
        return FootagePlan(locations=count, known=count, new=0, new_mb=0.0, arriving=0, shares=(), is_due=False)
    settled = settle(first, listing, pace)
    wanted = _wanted(settled.locations, params)
    new = _unknown(work, wanted, params, now_s)
    shares = share_out(((at.path, float(at.size_bytes), at) for at in new), _tasks(new, loop))
    sweep_plans(work.root, now_s=now_s)
    plan_id = write_plan(work.root, url, shares) if shares else ""
    return FootagePlan(
        locations=len(wanted) + settled.arriving,
        known=len(wanted) - len(new),
        new=len(new),
        new_mb=round(sum(at.size_bytes for at in new) / MB, 3),
        arriving=settled.arriving,
        shares=tuple(share_name(plan_id, number) for number in range(len(shares))),
        is_due=bool(new) or not settled.arriving,
    )


def _wanted(locations: Sequence[Location], params: ingest.Params) -> list[Location]:
    return [at for at in locations if not ingest.is_ignored(at.path, params)]


def _unknown(work: Workspace, wanted: list[Location], params: ingest.Params, now_s: float) -> list[Location]:
    basis = basis_of(ingest.spec_of(params))
    with known_findings(
        work.ledger_url(), source=work.external("source"), objects=work.external("objects"), as_of_ns=int(now_s * 1e9)
    ) as findings:
        recalled = findings.recall(wanted, basis)
        return [at for at, finding in zip(wanted, recalled, strict=True) if finding is None]


def _tasks(new: list[Location], loop: LoopParams) -> int:
    """Each task gets `task_footage_mb` at least, on average, while there are fewer than `most_tasks`."""
    megabytes = sum(at.size_bytes for at in new) / MB
    return max(1, min(loop.most_tasks, int(megabytes / loop.task_footage_mb)))
