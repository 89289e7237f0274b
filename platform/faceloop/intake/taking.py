"""`loop take`: one share of a plan is hashed, probed and put into the store; `ingest` then looks at none of it."""

from faceloop.footage.looking import basis_of, is_unreadable, look_at
from faceloop.intake.plans import read_share
from faceloop.params import section
from faceloop.runner import Workspace, hold
from faceloop.stage import Report, Stopwatch
from faceloop.stages import ingest
from facestore.findings import Finding, Refused, Taken, location_now
from facestore.intake import known_findings
from facestore.objects import open_store
from facestore.sources import open_source

VANISHED = "vanished"
CHANGED = "changed_since_plan"


def take(work: Workspace, name: str, *, now_ns: int) -> Report:
    """Take in share `name`; what was taken in already is counted and not looked at again. Nothing is published here.

    `now_ns` is the time since 1970. Pending is what vanished or changed since the plan: the next plan has it.

    Raises StageError for an unknown share, LeaseHeld when another takes it now, StoreError.
    """
    url, store = work.external("source"), work.external("objects")
    params = section(work.tree, "ingest", ingest.Params)
    share = read_share(work.root, url, name)
    spec, source = ingest.spec_of(params), open_source(url)
    basis, objects = basis_of(spec), open_store(store, may_link=params.link_media)
    stopwatch, seen = Stopwatch(), dict[str, Taken]()
    report = Report(items_in=len(share.locations))
    with (
        hold(work, f"take/{share.name}") as lease,
        known_findings(work.ledger_url(), source=url, objects=store, as_of_ns=now_ns) as findings,
    ):
        recalled = findings.recall(share.locations, basis)
        for location, known in zip(work.progress.track(share.locations, "take"), recalled, strict=True):
            lease.check()
            finding: Finding | None = known
            if (now := location_now(source, location)) != location:
                report.pending[VANISHED if now is None else CHANGED] += 1
                continue
            if finding is None:
                finding = look_at(source, location, spec, objects, known=seen, on=stopwatch.on)
                if (now := location_now(source, location)) != location:
                    report.pending[VANISHED if now is None else CHANGED] += 1
                    continue
                if not is_unreadable(finding):
                    findings.remember(location, basis, finding)
            if isinstance(finding, Refused):
                report.rejected[finding.reason] += 1
                continue
            seen.setdefault(finding.footage_id, finding)
            report.published += 1
    report.check(f"take {share.name}")
    return report
